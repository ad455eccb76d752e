"""A certification counts from its first day to the end of its last; what has no valid days names nothing known."""

from datetime import UTC, datetime

import pytest

from inference.nodes import certification


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment", "holds"),
    [
        ("HIPAA", "1970-01-01T00:00", True),
        ("HIPAA until 2026-12-31", "2026-12-31T23:59:59", True),
        ("HIPAA until 2026-12-31", "2027-01-01T00:00", False),
        ("HIPAA from 2026-06-01", "2026-05-31T23:59:59", False),
        ("HIPAA from 2026-06-01", "2026-06-01T00:00", True),
        ("HIPAA from 2026-06-01 until 2026-06-01", "2026-06-01T12:00", True),
        ("HIPAA from 2026-06-02 until 2026-06-01", "2026-06-01T12:00", False),
    ],
)
def test_a_certification_holds_within_its_days(text, moment, holds):
    read = certification(text)
    assert read.name == "HIPAA"
    assert read.holds(at(moment)) is holds


@pytest.mark.parametrize(
    "text", ["HIPAA until 2026-02-30", "HIPAA until soon", "HIPAA until 9999-12-31", "until 2026-12-31", ""]
)
def test_what_has_no_valid_days_is_no_certification_that_a_rule_asks_for(text):
    assert certification(text).name == text != "HIPAA"

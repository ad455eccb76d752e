"""A revision token tells its holder nothing, and nobody can make one."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from graph.revision_token import RevisionTokenError, RevisionTokens

TOKENS = RevisionTokens(Fernet.generate_key())


@pytest.mark.parametrize("revision", [0, 1, 2**40])
def test_what_is_sealed_opens(revision: int) -> None:
    assert TOKENS.open(TOKENS.seal(revision)) == revision


def test_tokens_of_one_revision_differ_and_all_are_of_one_length() -> None:
    tokens = {TOKENS.seal(revision) for revision in (7, 7, 70_000, 2**60)}
    assert len(tokens) == 4
    assert len({len(token) for token in tokens}) == 1


def test_what_was_not_sealed_here_is_refused() -> None:
    token = TOKENS.seal(7)
    altered = token[:-5] + ("A" if token[-5] != "A" else "B") + token[-4:]
    foreign = RevisionTokens(Fernet.generate_key()).seal(7)
    for text in (altered, foreign, "", "7", "ü", "\ud800", "A" * 100_000):
        with pytest.raises(RevisionTokenError, match="not issued"):
            TOKENS.open(text)

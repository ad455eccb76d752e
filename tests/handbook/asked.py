"""The questions to the handbook as they were written down, and whether an answer cites what they expect."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
#: A person of data/team.yml for each role that the questions name (deploy/handbook/access.yaml).
PERSONS = {
    "everyone": "joe_chen",
    "finance": "amy_johnson",
    "people-talent": "carly_jones",
    "sales": "scott_campbell",
    "legal": "sam_mandell",
}


@dataclass(frozen=True)
class Asked:
    """One question by one asker. `expected` are alternatives, each one fact; none when it is not known."""

    name: str
    question: str
    role: str
    expected: tuple[Mapping[str, str], ...]

    @property
    def person(self) -> str:
        return PERSONS[self.role]


def asked(file: str) -> list[Asked]:
    """All questions of a file; one that several people ask is one for each of them."""
    return list(_asked(yaml.safe_load((HERE / file).read_text(encoding="utf-8"))))


def right(one: Asked, answer: Mapping[str, Any]) -> bool:
    """The answer cites an expected fact; or says that it is not known, where that is expected."""
    if not one.expected:
        return bool(answer["outcome"] == "NOT_KNOWN") and not answer["facts"]
    return any(_is(fact, expected) for fact in answer["facts"] for expected in one.expected)


def _asked(entries: list[dict[str, Any]]) -> Iterator[Asked]:
    for entry in entries:
        for ask in entry.get("asks", [entry]):
            expected = () if ask.get("not_known") else tuple(ask["expected"])
            yield Asked(entry["name"], entry["question"], ask["asker"], expected)


def _is(fact: Mapping[str, Any], expected: Mapping[str, str]) -> bool:
    statement = " ".join(fact["statement"].split())
    if "document" in expected:
        cited = fact["id"].startswith(f"passage:pages/{expected['document']}/")
        return cited and " ".join(expected["contains"].split()) in statement
    names = expected["entity"] in statement and str(expected["value"]) in statement
    if "relationship" in expected:
        return names and f"/{expected['relationship']}/" in fact["id"]
    # A product team's brief is its description in the words of the questions.
    stored = {"description": ("description", "brief")}.get(expected["property"], (expected["property"],))
    return names and fact["id"].rpartition("#")[2] in stored

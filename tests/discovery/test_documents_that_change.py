"""A folder of documents of which few changed: these alone are read, and what stands is as if all were."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.connector import Places, Position, PositionLostError, Problem
from discovery.connectors import documents
from discovery.connectors.table import build
from discovery.readings import knowing
from discovery.runner import Runner
from discovery.sources import OrganizationConfig
from graph.claims import Claim, EntityClaim, SourcePolicy
from graph.database import Database
from graph.facts import fact_of
from graph.pages import pages_of
from graph.store import FactStore
from ontologies import load_authorization, load_shapes

NAMES = ("a.md", "b.md", "deep/c.md", "d.html")
KNOWN = {
    "Grace Hopper": "person:grace",
    "Ada Lovelace": "person:ada",
    "Code of Conduct": "policy:rules/code.md",
}
SOURCE: Mapping[str, Any] = {
    "name": "source",
    "connector": "documents",
    "options": {"path": ".", "kind": "policy"},
    "placement": [{"pattern": "deep/**", "collection": "hr"}],
    "classification": [{"pattern": "**/c.md", "classification": "pay"}],
    "classify": "values",
}
RULE = "---\nhandling:\n  - { applies_to: [pay], clearance: 1 }\n  - { applies_to: [pay], jurisdictions: [US] }\n---\n"
TITLES = ("Privacy Policy", "Data Retention Policy", "Pay")
SENTENCES = (
    "As the Privacy Policy says, [see](b.md) and the Code of Conduct.",
    "Grace Hopper wrote the Data Retention Policy.",
    "[Deep](/deep/c.md), [there](d.html) and [gone](e.md).",
    "Ada Lovelace: her date of birth is 1815-12-10, and her e-mail ada@example.org.",
)
_times = count(1_000_000_000)

text = st.builds(
    lambda rule, title, said, more: f"{rule}# {title}\n\n{said}\n\n## More\n\n{more}\n",
    st.sampled_from(("", RULE)),
    st.sampled_from(TITLES),
    st.sampled_from(SENTENCES),
    st.sampled_from(SENTENCES),
)


def write(folder: Path, name: str, content: str | None) -> None:
    """Long since; None takes it away."""
    path = folder / name
    if content is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<h1>{content[:20]}</h1><p>{content}" if name.endswith(".html") else content)
    os.utime(path, (time := next(_times), time))


@dataclass
class Followed:
    """What a graph would hold of the source, and how far it is read."""

    organization: OrganizationConfig
    claims: dict[str, Claim] = field(default_factory=dict)
    position: str | None = None
    places: Places = field(default_factory=Places)

    def connector(self) -> Any:
        def held(scope: str) -> Iterator[Claim]:
            yield from list(self.claims.values())

        connector = build(self.organization, self.organization.source[0], KNOWN, held=held)
        return knowing(connector, dict.fromkeys(connector.scopes(), self.places))

    def whole(self) -> tuple[dict[str, Claim], str]:
        connector = self.connector()
        items = list(connector.read(connector.scopes()[0]))
        assert not any(isinstance(item, Problem) for item in items)
        claims = dict[str, Claim]()
        for item in items:
            if isinstance(item, Places):
                self.places = Places(item.files)
            elif not isinstance(item, Position):
                claims.setdefault(fact_of(item), item)
        return claims, next(item.text for item in items if isinstance(item, Position))

    def follow(self) -> None:
        """Raises PositionLostError where it is to be read whole."""
        connector = self.connector()
        for change in connector.changes(connector.scopes()[0], self.position):
            assert not change.problems
            assert change.standing == len(self.claims)
            told = {fact_of(claim): claim for claim in change.claims}
            gone = {fact_of(claim) for claim in change.withdrawn}
            assert gone <= self.claims.keys() - told.keys()
            assert all(self.claims.get(fact) != claim for fact, claim in told.items())
            self.claims = {fact: one for fact, one in self.claims.items() if fact not in gone} | told
            self.position = change.position
            self.places = Places(change.places.files)


@pytest.fixture
def followed(make_organization: Callable[..., OrganizationConfig], tmp_path: Path) -> Callable[[], Followed]:
    numbers = count()

    def make() -> Followed:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return Followed(make_organization(folder, SOURCE))

    return make


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.dictionaries(st.sampled_from(NAMES), st.none() | text, min_size=1), min_size=1, max_size=4)
)
def test_whatever_changes_what_stands_is_what_a_whole_reading_says(
    request: pytest.FixtureRequest, edits: list[dict[str, str | None]]
) -> None:
    of = request.getfixturevalue("followed")()
    folder = of.organization.folder
    write(folder, "kept.md", "# Kept\n\nSee the Privacy Policy, and [a](a.md), [c](deep/c.md).\n")
    of.claims, of.position = of.whole()
    for edit in edits:
        for name, content in edit.items():
            write(folder, name, content)
        of.follow()
        assert (of.claims, of.position) == of.whole()


def test_only_what_changed_is_read(followed: Callable[[], Followed], monkeypatch: pytest.MonkeyPatch) -> None:
    of = followed()
    folder = of.organization.folder
    for name in NAMES:
        write(folder, name, f"# {name}\n\nGrace Hopper.\n")
    of.claims, of.position = of.whole()
    read: list[str] = []
    looked: list[int] = []
    reading, mentioned = documents._read, documents._mentions

    def noted(path: Path, name: str) -> Any:
        read.append(name)
        return reading(path, name)

    def counted(passages: Any, known: Any) -> Any:
        looked.append(len(passages))
        return mentioned(passages, known)

    monkeypatch.setattr(documents, "_read", noted)
    monkeypatch.setattr(documents, "_mentions", counted)
    of.follow()
    assert (read, looked) == ([], []), "nothing changed"
    write(folder, "b.md", "# B\n\nAda Lovelace.\n")
    of.follow()
    assert (read, looked) == (["b.md"], [1])
    read.clear(), looked.clear()
    write(folder, "e.md", "# E\n\nAda Lovelace.\n")
    of.follow()
    assert (sorted(read), looked) == (["a.md", "b.md", "d.html", "deep/c.md", "e.md"], [1]), (
        "links lead there"
    )
    os.utime(folder / "a.md")
    read.clear()
    of.follow()
    of.follow()
    assert read == ["a.md", "a.md"], "what was written just now may change again within the same instant"


def test_it_is_read_whole_where_more_than_few_changed_or_all_else_is_another(
    followed: Callable[[], Followed], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = followed()
    folder = of.organization.folder
    write(folder, "a.md", "# A\n\nx\n")
    of.claims, of.position = of.whole()
    monkeypatch.setitem(KNOWN, "Alan Turing", "person:alan")
    with pytest.raises(PositionLostError, match="beside the files"):
        of.follow()
    monkeypatch.delitem(KNOWN, "Alan Turing")
    for number in range(documents._FEW + 1):
        write(folder, f"{number}.md", "# A\n\nx\n")
    with pytest.raises(PositionLostError, match="51 files changed"):
        of.follow()
    of.position = "the position of another version"
    with pytest.raises(PositionLostError, match="earlier version"):
        of.follow()


async def test_a_crawl_reads_what_changed_and_retracts_what_that_says_no_more(
    followed: Callable[[], Followed], neo4j: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    organization = followed().organization
    source, folder = organization.source[0], organization.folder
    [scope] = build(organization, source, {}).scopes()
    store = FactStore(neo4j, load_shapes(), load_authorization())
    await _collections(store)
    write(folder, "a.md", RULE + "# Privacy Policy\n\nSee [b](b.md).\n\n## More\n\nThe Pay Policy.\n")
    write(folder, "b.md", "# Pay Policy\n\nSee the Privacy Policy.\n")
    runner = Runner(organization, store, neo4j)
    first = await runner.run(source)
    assert first.outcome == "complete", first
    read: list[str] = []
    reading = documents._read
    monkeypatch.setattr(documents, "_read", lambda path, name: (read.append(name), reading(path, name))[1])

    async def held() -> dict[str, Claim]:
        pages = await pages_of(neo4j, (source.name, scope), -1, 100)
        return {fact: one.claim for page in pages for fact, one in page.claims.items()}

    async def whole() -> dict[str, Claim]:
        claims, _ = await runner.said(source)
        return {fact_of(claim): claim for claim in claims}

    write(folder, "a.md", "# Privacy Policy\n\nSee the Pay Policy.\n")
    report = await runner.run(source)
    assert (report.outcome, read) == ("complete", ["a.md"])
    assert sum(one.retracted for one in report.scopes) > 5
    assert await held() == await whole()
    assert not await neo4j.read("MATCH (n:HandlingRule) RETURN n")

    read.clear()
    write(folder, "a.md", "")
    (folder / "a.md").write_bytes(b"\xff\xfe broken")
    report = await runner.run(source)
    assert (report.outcome, sum(one.retracted for one in report.scopes)) == ("partial", 0)
    assert "policy:source/a.md" in await held()
    (folder / "a.md").unlink()
    report = await runner.run(source)
    assert report.outcome == "complete"
    assert await held() == await whole()
    assert "policy:source/a.md" not in await held()


async def _collections(store: FactStore) -> None:
    ids = ("collection:all", "collection:hr")
    policy = SourcePolicy("configuration", frozenset(), frozenset(ids), 100, timedelta(days=1))
    async with store.crawl(policy, "all") as crawl:
        await crawl.write([EntityClaim(id, "Collection", id, {"name": id}, "sources.toml") for id in ids])
        await crawl.complete()

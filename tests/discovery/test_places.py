"""A file that is moved stays the entity that it is: its labels, rules, reviews and history stay with it."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from discovery.connector import Place, Places, Problem
from discovery.files import noting, read_bytes, search
from discovery.holds import decide
from discovery.places import known, packed, placed, saying, unpacked
from discovery.runner import Runner
from graph.claims import EntityClaim, RelationshipClaim, SourcePolicy
from graph.store import FactStore
from ontologies import load_authorization, load_shapes

NOTHING = Places()


def keys(folder: Path, before: Places = NOTHING) -> tuple[Mapping[str, str], Places]:
    places, listed = placed(search(folder, ["**"]), before)
    with noting() as noted:
        for one in listed:
            assert not isinstance(one, Problem)
            read_bytes(one[0])
    return {name: place.key for name, place in places.files.items()}, saying(places, listed, noted)


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def move(folder: Path, name: str, to: str) -> None:
    (folder / to).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).rename(folder / to)


def test_what_is_moved_keeps_its_key_and_its_path_is_free_for_another(tmp_path):
    write(tmp_path, "a.md", "a")
    write(tmp_path, "b.md", "b")
    first, places = keys(tmp_path)
    assert first == {"a.md": "a.md", "b.md": "b.md"}
    move(tmp_path, "a.md", "deep/c.md")
    second, places = keys(tmp_path, places)
    assert second == {"deep/c.md": "a.md", "b.md": "b.md"}
    write(tmp_path, "a.md", "another")
    third, places = keys(tmp_path, places)
    assert third == {"deep/c.md": "a.md", "b.md": "b.md", "a.md": "a~2.md"}
    write(tmp_path, "deep/c.md", "a, edited where it is now")
    move(tmp_path, "a.md", "d.md")
    fourth, places = keys(tmp_path, places)
    assert fourth == {"deep/c.md": "a.md", "b.md": "b.md", "d.md": "a~2.md"}
    assert unpacked(packed(places)) == places


def test_a_copy_is_another_and_so_is_what_was_changed_and_moved_at_once(tmp_path):
    write(tmp_path, "a.md", "a")
    _, places = keys(tmp_path)
    write(tmp_path, "copy.md", "a")
    found, places = keys(tmp_path, places)
    assert found == {"a.md": "a.md", "copy.md": "copy.md"}
    write(tmp_path, "copy.md", "edited")
    (tmp_path / "a.md").unlink()
    write(tmp_path, "z.md", "a, edited")
    found, places = keys(tmp_path, places)
    assert found == {"copy.md": "copy.md", "z.md": "z.md"}
    assert set(places.gone) == {"a.md"}


def test_of_files_that_say_the_same_each_keeps_what_lies_most_alike(tmp_path):
    for name in ("x/a/index.md", "x/b/index.md", "x/c/index.md"):
        write(tmp_path, name, "the same")
    _, places = keys(tmp_path)
    move(tmp_path, "x", "y")
    found, _ = keys(tmp_path, places)
    assert found == {f"y/{one}/index.md": f"x/{one}/index.md" for one in "abc"}


def test_what_is_gone_is_known_until_its_scope_is_complete_without_it(tmp_path):
    write(tmp_path, "a.md", "a")
    write(tmp_path, "b.md", "b")
    _, places = keys(tmp_path)
    move(tmp_path, "a.md", "c.md")
    _, places = keys(tmp_path, places)
    text = (tmp_path / "c.md").read_text()
    (tmp_path / "c.md").unlink()
    _, partial = keys(tmp_path, places)  # another file could not be read, say
    write(tmp_path, "c.md", text)
    assert keys(tmp_path, partial)[0] == {"c.md": "a.md", "b.md": "b.md"}, "it came back"
    move(tmp_path, "c.md", "d.md")
    assert keys(tmp_path, partial)[0] == {"d.md": "a.md", "b.md": "b.md"}, "it came back elsewhere"


def test_another_scope_knows_what_is_listed_no_longer_and_nothing_of_its_neighbours(tmp_path):
    one, other = (Places({"a.md": Place(key, "x")}) for key in ("first.md", "second.md"))
    assert known({"one": one, "other": other}, "one", ["one", "other"]) == one
    assert known({"one": one, "other": other}, "new", ["new", "other"]) == one
    assert known({"one": one, "other": other}, "new", ["new", "one", "other"]) == NOTHING


def test_what_lies_where_nothing_can_be_listed_was_not_moved(tmp_path, monkeypatch):
    write(tmp_path, "shut/a.md", "a")
    write(tmp_path, "b.md", "b")
    _, places = keys(tmp_path)
    write(tmp_path, "copy.md", "a")
    found = [one for one in search(tmp_path, ["**"]) if one[1] != "shut/a.md"]
    told, _ = placed([*found, Problem("shut", "the folder cannot be listed")], places)
    assert told.files["copy.md"].key == "copy.md"
    assert told.gone == {"shut/a.md": places.files["shut/a.md"]}
    told, _ = placed(found, places)
    assert told.files["copy.md"].key == "shut/a.md", "the same where it is gone"


def test_a_folder_that_cannot_be_listed_is_a_problem_and_nothing_below_it_is_deleted(
    say, tmp_path, monkeypatch
):
    pages = tmp_path / "pages"
    write(pages, "a.md", "# A\n\nx\n")
    write(pages, "shut/b.md", "# B\n\nx\n")
    listed = os.scandir

    def scandir(path):
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    said = say(tmp_path, "documents", {"path": "pages"})
    assert "document:source/a.md" in said.entities
    [problem] = said.problems
    assert (problem.place, "cannot be listed: Permission denied" in problem.message) == ("shut", True)


POLICY = "# Travel\n\nEmployees must book trains within 30 days.\n\n## Who\n\nManagers may approve trips.\n"


@pytest.fixture
def store(neo4j):
    return FactStore(neo4j, load_shapes(), load_authorization())


async def test_a_page_that_is_moved_keeps_what_others_say_of_it(make_organization, tmp_path, neo4j, store):
    """Beside a page that can never be read: no crawl of the folder is complete."""
    pages = tmp_path / "pages"
    declared = {"name": "pages", "connector": "documents", "extract": "wording"}
    options = {"path": "pages", "kind": "policy"}
    placement = [{"pattern": "secret/**", "collection": "hr"}]
    organization = make_organization(tmp_path, {**declared, "options": options, "placement": placement})
    [source] = organization.source
    await _configured(store, organization)
    write(pages, "travel.md", POLICY)
    write(pages, "index.md", "# Index\n\n[Travel](travel.md)\n")
    write(pages, "scan.pdf", "no PDF")
    runner = Runner(organization, store, neo4j)
    assert (await runner.run(source)).outcome == "partial"
    id_ = "policy:pages/travel.md"
    others = SourcePolicy("lists", frozenset(), frozenset(), 50, source.max_age)
    async with store.crawl(others, "all") as crawl:
        await crawl.write([RelationshipClaim("group:board", "OWNS", id_, "lists.csv:1")])
        await crawl.complete()
    before = await _around(neo4j, id_)
    assert {"OWNS", "HAS_PASSAGE", "REFERS_TO", "IN_COLLECTION"} <= {type_ for type_, _, _ in before}
    proposed = await neo4j.read("MATCH (e:_Extraction) RETURN e.id AS id, e.about AS about ORDER BY id")
    assert proposed

    move(pages, "travel.md", "secret/journeys.md")
    write(pages, "index.md", "# Index\n\n[Travel](secret/journeys.md)\n")
    report = await runner.run(source)
    assert (report.outcome, sum(one.retracted for one in report.scopes)) == ("partial", 0)
    after = await _around(neo4j, id_)
    assert after - before == {("IN_COLLECTION", id_, "collection:hr")}
    assert before - after == {("IN_COLLECTION", id_, "collection:all")}
    [page] = await neo4j.read("MATCH (d:Policy {id: $id}) RETURN d.path AS path", id=id_)
    assert page["path"] == "secret/journeys.md"
    assert not await neo4j.read("MATCH (d:Policy {id: 'policy:pages/secret/journeys.md'}) RETURN d")
    again = await neo4j.read("MATCH (e:_Extraction) RETURN e.id AS id, e.about AS about ORDER BY id")
    assert [dict(one) for one in again] == [dict(one) for one in proposed]


async def test_moved_edited_and_gone_one_after_the_other(make_organization, tmp_path, neo4j, store):
    """Each followed from the last, but for the second, which is read whole since its options are others."""
    pages = tmp_path / "pages"

    def runner(**more: object) -> Runner:
        options = {"path": "pages", **more}
        declared = {"name": "pages", "connector": "documents", "options": options}
        return Runner(make_organization(tmp_path, declared), store, neo4j)

    async def crawled(runner: Runner) -> dict[str, str]:
        report = await runner.run(runner.organization.source[0])
        assert report.outcome == "complete", report
        records = await neo4j.read("MATCH (d:Document) RETURN d.id AS id, d.path AS path")
        return {record["path"]: record["id"] for record in records}

    await _configured(store, runner().organization)
    write(pages, "a.md", "# A\n\nx\n")
    write(pages, "b.md", "# B\n\n[A](a.md)\n")
    a, b = "document:pages/a.md", "document:pages/b.md"
    assert await crawled(runner()) == {"a.md": a, "b.md": b}
    move(pages, "a.md", "c.md")
    assert await crawled(runner()) == {"c.md": a, "b.md": b}
    write(pages, "c.md", "# A\n\nedited\n")
    assert await crawled(runner(mentions=False)) == {"c.md": a, "b.md": b}
    write(pages, "a.md", "# Another\n\ny\n")
    write(pages, "b.md", "# B\n\n[A](c.md) and [another](a.md)\n")
    new = "document:pages/a~2.md"
    assert await crawled(runner(mentions=False)) == {"c.md": a, "b.md": b, "a.md": new}
    assert {(b, a), (b, new)} == {
        (one["start"], one["end"])
        for one in await neo4j.read("MATCH (s)-[:REFERS_TO]->(e) RETURN s.id AS start, e.id AS end")
    }
    narrower = runner(mentions=False, glob=["?.md"])
    report = await narrower.run(narrower.organization.source[0])
    assert {one.scope: one.outcome for one in report.scopes}["pages ?.md"] == "complete"
    assert len(await neo4j.read("MATCH (d:Document) RETURN d")) == 3, "the same under another filter"
    (pages / "c.md").unlink()
    await decide(neo4j, "pages", "confirmed", "ada")
    assert (await narrower.run(narrower.organization.source[0])).outcome == "complete"
    assert await crawled(narrower) == {"b.md": b, "a.md": new}
    [kept] = await neo4j.read(
        "MATCH (r:_Reading {source: 'pages', scope: 'pages ?.md'}) RETURN r.places AS places"
    )
    assert unpacked(kept["places"]).gone == {}


async def _configured(store, organization):
    ids = ("collection:all", "collection:hr")
    policy = SourcePolicy("configuration", frozenset(), frozenset(ids), 100, organization.source[0].max_age)
    async with store.crawl(policy, "all") as crawl:
        await crawl.write([EntityClaim(id, "Collection", id, {"name": id}, "sources.toml") for id in ids])
        board = EntityClaim("group:board", "Group", "collection:all", {"name": "Board"}, "sources.toml")
        await crawl.write([board])
        await crawl.complete()


async def _around(neo4j, id_) -> set[tuple[str, str, str]]:
    records = await neo4j.read(
        """MATCH (s)-[r]->(e) WHERE $id IN [s.id, e.id]
           RETURN type(r) AS type, s.id AS start, e.id AS end""",
        id=id_,
    )
    return {(record["type"], record["start"], record["end"]) for record in records}

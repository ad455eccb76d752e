"""The brake, and what is followed from a position: what a crawl may take away, and when it asks."""

import os
from collections.abc import Sequence

import pytest

from discovery.configuration import all_sources
from discovery.connectors.table import build
from discovery.holds import NothingHeldError, decide, held
from discovery.runner import Runner
from discovery.runs import last_completed
from graph.store import FactStore
from ontologies.loader import load_authorization, load_shapes
from tests.discovery.git_repository import commit

NO_LONGER = (
    "it is listed no longer, as under another filter; what the scopes that are listed say of it too stays"
)
MAPPING = """\
[[rule]]
files = "**"
each = "."
id = "person:{_stem}"
class = "Person"
values = { name = "name" }
"""


def people(*names, of=40):
    """Files of forty people, but for those named."""
    return {f"people/p{n}.toml": f'name = "P{n}"' for n in range(of) if f"p{n}" not in names}


@pytest.fixture
def make(neo4j, make_organization, tmp_path):
    """A runner, and its one source, of the folder `tree` or of the repository `lists`."""
    (tmp_path / "mapping.toml").write_text(MAPPING)

    def go(options=None, **source):
        options = {"path": "tree/**", "mapping": "mapping.toml", **(options or {})}
        declared = {"name": "lists", "connector": "mapping", "options": options, **source}
        organization = make_organization(tmp_path, declared)
        store = FactStore(neo4j, load_shapes(), load_authorization())
        runner = Runner(organization, store, neo4j)
        return runner, organization.source[0]

    return go


@pytest.fixture
def write(tmp_path):
    def go(files):
        for path in (tmp_path / "tree").rglob("*.toml"):
            path.unlink()
        for name, text in files.items():
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            os.utime(path, (1, 1))

    return go


async def count(neo4j):
    records = await neo4j.read("MATCH (n:Person) RETURN count(n) AS n")
    return records[0]["n"]


async def begun(runner):
    await runner.run(all_sources(runner.organization)[0])


async def test_a_crawl_that_would_retract_too_much_is_held_until_a_person_confirms(neo4j, make, write):
    runner, source = make()
    await begun(runner)
    write(people())
    await runner.run(source)
    completed = (await last_completed(neo4j))["lists"]
    write({name: text for name, text in people().items() if int(name[8:-5]) < 10})
    report = await runner.run(source)
    assert report.outcome == "partial"
    assert "30 of 40 claims would be retracted" in report.scopes[0].why
    assert await count(neo4j) == 40
    assert (await last_completed(neo4j))["lists"] == completed  # not complete: its grants grow old
    [waiting] = await held(neo4j)
    assert (waiting.source, waiting.gone, waiting.standing) == ("lists", 30, 40)
    await runner.run(source)
    assert len(await held(neo4j)) == 1  # asked once
    await decide(neo4j, "lists", "confirmed", "ada")
    assert (await runner.run(source)).outcome == "complete"
    assert await count(neo4j) == 10
    assert await held(neo4j) == []
    [record] = await neo4j.read(
        "MATCH (h:_Hold) RETURN h.decision AS d, h.decidedBy AS by, h.carriedOut AS done"
    )
    assert (record["d"], record["by"], record["done"]) == ("confirmed", "ada", True)


async def test_what_was_confirmed_covers_no_more_than_was_shown(neo4j, make, write):
    runner, source = make()
    await begun(runner)
    write(people())
    await runner.run(source)
    write(people(*(f"p{n}" for n in range(25))))
    await runner.run(source)
    await decide(neo4j, "lists", "confirmed", "ada")
    write(people(*(f"p{n}" for n in range(35))))
    assert (await runner.run(source)).outcome == "partial"
    assert await count(neo4j) == 40
    [waiting] = await held(neo4j)
    assert waiting.gone == 35


async def test_what_was_dropped_stays_and_is_not_asked_again_until_it_differs(neo4j, make, write):
    runner, source = make()
    await begun(runner)
    write(people())
    await runner.run(source)
    write(people(*(f"p{n}" for n in range(25))))
    await runner.run(source)
    await decide(neo4j, "lists", "dropped", "ada")
    assert (await runner.run(source)).outcome == "partial"
    assert await held(neo4j) == []
    assert await count(neo4j) == 40
    with pytest.raises(NothingHeldError, match="no crawl of 'lists' waits"):
        await decide(neo4j, "lists", "confirmed", "ada")
    write(people(*(f"p{n}" for n in range(26))))
    await runner.run(source)
    assert [one.gone for one in await held(neo4j)] == [26]


async def test_a_hold_lapses_when_a_later_crawl_has_nothing_to_ask(neo4j, make, write):
    runner, source = make()
    await begun(runner)
    write(people())
    await runner.run(source)
    write(people(*(f"p{n}" for n in range(25))))
    await runner.run(source)
    write(people())
    assert (await runner.run(source)).outcome == "complete"
    assert await held(neo4j) == []


@pytest.mark.parametrize(
    ("brake", "outcome"), [({"share": 0.7}, "complete"), ({"share": 0, "least": 0}, "partial")]
)
async def test_each_source_sets_its_brake(neo4j, make, write, brake, outcome):
    runner, source = make(brake=brake)
    await begun(runner)
    write(people())
    await runner.run(source)
    write(people(*(f"p{n}" for n in range(25 if outcome == "complete" else 1))))
    assert (await runner.run(source)).outcome == outcome


async def test_a_narrowed_filter_deletes_nothing_until_a_person_says_so(neo4j, make, write):
    runner, source = make()
    await begun(runner)
    write({"people/ada.toml": 'name = "Ada"', "people/bob.toml": 'name = "Bob"'})
    await runner.run(source)
    runner, narrowed = make({"path": "tree/*/ada.toml"})
    report = await runner.run(narrowed)
    assert await count(neo4j) == 2
    [waiting] = await held(neo4j)
    assert (waiting.scope, waiting.gone, waiting.why) == ("tree/**", 2, NO_LONGER)
    assert report.outcome == "partial"
    await decide(neo4j, "lists", "confirmed", "ada")
    await runner.run(narrowed)
    assert await held(neo4j) == []
    assert await count(neo4j) == 1


@pytest.mark.parametrize(
    ("connector", "options", "narrower"),
    [
        ("bpmn", {"path": "*.bpmn"}, {"path": "a*.bpmn"}),
        ("documents", {"path": "pages"}, {"glob": ["a*"]}),
        ("files", {"url": "data"}, {"schemas": ["a*"]}),
        ("git-authors", {"repository": "r"}, {"least": 2}),
        ("git-authors", {"repository": "r"}, {"branch": "main"}),
        ("ldap", {"url": "ldap://127.0.0.1", "base": "dc=x"}, {"filter": "(uid=a*)"}),
        ("ldap", {"url": "ldap://127.0.0.1", "base": "dc=x"}, {"people_base": "ou=a,dc=x"}),
        ("ldif", {"path": "*.ldif"}, {"people_base": "ou=a,dc=x"}),
        ("postgresql", {"host": "db.example", "database": "d", "user": "u"}, {"schemas": ["a"]}),
        ("sql", {"url": "x.sqlite"}, {"db_schema": "a"}),
    ],
)
def test_what_an_option_leaves_out_is_in_the_name_of_the_scope(
    make_organization, tmp_path, connector, options, narrower
):
    """So that what it leaves out is of a scope that is listed no longer, which asks."""
    (tmp_path / "r").mkdir()
    whole, narrowed = (
        build(organization, organization.source[0], {}).scopes()
        for told in (options, options | narrower)
        for organization in [
            make_organization(tmp_path, {"name": "s", "connector": connector, "options": told})
        ]
    )
    assert set(whole).isdisjoint(narrowed)


WHERE = """[[rule]]
each = "."
id = "person:{id}"
class = "Person"
values = { name = "name" }
"""


async def test_a_narrowed_rule_of_a_mapping_deletes_nothing_until_a_person_says_so(
    neo4j, make, write, tmp_path
):
    """Below the brake, which holds it anyway: two of fifty."""
    runner, source = make()
    await begun(runner)
    (tmp_path / "mapping.toml").write_text(WHERE)
    write({f"people/p{n}.toml": f'id = "p{n}"\nname = "N"\nkind = "{n % 25}"' for n in range(50)})
    assert (await runner.run(source)).outcome == "complete"
    (tmp_path / "mapping.toml").write_text(f"{WHERE}when = ['kind']\n")
    report = await runner.run(source)
    assert (report.outcome, await count(neo4j)) == ("partial", 50)
    [waiting] = await held(neo4j)
    assert (waiting.scope, waiting.gone, waiting.why) == ("tree/**", 50, NO_LONGER)
    await decide(neo4j, "lists", "confirmed", "ada")
    report = await runner.run(source)
    assert (report.outcome, await count(neo4j), await held(neo4j)) == ("complete", 50, [])

    (tmp_path / "mapping.toml").write_text(WHERE + "when = ['kind']\nwhere = { kind = '7' }\n")
    report = await runner.run(source)
    assert (report.outcome, sum(one.retracted for one in report.scopes)) == ("partial", 0)
    assert await count(neo4j) == 50
    await decide(neo4j, "lists", "confirmed", "ada")
    assert (await runner.run(source)).outcome == "complete"
    assert await count(neo4j) == 2
    (tmp_path / "mapping.toml").write_text(
        WHERE + "when = ['kind']\nwhere = { kind = '7' }\nrequired = ['id']\n"
    )
    report = await runner.run(source)
    assert (report.outcome, len(report.scopes)) == ("complete", 1), (
        "nothing else of the mapping names the scope"
    )


@pytest.mark.parametrize(
    ("narrower", "another"),
    [
        ("where = { kind = '7' }", True),
        ("when = ['kind']", True),
        ("files = 'a/**'", True),
        ("[[rule.relationship]]\ntype = 'MEMBER_OF'\nend = 'group:{kind}'\nwhere = { kind = '7' }", True),
        ("[[rule.relationship]]\ntype = 'MEMBER_OF'\nend = 'group:{kind}'\nwhen = ['kind']", True),
        ("[[rule.relationship]]\ntype = 'MEMBER_OF'\nend = 'group:{kind}'", False),
        ("required = ['id']", False),
    ],
)
@pytest.mark.parametrize("repository", [None, "lists"])
def test_what_a_mapping_leaves_out_is_in_the_name_of_its_scope(
    make_organization, tmp_path, narrower, another, repository
):
    options = {"path": "**", "mapping": "m.toml"} | ({"repository": repository} if repository else {})
    organization = make_organization(tmp_path, {"name": "s", "connector": "mapping", "options": options})

    def scopes(more: str = "") -> Sequence[str]:
        (tmp_path / "m.toml").write_text(f"{WHERE}{more}\n")
        return build(organization, organization.source[0], {}).scopes()

    assert (scopes() != scopes(narrower)) is another


async def test_an_unchanged_folder_is_not_read_again_and_its_grants_stay_fresh(neo4j, make, write, tmp_path):
    runner, source = make()
    await begun(runner)
    write(people(of=3))
    first = await runner.run(source)
    [before] = await neo4j.read("MATCH (s:_Source {name: 'lists'}) RETURN s.completedAt AS at")
    second = await runner.run(source)
    assert (first.scopes[0].claims, second.scopes[0].claims) == (3, 0)
    assert second.outcome == "complete"
    [after] = await neo4j.read("MATCH (s:_Source {name: 'lists'}) RETURN s.completedAt AS at")
    assert after["at"] > before["at"]
    (tmp_path / "mapping.toml").write_text(MAPPING.replace('"name" }', '"name", email = "email" }'))
    assert (await runner.run(source)).scopes[0].claims == 3  # another mapping: read whole
    runner, renamed = make(trust=60)
    assert (await runner.run(renamed)).scopes[0].claims == 3  # another configuration, too


async def test_commits_are_replayed_as_revisions_and_go_on_where_they_ended(neo4j, make, tmp_path):
    lists = tmp_path / "lists"
    first = commit(lists, people(of=5))
    options = {"repository": "lists", "path": "**"}
    runner, at_first = make({**options, "commit": first})
    await begun(runner)
    assert (await runner.run(at_first)).scopes[0].added == 5
    commit(lists, {"people/p0.toml": None})
    commit(lists, {"people/p1.toml": 'name = "Another"'})
    _, head = make(options)
    report = await runner.run(head)
    [scope] = report.scopes
    assert (report.outcome, scope.claims, scope.changed, scope.retracted) == ("complete", 1, 1, 1)
    revisions = await neo4j.read("MATCH (r:_Revision {source: 'lists'}) RETURN count(r) AS n")
    again = await runner.run(head)
    assert (again.outcome, again.scopes[0].claims) == ("complete", 0)
    assert await neo4j.read("MATCH (r:_Revision {source: 'lists'}) RETURN count(r) AS n") == revisions


async def test_a_commit_that_takes_too_much_is_held_and_those_before_it_are_taken(neo4j, make, tmp_path):
    lists = tmp_path / "lists"
    first = commit(lists, people())
    options = {"repository": "lists", "path": "**"}
    runner, at_first = make({**options, "commit": first})
    await begun(runner)
    await runner.run(at_first)
    commit(lists, {"people/p0.toml": 'name = "Another"'})
    commit(lists, {f"people/p{n}.toml": None for n in range(1, 31)})
    commit(lists, {"people/p0.toml": 'name = "Last"'})
    _, head = make(options)
    report = await runner.run(head)
    assert report.outcome == "partial"
    names = "MATCH (n:Person {id: 'person:p0'}) RETURN n.name AS name"
    assert [record["name"] for record in await neo4j.read(names)] == ["Another"]
    assert await count(neo4j) == 40
    await decide(neo4j, "lists", "confirmed", "ada")
    assert (await runner.run(head)).outcome == "complete"
    assert [record["name"] for record in await neo4j.read(names)] == ["Last"]
    assert await count(neo4j) == 10


async def test_a_whole_reading_that_breaks_off_forgets_the_position(neo4j, make, write, tmp_path):
    """Otherwise what the broken reading wrote of a file that is gone again would stand for ever."""
    runner, source = make()
    await begun(runner)
    write({"people/ada.toml": 'name = "Ada"'})
    await runner.run(source)
    write(
        {"people/ada.toml": 'name = "Ada"', "people/bob.toml": 'name = "Bob"', "people/cyd.toml": "no toml"}
    )
    assert (await runner.run(source)).outcome == "partial"
    write({"people/ada.toml": 'name = "Ada"'})
    report = await runner.run(source)
    assert (report.outcome, report.scopes[0].retracted) == ("complete", 1)
    assert await count(neo4j) == 1

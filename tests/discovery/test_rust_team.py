"""The Rust project's public lists, replayed from git: each commit as a fresh reading of it would have it."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.replay import crawled, emptied, graph_as_of, people
from discovery.configuration import all_sources
from discovery.connector import Position, Problem
from discovery.connectors.table import build
from discovery.resolution import propose
from discovery.runner import Runner
from discovery.sources import load_organization
from discovery.statements import fact_of
from graph.feed import current_revision
from graph.proposals import Described
from graph.store import FactStore
from ontologies.loader import load, load_authorization, load_shapes
from tests.discovery.git_repository import git

#: The first commit of August 2019, when all people have ids.
START = "113a2a0c3f4c11052ba3a303d452447ec135512c"
COMMITS = 1987
#: Commits that name somebody who is in no file, or are no TOML.
BROKEN = 18
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lists(shared_data, tmp_path_factory):
    """The bundle, unpacked once."""
    folder = tmp_path_factory.mktemp("rust-team")
    bundle = str(shared_data / "rust-team" / "rust-team.bundle")
    git(folder, "clone", "-q", "--bare", bundle, "lists.git")
    return folder / "lists.git"


@pytest.fixture(scope="module")
def organization(shared_data):
    patch = pytest.MonkeyPatch()
    patch.setenv("ORGRAPH_SHARED_DATA", str(shared_data))
    yield load_organization(ROOT / "deploy" / "rust-team" / "sources.toml")
    patch.undo()


def at(organization, lists, commit=None):
    """The source, of the unpacked bundle, read at a commit or to its head."""
    [source] = organization.source
    options = {**source.options, "repository": str(lists), **({"commit": commit} if commit else {})}
    return source.model_copy(update={"options": options})


def fresh(organization, source):
    """All claims by their facts, the problems, and the position."""
    connector = build(organization, source, {})
    [scope] = connector.scopes()
    items = list(connector.read(scope))
    claims = {fact_of(i): i for i in items if not isinstance(i, (Problem, Position))}
    [position] = [item.text for item in items if isinstance(item, Position)]
    return claims, [item for item in items if isinstance(item, Problem)], position


@dataclass
class Replayed:
    commits: int
    broken: int
    compared: int
    different: list
    names: dict
    """GitHub names that each person had, by the person's id."""
    holders: dict
    """Accounts that each GitHub name was of."""
    people: dict
    """How each person was described last, by id."""


@pytest.fixture(scope="module")
def replayed(organization, lists):
    claims, problems, position = fresh(organization, at(organization, lists, START))
    assert problems == []
    connector = build(organization, at(organization, lists), {})
    [scope] = connector.scopes()
    told = Replayed(0, 0, 0, [], defaultdict(dict), defaultdict(dict), {})
    for change in [None, *connector.changes(scope, position)]:
        new = list(claims.values()) if change is None else change.claims
        for claim in new:
            claims[fact_of(claim)] = claim
            if getattr(claim, "class_name", None) == "Person":
                told.names[claim.id][claim.values["accountName"]] = True
                told.people[claim.id] = claim.values
            if getattr(claim, "class_name", None) == "Account":
                told.holders[str(claim.values["name"]).lower()][claim.id] = True
        if change is None:
            continue
        for claim in change.withdrawn:
            del claims[fact_of(claim)]
        told.commits += 1
        if change.position is None:
            told.broken += 1
        elif told.commits % 300 == 0 or told.commits == COMMITS:
            commit = change.position.split()[0]
            expected, _, _ = fresh(organization, at(organization, lists, commit))
            told.compared += 1
            told.different += [] if claims == expected else [commit]
    return told


def test_the_replay_of_each_commit_equals_a_fresh_reading_of_it(replayed):
    assert (replayed.commits, replayed.broken) == (COMMITS, BROKEN)
    assert replayed.compared >= 6
    assert replayed.different == []


def test_who_was_renamed_stays_one_person(replayed):
    renamed = {id_: list(names) for id_, names in replayed.names.items() if len(names) > 1}
    assert len(renamed) == 22
    assert renamed["person:48135649"] == ["Nilstrieb", "Noratrieb"]
    assert renamed["person:547158"] == ["jonathandturner", "jntrnr", "sophiajt"]


def test_a_name_that_passed_to_another_id_is_two_accounts(replayed):
    passed = {name: list(accounts) for name, accounts in replayed.holders.items() if len(accounts) > 1}
    assert passed == {"dylan-dpc": ["account:github/12371125", "account:github/99973273"]}


def test_who_took_over_a_name_is_not_taken_for_who_had_it(replayed):
    """One name, address and account name under two ids of one source: two. Of two sources it is proposed."""
    ontology = load()

    def described(id_, source):
        values = {n: (v,) for n, v in replayed.people[id_].items() if ontology.values[n].identifies}
        return Described(f"{id_}", frozenset({source}), values)

    before, after = "person:12371125", "person:99973273"
    assert propose(ontology, described(before, "rust-team"), described(after, "rust-team")) is None
    assert propose(ontology, described(before, "rust-team"), described(after, "another")) is not None


#: In which diannasoriel became diannasoreil, and dylan-dpc's name passed to a new account of his.
RENAMED, PASSED = "people/diannasoreil.toml", "d83d89d587a17fda6035df6802b18c3debe019ce"


async def test_the_graph_as_of_a_commit_is_a_fresh_load_of_it_with_names_that_changed(
    neo4j, organization, lists
):
    commits = git(lists, "rev-list", "--first-parent", "--reverse", f"{START}..public").split()
    renamed = git(lists, "log", "--first-parent", "--format=%H", PASSED, "--", RENAMED).split()[-1]
    before = commits[commits.index(renamed) - 1]
    configuration = all_sources(organization)[0]
    then = {}
    await crawled(neo4j, organization, [configuration])
    for commit in (before, renamed, PASSED):
        await crawled(neo4j, organization, [at(organization, lists, commit)])
        then[commit] = await current_revision(neo4j)
    told = await people(neo4j)
    graphs = {commit: await graph_as_of(neo4j, revision) for commit, revision in then.items()}
    for commit in (renamed, PASSED):
        await emptied(neo4j)
        await crawled(neo4j, organization, [configuration, at(organization, lists, commit)])
        assert await graph_as_of(neo4j, await current_revision(neo4j)) == graphs[commit]

    assert (told["renamed"], told["names_passed_on"]) == (1, 1)
    [person] = holders(graphs[before], "person", "diannasoriel")
    assert holders(graphs[renamed], "person", "diannasoreil") == [person]
    assert holders(graphs[renamed], "person", "diannasoriel") == []
    assert holders(graphs[renamed], "account", "dylan-dpc") == ["account:github/12371125"]
    assert holders(graphs[PASSED], "account", "dylan-dpc") == ["account:github/99973273"]


def holders(graph, type_, name):
    """Those of a type that have a GitHub name."""
    return [
        id_
        for id_, one in graph.entities.items()
        if id_.startswith(f"{type_}:")
        and name in [known.lower() for known in (one.name, *one.values.get("accountName", ()))]
    ]


async def test_what_did_not_change_is_not_read_again(neo4j, organization, lists):
    runner = Runner(organization, FactStore(neo4j, load_shapes(), load_authorization()), neo4j)
    commits = git(lists, "rev-list", "--first-parent", "--reverse", f"{START}..public").split()
    await runner.run(all_sources(organization)[0])
    await runner.run(at(organization, lists, START))
    changed = await runner.run(at(organization, lists, commits[11]))
    assert (changed.outcome, changed.violations) == ("complete", ())
    assert 0 < changed.scopes[0].claims < 100
    again = await runner.run(at(organization, lists, commits[11]))
    assert (again.outcome, again.scopes[0].claims) == ("complete", 0)

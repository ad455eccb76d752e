"""An audience names the place that access comes from, and the visible set means what check means."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.audiences import (
    And,
    Expression,
    Not,
    Or,
    Userset,
    assign,
    from_tree,
    place_of,
    places,
    to_tree,
)
from graph.database import Database
from graph.rebac.evaluator import Request, check
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from graph.tuples import Voucher
from graph.visible_sets.evaluation import Evaluation
from graph.visible_sets.index import VisibilityIndex
from ontologies import load, load_authorization
from ontologies.authorization_model import parse_dsl

MODEL = parse_dsl("""
model
  schema 1.1
type user
type group
  relations
    define member: [user, group#member]
type folder
  relations
    define parent: [folder]
    define owner: [user, group#member]
    define denied: [user, group#member]
    define viewer: (owner or viewer from parent) but not denied
type project
  relations
    define folder: [folder]
    define viewer: viewer from folder
type document
  relations
    define folder: [folder]
    define also: [folder]
    define quarantine: [folder]
    define guest: [user]
    define denied: viewer from quarantine
    define viewer: (guest or viewer from folder or viewer from also) but not denied
type secret
  relations
    define folder: [folder]
    define clearance: [folder]
    define viewer: viewer from folder and owner from clearance
type user_note
  relations
    define author: [user]
""")


def tuples(*texts: str) -> list[TupleKey]:
    return [TupleKey(*reversed(text.split(" "))) for text in texts]


def viewers(object: str) -> Userset:
    return Userset(object, "viewer")


def test_a_place_is_itself_whatever_it_inherits() -> None:
    assert places(MODEL) == {"folder"}
    assert place_of(MODEL, "folder:x", tuples("folder:x parent folder:y")) == viewers("folder:x")
    assert place_of(MODEL, "folder:x", []) == viewers("folder:x")


def test_an_entity_without_viewers_of_its_own_has_the_place_that_it_is_in() -> None:
    assert place_of(MODEL, "project:p", tuples("project:p folder folder:x")) == viewers("folder:x")
    assert place_of(MODEL, "document:d", tuples("document:d also folder:x")) == viewers("folder:x")


def test_an_entity_with_viewers_of_its_own_is_its_own_place() -> None:
    held = tuples("document:d folder folder:x", "document:d guest user:ada")
    assert place_of(MODEL, "document:d", held) == viewers("document:d")


@pytest.mark.parametrize("id", ["project:p", "document:d", "user_note:n", "user:ada", "planet:mars"])
def test_nobody_sees_what_is_nowhere(id: str) -> None:
    assert place_of(MODEL, id, tuples(f"{id} author user:ada")) is None


def test_several_tuplesets_make_an_expression() -> None:
    x, y, z = map(viewers, ("folder:x", "folder:y", "folder:z"))
    both = ("document:d folder folder:x", "document:d also folder:y")
    assert place_of(MODEL, "document:d", tuples(*both)) == Or((x, y))
    denied = tuples(*both, "document:d quarantine folder:z")
    assert place_of(MODEL, "document:d", denied) == And((Or((x, y)), Not(z)))
    cleared = ("secret:s folder folder:x", "secret:s clearance folder:y")
    assert place_of(MODEL, "secret:s", tuples(*cleared)) == And((x, Userset("folder:y", "owner")))
    assert place_of(MODEL, "secret:s", tuples(cleared[0])) is None


@pytest.mark.parametrize(
    "expression",
    [viewers("folder:x"), And((Or((viewers("folder:x"), viewers("folder:ü"))), Not(viewers("folder:z"))))],
)
def test_an_expression_survives_as_json(expression: Expression) -> None:
    assert from_tree(json.loads(json.dumps(to_tree(expression)))) == expression


@pytest.mark.parametrize("tree", [None, {}, {"userset": "folder:x"}, {"or": {}}, {"xor": []}, ["or"]])
def test_what_is_no_expression_is_refused(tree: object) -> None:
    with pytest.raises(ValueError, match="expression"):
        from_tree(tree)


ids = {
    kind: [f"{kind}:{i}" for i in range(3)]
    for kind in ("user", "group", "folder", "project", "document", "secret")
}


def any_tuple() -> st.SearchStrategy[TupleKey]:
    members = st.sampled_from([*ids["user"], *(f"{group}#member" for group in ids["group"])])
    folders = st.sampled_from(ids["folder"])
    shapes = [
        ("group", "member", members),
        ("folder", "owner", members),
        ("folder", "denied", members),
        ("folder", "parent", folders),
        ("project", "folder", folders),
        ("document", "folder", folders),
        ("document", "also", folders),
        ("document", "quarantine", folders),
        ("document", "guest", st.sampled_from(ids["user"])),
        ("secret", "folder", folders),
        ("secret", "clearance", folders),
    ]
    return st.one_of(
        st.builds(TupleKey, users, st.just(relation), st.sampled_from(ids[kind]))
        for kind, relation, users in shapes
    )


@settings(max_examples=60, deadline=None)
@given(st.sets(any_tuple(), max_size=40), st.sets(any_tuple(), max_size=10))
def test_the_visible_set_equals_check_for_every_entity_and_account(
    held: set[TupleKey], stale: set[TupleKey]
) -> None:
    """Also where grants are suspended; placements never are."""
    suspended = {entry for entry in stale - held if entry.object.startswith(("group:", "folder:"))}
    request = Request(MODEL, TupleIndex(held, suspended))
    entities = [id for kind in ("folder", "project", "document", "secret") for id in ids[kind]]
    found = {id: place_of(MODEL, id, [t for t in held if t.object == id]) for id in entities}
    audiences = dict(enumerate(expression for expression in found.values() if expression is not None))
    numbers = {expression: number for number, expression in audiences.items()}
    index = VisibilityIndex()
    for source, entries in (("configuration", held), ("aged", suspended)):
        for entry in entries:
            index.put(entry, "", [Voucher(source, "")])
    for number, expression in audiences.items():
        index.define(number, expression)
    index.next_audience = len(audiences)
    for user in ids["user"]:
        visible = Evaluation(index, MODEL, user, frozenset(), request.now, {}).visible()
        for id, expression in found.items():
            seen = expression is not None and visible[numbers[expression]] == 1
            assert seen == check(request, user, "viewer", id), (user, id)


async def place(neo4j: Database, *placements: tuple[str, str | None]) -> dict[str, int | None]:
    """Write entities into their collections, then assign."""

    async def work(tx):
        await tx.run("MERGE (:_Meta {one: true})")
        for id, collection in placements:
            await tx.run("MERGE (:Entity {id: $id})", id=id)
            if collection:
                await tx.run(
                    """MATCH (n:Entity {id: $id}) MERGE (c:Entity {id: $collection})
                       MERGE (n)-[:IN_COLLECTION {sources: ['configuration']}]->(c)""",
                    id=id,
                    collection=collection,
                )
        return dict(await assign(tx, load(), load_authorization(), [id for id, _ in placements]))

    return await neo4j.write_transaction(work)


async def test_entities_of_one_collection_share_its_number(neo4j: Database) -> None:
    numbers = await place(
        neo4j,
        ("collection:hr", None),
        ("person:ada", "collection:hr"),
        ("document:plan", "collection:hr"),
        ("document:note", "collection:it"),
        ("document:lost", None),
    )
    assert numbers["collection:hr"] == numbers["person:ada"] == numbers["document:plan"]
    assert numbers["document:note"] not in (None, numbers["collection:hr"])
    assert numbers["document:lost"] is None
    records = await neo4j.read(
        "MATCH (a:_Audience) RETURN a.number AS number, a.place AS place, a.expression AS tree"
    )
    assert {record["number"]: (record["place"], json.loads(record["tree"])) for record in records} == {
        numbers["collection:hr"]: ("collection:hr#viewer", {"userset": "collection:hr#viewer"}),
        numbers["document:note"]: ("collection:it#viewer", {"userset": "collection:it#viewer"}),
    }


async def test_numbers_are_kept_and_never_used_again(neo4j: Database) -> None:
    first = await place(neo4j, ("document:a", "collection:x"), ("document:b", "collection:y"))
    assert await place(neo4j, ("document:c", "collection:x")) == {"document:c": first["document:a"]}
    await neo4j.write_transaction(_forget_audiences)
    again = await place(neo4j, ("document:d", "collection:z"))
    assert again["document:d"] not in first.values()


async def _forget_audiences(tx) -> None:
    await tx.run("MATCH (a:_Audience) DELETE a")


async def test_only_asserted_relationships_place(neo4j: Database) -> None:
    async def infer(tx):
        await tx.run("CREATE (:Entity {id: 'document:a'})-[:IN_COLLECTION]->(:Entity {id: 'collection:x'})")

    await neo4j.write_transaction(infer)
    assert await place(neo4j, ("document:a", None)) == {"document:a": None}

"""What is inferred is seen by who sees all that it follows from, and by nobody once that is gone."""

import asyncio
import random
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.feed import changes, current_revision, position
from graph.inferred import CONSUMER, Reasoner, keep_inferred
from graph.past import PRESENT, When
from graph.reads import Asker, Neighbour, Reader
from graph.reasoning import Closure, Link, compile_rules
from graph.rebac.relation_tuples import type_of
from graph.store import FactStore
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes
from ontologies.modules import organization_files

# The hospital's module declares a symmetric relationship and an inverse.
FILES = organization_files(Path(__file__).parents[1] / "ontologies" / "hospital", ["ontology"])
ONTOLOGY, MODEL, SHAPES = load(FILES), load_authorization(FILES), load_shapes(FILES)
COLLECTIONS = ("open", "north", "south")
CONFIGURATION = SourcePolicy(
    "configuration",
    frozenset({"MAY_VIEW", "MEMBER_OF", "HAS_ACCOUNT"}),
    frozenset(f"collection:{name}" for name in COLLECTIONS),
    100,
    timedelta(days=1),
)
#: Everybody sees `open`; what else each sees.
PEOPLE = {"all": ("north", "south"), "northerner": ("north",), "southerner": ("south",), "guest": ()}


def entity(id: str, collection: str = "open", **values: str) -> EntityClaim:
    class_name = ONTOLOGY.class_of_type(type_of(id)).name
    return EntityClaim(id, class_name, f"collection:{collection}", {"name": id, **values}, "test")


def unit(key: str, collection: str = "open") -> EntityClaim:
    return entity(f"organizational_unit:{key}", collection)


def unit_of(start: str, end: str, **interval: datetime) -> RelationshipClaim:
    return RelationshipClaim(
        f"organizational_unit:{start}", "UNIT_OF", f"organizational_unit:{end}", "test", **interval
    )


class Hospital:
    """The store, what askers see, and a follower that is moved by hand."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = FactStore(database, SHAPES, MODEL)
        authorizer = Authorizer(database, ONTOLOGY, MODEL, [CONFIGURATION])
        self.reader = Reader(database, ONTOLOGY, authorizer)
        self.reasoner = Reasoner(database, compile_rules(ONTOLOGY))
        self.reached = 0

    async def write(self, *claims: Claim, scope: str = "facts") -> None:
        async with self.store.crawl(CONFIGURATION, scope) as crawl:
            report = await crawl.write(claims)
            assert report.quarantined == ()
            await crawl.complete()

    async def follow(self) -> None:
        if self.reached == 0:
            self.reached = await self.reasoner.build()
        elif revisions := await changes(self.database, self.reached):
            await self.reasoner.take(revisions)
            self.reached = revisions[-1].number

    async def beside(self, login: str, id: str, when: When = PRESENT) -> list[Neighbour]:
        found, _ = await self.reader.run(
            Asker(f"account:acme/{login}"), lambda view: view.neighbours([id], 1000), when
        )
        return list(found[id])

    async def inferred(self, login: str, key: str, type_: str = "PART_OF") -> set[str]:
        """Keys of what the unit leads to by an inferred relationship, as the person sees it."""
        return {
            one.entity.id.partition(":")[2]
            for one in await self.beside(login, key if ":" in key else f"organizational_unit:{key}")
            if one.type == type_ and one.outgoing and one.derivations
        }

    async def materialized(self) -> set[str]:
        return {
            record["fact"]
            for record in await self.database.read(
                "MATCH (a)-[r]->(b) WHERE r.inferred RETURN a.id + ' ' + type(r) + ' ' + b.id AS fact"
            )
        }


@pytest.fixture
async def hospital(neo4j: Database) -> Hospital:
    hospital = Hospital(neo4j)
    await hospital.write(
        *(entity(f"collection:{name}", name) for name in COLLECTIONS),
        *(entity(f"group:{name}") for name in COLLECTIONS),
        *(
            RelationshipClaim(f"group:{name}", "MAY_VIEW", f"collection:{name}", "test")
            for name in COLLECTIONS
        ),
        *(claim for login, seen in PEOPLE.items() for claim in person(login, ("open", *seen))),
        scope="access",
    )
    return hospital


def person(login: str, seen: Iterable[str]) -> list[Claim]:
    id, account = f"person:{login}", f"account:acme/{login}"
    return [
        entity(id),
        entity(account, issuer="acme", subject=login),
        RelationshipClaim(id, "HAS_ACCOUNT", account, "test"),
        *(RelationshipClaim(id, "MEMBER_OF", f"group:{name}", "test") for name in seen),
    ]


async def test_a_conclusion_is_seen_by_who_sees_all_that_it_follows_from(hospital: Hospital) -> None:
    await hospital.write(
        unit("team"),
        unit("hidden", "north"),
        unit("board"),
        unit_of("team", "hidden"),
        unit_of("hidden", "board"),
    )
    await hospital.follow()
    assert await hospital.inferred("northerner", "team") == {"hidden", "board"}
    assert await hospital.inferred("guest", "team") == set()
    [found] = [
        one
        for one in await hospital.beside("all", "organizational_unit:team")
        if one.entity.id.endswith("board")
    ]
    assert found.derivations == (
        (
            "organizational_unit:team UNIT_OF organizational_unit:hidden",
            "organizational_unit:hidden UNIT_OF organizational_unit:board",
        ),
    )
    assert found.sources == ()
    asserted = [
        one for one in await hospital.beside("all", "organizational_unit:team") if not one.derivations
    ]
    assert [one.type for one in asserted] == ["IN_COLLECTION", "UNIT_OF"]


async def test_of_several_derivations_one_is_enough_and_the_hidden_ones_are_not_told(
    hospital: Hospital,
) -> None:
    part_of = RelationshipClaim("organizational_unit:team", "PART_OF", "organizational_unit:south", "test")
    await hospital.write(
        *(unit("team"), unit("north", "north"), unit("south", "south"), unit("board")),
        *(unit_of("team", "north"), unit_of("north", "board"), part_of, unit_of("south", "board")),
    )
    await hospital.follow()
    for login, through in (("northerner", ["north"]), ("southerner", ["south"]), ("all", ["north", "south"])):
        [found] = [
            one
            for one in await hospital.beside(login, "organizational_unit:team")
            if one.entity.id.endswith("board")
        ]
        assert sorted(one[0].rpartition(":")[2] for one in found.derivations) == through
    assert await hospital.inferred("guest", "team") == set()


async def test_what_goes_is_not_seen_even_before_the_follower_has_heard_of_it(hospital: Hospital) -> None:
    team, middle, board = unit("team"), unit("middle"), unit("board")
    lower, upper = unit_of("team", "middle"), unit_of("middle", "board")
    await hospital.write(team, middle, board, lower, upper)
    await hospital.follow()
    assert await hospital.inferred("guest", "team") == {"middle", "board"}
    await hospital.write(team, middle, board, lower)
    assert await hospital.inferred("guest", "team") == {"middle"}
    await hospital.follow()
    assert await hospital.materialized() == {"organizational_unit:team PART_OF organizational_unit:middle"}
    await hospital.write(team, unit("middle", "north"), board, lower, upper)
    await hospital.follow()
    assert await hospital.inferred("guest", "team") == set()
    assert await hospital.inferred("northerner", "team") == {"middle", "board"}
    await hospital.write(team, unit("middle", "south"), board, lower, upper)
    assert await hospital.inferred("northerner", "team") == set()
    past = datetime.now(UTC) - timedelta(days=1)
    await hospital.write(team, middle, board, lower, unit_of("middle", "board", valid_to=past))
    assert await hospital.inferred("all", "team") == {"middle"}


async def test_symmetric_and_inverse_relationships_are_read_from_both_ends(hospital: Hospital) -> None:
    await hospital.write(
        *(entity(f"ward:{key}", wardCode=code) for key, code in (("a", "A01"), ("b", "B01"))),
        entity("bed:1", "north"),
        RelationshipClaim("ward:a", "ADJACENT_TO", "ward:b", "test"),
        RelationshipClaim("bed:1", "STANDS_IN", "ward:a", "test", confidence=0.5),
    )
    await hospital.follow()
    assert await hospital.materialized() == {"ward:b ADJACENT_TO ward:a", "ward:a HAS_BED bed:1"}
    assert await hospital.inferred("guest", "ward:b", "ADJACENT_TO") == {"a"}
    assert await hospital.inferred("guest", "ward:a", "HAS_BED") == set()
    [bed] = [one for one in await hospital.beside("all", "ward:a") if one.type == "HAS_BED"]
    assert bed.confidence == 0.5
    # An inferred end is nobody's claim: it does not make an asserted one too many.
    await hospital.write(
        entity("bed:2"), RelationshipClaim("ward:b", "HAS_BED", "bed:2", "test"), scope="more"
    )
    await hospital.follow()
    await hospital.write(RelationshipClaim("bed:2", "STANDS_IN", "ward:a", "test"), scope="yet more")


async def test_a_conclusion_that_a_source_asserts_is_its_claim_and_returns_when_that_goes(
    hospital: Hospital,
) -> None:
    units = (
        unit("team"),
        unit("middle"),
        unit("board"),
        unit_of("team", "middle"),
        unit_of("middle", "board"),
    )
    claimed = RelationshipClaim("organizational_unit:team", "PART_OF", "organizational_unit:board", "test")
    await hospital.write(*units)
    await hospital.follow()
    for claims, inferred in (([claimed], {"middle"}), ([], {"middle", "board"})):
        await hospital.write(*claims, scope="more")
        await hospital.follow()
        assert await hospital.inferred("guest", "team") == inferred
        [found] = [
            one
            for one in await hospital.beside("guest", "organizational_unit:team")
            if one.type == "PART_OF" and one.entity.id.endswith("board")
        ]
        assert bool(found.sources) is bool(claims)


async def test_a_start_mends_whatever_was_left_half_done_and_takes_no_revision(hospital: Hospital) -> None:
    await hospital.write(unit("a"), unit("b"), unit("c"), unit_of("a", "b"), unit_of("b", "c"))
    await hospital.follow()
    whole, revision = await hospital.materialized(), await current_revision(hospital.database)
    assert len(whole) == 3

    async def spoil(tx) -> None:
        await tx.run("MATCH (a {id: 'organizational_unit:a'})-[r:PART_OF]->() DELETE r")
        await tx.run(
            """MATCH (a {id: 'organizational_unit:a'}), (c {id: 'organizational_unit:c'})
               CREATE (c)-[:PART_OF {inferred: true, derivations: ['organizational_unit:c UNIT_OF x:y'],
                                     confidence: 1.0, since: 1}]->(a)"""
        )

    await hospital.database.write_transaction(spoil)
    assert await hospital.inferred("all", "c") == set()  # its derivation does not stand
    following = asyncio.create_task(keep_inferred(hospital.database, ONTOLOGY))
    async with asyncio.timeout(30):
        while await hospital.materialized() != whole:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await hospital.write(unit("d"), unit_of("c", "d"), scope="more")
        while len(await hospital.materialized()) < 6:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    assert await position(hospital.database, CONSUMER) >= revision


async def test_each_sees_what_follows_from_what_they_see(hospital: Hospital) -> None:
    chance = random.Random(8)  # noqa: S311
    keys = [str(number) for number in range(10)]
    placed = {key: chance.choice(COLLECTIONS) for key in keys}
    # Each only within earlier ones: the gate refuses cycles.
    claims = {(a, b): unit_of(a, b) for a in keys[1:] for b in [chance.choice(keys[: int(a)])]}
    parts = {tuple(sorted(chance.sample(keys, 2), reverse=True)) for _ in range(6)}
    extra = [
        RelationshipClaim(f"organizational_unit:{a}", "PART_OF", f"organizational_unit:{b}", "test")
        for a, b in parts
    ]
    await hospital.write(*(unit(key, placed[key]) for key in keys), *claims.values(), *extra)
    await hospital.follow()
    for login, seen in PEOPLE.items():
        visible = {f"organizational_unit:{key}" for key in keys if placed[key] in ("open", *seen)}
        closure = Closure(compile_rules(ONTOLOGY))
        closure.change(
            Link(one.start, one.type, one.end)
            for one in (*claims.values(), *extra)
            if {one.start, one.end} <= visible
        )
        expected = {(link.start, link.end) for link in closure.inferred}
        found = {
            (id, f"organizational_unit:{end}") for id in visible for end in await hospital.inferred(login, id)
        }
        assert found == expected


async def test_what_followed_then_is_told_of_the_past_as_it_was_told_then(hospital: Hospital) -> None:
    """At each revision and of each asker: chains that grow, break, move out of sight and go, facts that are
    as sure as their premises, types that are symmetric or turned round."""
    wards = [entity(f"ward:{key}", wardCode=code) for key, code in (("a", "A01"), ("b", "B01"))]
    bed = entity("bed:1", "north")
    stands = RelationshipClaim("bed:1", "STANDS_IN", "ward:a", "test", confidence=0.5)
    units = [unit(key) for key in ("team", "middle", "board", "group")]
    chain = [unit_of("team", "middle"), unit_of("middle", "board"), unit_of("board", "group")]
    part_of = RelationshipClaim(
        "organizational_unit:team", "PART_OF", "organizational_unit:group", "test", confidence=0.25
    )
    steps: list[list[Claim]] = [
        [*units, *chain[:2]],
        [*units, *chain, *wards, bed, stands, RelationshipClaim("ward:a", "ADJACENT_TO", "ward:b", "test")],
        [*units, *chain[::2], part_of, *wards, bed],
        [units[0], unit("middle", "north"), *units[2:], *chain],
        [*units, *chain],
        units,
    ]
    ids = [one.id for one in (*units, *wards, bed)]
    told: dict[int, dict[tuple[str, str], Any]] = {}

    async def inferred(when: When = PRESENT) -> dict[tuple[str, str], Any]:
        return {
            (login, id): [
                (one.type, one.outgoing, one.entity.id, one.confidence, one.derivations)
                for one in await hospital.beside(login, id, when)
                if one.derivations
            ]
            for login in PEOPLE
            for id in ids
        }

    for claims in steps:
        await hospital.write(*claims)
        await hospital.follow()
        told[await current_revision(hospital.database)] = await inferred()
    assert all(any(of.values()) for of in list(told.values())[:-1])
    for revision, expected in told.items():
        assert await inferred(When(revision)) == expected, revision
    [found] = [
        one
        for one in await hospital.beside("guest", "organizational_unit:board", When(list(told)[1]))
        if one.derivations and one.outgoing
    ]
    assert (found.entity.id, found.since) == ("organizational_unit:group", list(told)[1])

"""What is granted, denied or disabled by hand: apart from all crawls, and never lost towards more access."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from graph.access_entries import AccessEntry, Kind, entries
from graph.administration import POLICY, Administration, claim_of
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.epoch import begin_epoch
from graph.journal import Journal, JournalError
from graph.reads import Asker, Reader
from graph.store import FactStore
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes

CONFIGURATION = SourcePolicy(
    "configuration",
    frozenset(t for t, r in load().relationships.items() if r.access_bearing),
    frozenset({"collection:all", "collection:hr"}),
    100,
    timedelta(hours=24),
)
BY = "account:acme/root"


@dataclass(frozen=True)
class Organization:
    """Ada and Bob, in a graph with what all and what only human resources may see."""

    store: FactStore
    folder: Path

    @property
    def by_hand(self) -> Administration:
        return Administration(self.store, Journal(self.folder / "administration.jsonl"))

    async def crawl(self, *more: Claim) -> None:
        claims: list[Claim] = [
            EntityClaim("organization:acme", "Organization", "collection:all", {"name": "Acme"}, ""),
            EntityClaim("group:hr", "Group", "collection:all", {"name": "HR"}, ""),
            EntityClaim("document:pay", "Document", "collection:hr", {"name": "Pay"}, ""),
            *(
                EntityClaim(f"collection:{c}", "Collection", f"collection:{c}", {"name": c}, "")
                for c in ("all", "hr")
            ),
        ]
        for name in ("ada", "bob"):
            account = {"name": name, "issuer": "acme", "subject": name}
            claims += [
                EntityClaim(f"person:{name}", "Person", "collection:all", {"name": name}, ""),
                EntityClaim(f"account:acme/{name}", "Account", "collection:all", account, ""),
                RelationshipClaim(f"person:{name}", "HAS_ACCOUNT", f"account:acme/{name}", ""),
                RelationshipClaim(f"person:{name}", "MEMBER_OF", "group:hr", "")
                if name == "bob"
                else RelationshipClaim(f"person:{name}", "MAY_VIEW", "collection:all", ""),
            ]
        async with self.store.crawl(CONFIGURATION, "all") as crawl:
            report = await crawl.write([*claims, *more])
            assert report.quarantined == ()
            await crawl.complete()

    async def sees(self, name: str) -> bool:
        """Whether the pay is visible."""
        policies = (CONFIGURATION, POLICY)
        reader = Reader(
            self.store.database,
            load(),
            Authorizer(self.store.database, load(), load_authorization(), policies),
        )
        found, _revision = await reader.run(
            Asker(f"account:acme/{name}"), lambda view: view.entity("document:pay")
        )
        return found is not None

    async def standing(self) -> list[str]:
        now = datetime.now(UTC)
        return [one.id for one in await entries(self.store.database) if one.state(now) == "standing"]


@pytest.fixture
async def acme(neo4j: Database, tmp_path: Path) -> Organization:
    organization = Organization(FactStore(neo4j, load_shapes(), load_authorization()), tmp_path)
    await organization.crawl()
    await organization.by_hand.reconcile(restored=False)
    return organization


def entry(id: str, kind: Kind = "grant", subject: str = "person:ada", **more: object) -> AccessEntry:
    object = "account:acme/ada" if kind == "disabling" else "collection:hr"
    start = "organization:acme" if kind == "disabling" else subject
    return replace(AccessEntry(id, kind, start, object, "audit of May", BY, datetime.now(UTC)), **more)


GRANTED_TO_HR = RelationshipClaim("group:hr", "MAY_VIEW", "collection:hr", "")


async def test_a_grant_is_in_force_at_once_and_no_crawl_takes_it_back(acme: Organization) -> None:
    assert not await acme.sees("ada")
    await acme.by_hand.decide(entry("1"))
    assert await acme.sees("ada")
    await acme.crawl()
    assert await acme.sees("ada")
    assert not await acme.sees("bob")


async def test_taking_one_back_takes_nothing_else(acme: Organization) -> None:
    """Two grants of the same view to the same person, one of another, and what a source says."""
    first, second, third = entry("1"), entry("2"), entry("3", subject="group:hr")
    for one in (first, second, third):
        await acme.by_hand.decide(one)
    await acme.by_hand.end([first], BY, "done")
    assert await acme.sees("ada")
    await acme.by_hand.end([second], BY, "done")
    assert not await acme.sees("ada")
    assert await acme.sees("bob")
    await acme.crawl(GRANTED_TO_HR)
    await acme.by_hand.end([third], BY, "done")
    assert await acme.sees("bob"), "the source says it too"


async def test_of_two_grants_with_an_end_the_later_end_holds(acme: Organization) -> None:
    now = datetime.now(UTC)
    await acme.by_hand.decide(entry("1", until=now + timedelta(hours=2)))
    await acme.by_hand.decide(entry("2", until=now + timedelta(hours=1)))
    [record] = await acme.store.database.read("MATCH ()-[r:GRANTED_VIEW]->() RETURN r.validTo AS until")
    assert record["until"].to_native() == now + timedelta(hours=2)


def test_the_evidence_of_the_claim_says_who_decided_and_why() -> None:
    claim = claim_of([entry("1"), entry("2", by="account:acme/other", reason="on call")])
    assert claim.evidence == (
        "grant 1 by account:acme/root: audit of May; grant 2 by account:acme/other: on call"
    )


async def test_a_grant_ends_by_itself(acme: Organization) -> None:
    await acme.by_hand.decide(entry("1", until=datetime.now(UTC) - timedelta(seconds=1)))
    assert not await acme.sees("ada")
    assert await acme.standing() == []


async def test_a_denial_beats_every_grant_and_no_crawl_lifts_it(acme: Organization) -> None:
    grant = RelationshipClaim("person:ada", "MAY_VIEW", "collection:hr", "")
    await acme.crawl(grant)
    await acme.by_hand.decide(entry("1"))
    denial = entry("2", "denial")
    await acme.by_hand.decide(denial)
    assert not await acme.sees("ada")
    await acme.crawl(grant)
    assert not await acme.sees("ada")
    await acme.by_hand.end([denial], BY, "cleared")
    assert await acme.sees("ada")


async def test_a_denial_of_a_group_reaches_its_members(acme: Organization) -> None:
    await acme.crawl(GRANTED_TO_HR)
    assert await acme.sees("bob")
    await acme.by_hand.decide(entry("1", "denial", "group:hr"))
    assert not await acme.sees("bob")


async def test_an_account_disabled_by_hand_sees_nothing_whatever_its_source_says(acme: Organization) -> None:
    await acme.by_hand.decide(entry("1"))
    disabling = entry("2", "disabling")
    await acme.by_hand.decide(disabling)
    assert not await acme.sees("ada")
    await acme.crawl()
    assert not await acme.sees("ada")
    await acme.by_hand.end([disabling], BY, "back")
    assert await acme.sees("ada")


async def test_decisions_at_once_are_all_in_force(acme: Organization) -> None:
    """Two services, each with a journal of its own."""
    here, there = acme.by_hand, Administration(acme.store, Journal(acme.folder / "there.jsonl"))
    subjects = ("person:ada", "group:hr", "person:bob")
    made = [entry(str(n), subject=subject) for n, subject in enumerate(subjects)]
    await asyncio.gather(here.decide(made[0]), there.decide(made[1]), here.decide(made[2]))
    assert await acme.sees("ada")
    assert await acme.sees("bob")
    await asyncio.gather(there.end([made[0]], BY, "done"), here.end([made[1], made[2]], BY, "done"))
    assert not await acme.sees("ada")
    assert not await acme.sees("bob")


async def test_what_waits_for_a_second_person_gives_nothing(acme: Organization) -> None:
    waiting = entry("1", second=True)
    await acme.by_hand.decide(waiting)
    assert not await acme.sees("ada")
    await acme.by_hand.reconcile(restored=False)
    assert not await acme.sees("ada")
    confirmed = await acme.by_hand.confirm(waiting, "account:acme/second")
    assert confirmed is not None
    assert confirmed.confirmed_by == "account:acme/second"
    assert await acme.sees("ada")


async def test_what_was_taken_back_cannot_be_confirmed(acme: Organization) -> None:
    waiting = entry("1", second=True)
    await acme.by_hand.decide(waiting)
    await acme.by_hand.end([waiting], BY, "no")
    assert await acme.by_hand.confirm(waiting, "account:acme/second") is None
    assert not await acme.sees("ada")


async def test_a_restored_database_has_the_denials_and_not_what_was_taken_back(acme: Organization) -> None:
    """The database is set back to where two grants stood; the journal lies beside it."""
    kept, revoked = entry("1"), entry("2", subject="group:hr")
    await acme.by_hand.decide(kept)
    await acme.by_hand.decide(revoked)
    denial = entry("3", "denial", "person:bob")
    await acme.by_hand.end([revoked], BY, "left the team")
    await acme.by_hand.decide(denial)
    await _set_back(acme, [kept, revoked])
    await begin_epoch(acme.store.database, 0)
    await acme.crawl()
    assert not await acme.sees("ada"), "suspended until the journal has spoken"
    await acme.by_hand.reconcile(restored=True)
    assert await acme.standing() == ["1", "3"]
    assert await acme.sees("ada")
    await acme.crawl(RelationshipClaim("person:bob", "MAY_VIEW", "collection:hr", ""))
    assert not await acme.sees("bob")


async def test_without_a_journal_that_is_newer_grants_stay_suspended_until_vouched_for(
    acme: Organization,
) -> None:
    await acme.by_hand.decide(entry("1"))
    await begin_epoch(acme.store.database, 0)
    await acme.crawl()
    await acme.by_hand.reconcile(restored=False)
    assert not await acme.sees("ada")
    assert await acme.by_hand.suspended()
    await acme.by_hand.vouch()
    assert await acme.sees("ada")


async def test_a_denial_that_is_suspended_still_denies(acme: Organization) -> None:
    await acme.by_hand.decide(entry("1", "denial"))
    await begin_epoch(acme.store.database, 0)
    await acme.crawl(RelationshipClaim("person:ada", "MAY_VIEW", "collection:hr", ""))
    assert not await acme.sees("ada")


async def test_a_kill_between_the_journal_and_the_commit_ends_with_less_access(acme: Organization) -> None:
    """Denied and revoked in the journal, in the database not yet; then the next start."""
    granted = entry("1", subject="group:hr")
    await acme.by_hand.decide(granted)
    journal = Journal(acme.folder / "administration.jsonl")
    journal.append({"event": "restricted", "entry": entry("2", "denial").to_json()})
    ended = replace(granted, ended_by=BY, ended_at=datetime.now(UTC), ended_reason="left")
    journal.append({"event": "taken back", "entry": ended.to_json()})
    assert await acme.sees("bob")
    await acme.by_hand.reconcile(restored=False)
    assert not await acme.sees("bob")
    await acme.crawl(RelationshipClaim("person:ada", "MAY_VIEW", "collection:hr", ""))
    assert not await acme.sees("ada")


async def test_a_start_that_finds_all_in_order_writes_nothing(acme: Organization) -> None:
    await acme.by_hand.decide(entry("1"))
    [before] = await acme.store.database.read("MATCH (m:_Meta) RETURN m.revision AS revision")
    await acme.by_hand.reconcile(restored=False)
    [after] = await acme.store.database.read("MATCH (m:_Meta) RETURN m.revision AS revision")
    assert before["revision"] == after["revision"]


async def test_a_decision_that_cannot_be_journalled_is_not_made(acme: Organization) -> None:
    await acme.by_hand.decide(entry("1"))
    _fill_the_disk(acme.folder)
    with pytest.raises(JournalError, match="cannot be written"):
        await acme.by_hand.decide(entry("2", "denial"))
    assert await acme.standing() == ["1"]
    assert await acme.sees("ada")


def _fill_the_disk(folder: Path) -> None:
    full, journal = Path("/dev/full"), folder / "administration.jsonl"
    if not full.exists():
        pytest.skip("needs /dev/full, which Linux has")
    journal.unlink()
    journal.symlink_to(full)


async def _set_back(acme: Organization, to: list[AccessEntry]) -> None:
    """The decisions by hand as a backup has them that was made when only these had been made."""
    decided = [one.id for one in to]

    async def work(tx):
        await tx.run("MATCH (e:_AccessEntry) WHERE NOT e.id IN $ids DELETE e", ids=decided)
        await tx.run("MATCH (e:_AccessEntry) REMOVE e.ended_at, e.ended_by, e.ended_reason")

    await acme.store.database.write_transaction(work)
    lost = Journal(acme.folder / "lost.jsonl")
    await Administration(acme.store, lost).reconcile(restored=False)

"""Who may decide which entities are one; what is proposed, what keys decide, and what is on record."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from context_manager import access_questions as questions
from context_manager import administration
from context_manager import identity_review as review
from context_manager.access_desk import AccessRefused
from context_manager.audit import AuditError
from context_manager.identity_proposals import compare_all, compare_changed
from discovery.resolution import Resolver
from graph.claims import Claim, EntityClaim, RelationshipClaim
from graph.database import Database
from graph.joined import joined_entity
from graph.merges import KEY, MergeError, decisions
from graph.reads import Asker
from ontologies import load
from tests.context_manager.test_administration import ADA, BOARD, HANA, HR, LENA, ROOT, TOM, WHY, Acme
from tests.graph.identity_world import CODE, CONFIGURATION

ALL = "collection:all"


class Reviewed(Acme):
    """With a second source that knows some of the people, and the follower that compares them."""

    async def begin(self) -> None:
        await self.crawl()
        await self.desk.administration.reconcile(restored=False)
        self.resolver = Resolver(load())
        await self.code(person("h", "hana", HR), person("t", "tom", ALL), person("l", "lena", HR))
        self.reached = await compare_all(self.resolver, self.desk.database, self.desk.merges, self.desk.audit)

    async def code(self, *claims: Claim) -> None:
        async with self.store.crawl(CODE, "all") as crawl:
            report = await crawl.write(claims)
            assert report.quarantined == ()
            await crawl.complete()

    async def follow(self) -> None:
        while True:
            before = self.reached
            self.reached = await compare_changed(
                self.resolver, self.desk.database, self.desk.merges, self.desk.audit, before
            )
            if self.reached == before:
                return

    async def proposed(self, asker: Asker) -> list[tuple[str, str]]:
        found = await review.proposals(self.desk, asker, 50)
        return [(one.one.id, one.other.id) for one in found]

    def on_record(self) -> list[str]:
        """What was done, by people and by keys."""
        return [one["action"] for one in self.audit() if one["kind"] in {"administration", "identity"}]


def person(key: str, name: str, collection: str, **values: str) -> EntityClaim:
    said = {"name": f"{name.title()} Quill", **values}
    return EntityClaim(f"person:code.{key}", "Person", collection, said, f"{key}.toml")


@pytest.fixture
async def acme(neo4j: Database, tmp_path: Path) -> Reviewed:
    made = Reviewed(neo4j, tmp_path)
    await made.begin()
    named = [
        EntityClaim(f"person:{name}", "Person", ALL, {"name": f"{name.title()} Quill"}, "")
        for name in ("hana", "tom", "lena")
    ]
    async with made.store.crawl(CONFIGURATION, "names") as crawl:
        await crawl.write(named)
    await made.follow()
    return made


async def test_proposals_are_told_to_who_sees_both(acme: Reviewed) -> None:
    both = [("person:code.h", "person:hana"), ("person:code.l", "person:lena")]
    everybody = ("person:code.t", "person:tom")
    assert set(await acme.proposed(HANA)) == {*both, everybody}
    assert await acme.proposed(ADA) == [everybody]
    assert await review.proposals(acme.desk, HANA, 50, "person:nobody") == []


async def test_a_merge_is_decided_by_who_may_and_sees_both(acme: Reviewed) -> None:
    """Hana sees both, and may grant HR alone; the administrator may everywhere, as far as they see."""
    cases = [
        (ADA, "person:tom", "person:code.t"),
        (HANA, "person:hana", "person:code.h"),
        (ADA, "person:hana", "person:code.h"),
        (ADA, "person:hana", "person:nobody"),
        (ROOT, "person:hana", "person:nobody"),
        (ROOT, "person:hana", "person:code.h"),
    ]
    messages = set()
    for asker, kept, other in cases:
        with pytest.raises(AccessRefused) as refused:
            await review.merge(acme.desk, asker, kept, other, WHY)
        messages.add(str(refused.value))
    assert len(messages) == 1, "denied, invisible and absent look alike"
    assert await decisions(acme.desk.database) == []
    made = await review.merge(acme.desk, ROOT, "person:tom", "person:code.t", WHY)
    assert (made.kind, made.by, len(made.digests)) == ("merge", ROOT.account, 1)
    assert acme.on_record() == ["merge"]
    told = await review.decided(acme.desk, ADA, 50)
    assert [(one.kept, one.other) for one in told] == [("person:tom", "person:code.t")]
    assert ("person:code.t", "person:tom") not in await acme.proposed(ADA)


async def test_what_a_merge_would_change_is_shown_first_and_is_nobody_s_access(acme: Reviewed) -> None:
    """As the preview tells it, it is told once it is merged; who sees one of the two alone is told nothing."""
    await acme.code(person("t", "tom", ALL, pronouns="they"), person("h", "hana", HR, pronouns="she"))
    await acme.follow()
    everybody = (ADA, HANA, LENA, ROOT, TOM)
    before = [await _seen(acme, asker.account) for asker in everybody]
    pair = "person:tom", "person:code.t"
    shown = await review.preview(acme.desk, ROOT, *pair)
    assert shown.told == [asker.account for asker in everybody]
    assert shown.together.values["pronouns"] == "they"
    assert (await decisions(acme.desk.database), acme.on_record()) == ([], [])
    await review.merge(acme.desk, ROOT, *pair, WHY)
    told, _revision = await acme.desk.reader.run(TOM, lambda view: joined_entity(view, "person:tom"))
    assert told == shown.together
    assert [await _seen(acme, asker.account) for asker in everybody] == before
    with pytest.raises(MergeError, match="merged already"):
        await review.preview(acme.desk, ROOT, *pair)
    await acme.code(person("h", "hana", HR), person("l", "lena", HR))
    of_hr = await review.preview(acme.desk, HANA, "person:code.h", "person:code.l")
    assert of_hr.told == [HANA.account]
    for asker, kept, other in (
        (ADA, *pair),
        (LENA, "person:code.h", "person:code.l"),
        (ROOT, "person:code.h", "person:code.l"),
        (ROOT, "person:tom", "person:nobody"),
    ):
        with pytest.raises(AccessRefused, match="nothing of that name here, or it is not yours"):
            await review.preview(acme.desk, asker, kept, other)


async def test_an_owner_of_the_collections_of_both_decides_as_far_as_they_see(acme: Reviewed) -> None:
    """Lena may grant HR and does not see it."""
    pair = "person:code.h", "person:code.l"
    with pytest.raises(AccessRefused):
        await review.merge(acme.desk, LENA, *pair, WHY)
    made = await review.merge(acme.desk, HANA, *pair, WHY)
    assert await review.decided(acme.desk, LENA, 50) == []
    with pytest.raises(AccessRefused):
        await review.undo(acme.desk, LENA, made.id, WHY)
    assert (await review.undo(acme.desk, HANA, made.id, WHY)).ended_by == HANA.account


async def test_decisions_are_told_page_by_page_of_those_that_the_asker_sees(acme: Reviewed) -> None:
    """Between two that all see is one that Ada does not see: her page is as full without it."""
    seen = "person:tom", "person:code.t"
    made = [await review.merge(acme.desk, ROOT, *seen, WHY)]
    hidden = await review.merge(acme.desk, HANA, "person:code.h", "person:code.l", WHY)
    await review.undo(acme.desk, ROOT, made[0].id, WHY)
    made.append(await review.merge(acme.desk, ROOT, *seen, WHY))
    ids = [one.id for one in made]

    async def page(asker: Asker, first: int, after: str | None = None) -> list[str]:
        return [one.id for one in await review.decided(acme.desk, asker, first, after)]

    assert await page(ADA, 2) == ids
    assert [await page(ADA, 1), await page(ADA, 1, ids[0]), await page(ADA, 1, ids[1])] == [
        *[[i] for i in ids],
        [],
    ]
    assert await page(HANA, 2, ids[0]) == [hidden.id, ids[1]]
    told = set()
    for after in (hidden.id, "nothing"):
        with pytest.raises(MergeError) as refused:
            await page(ADA, 2, after)
        told.add(str(refused.value).replace(after, ""))
    assert len(told) == 1, "hidden and absent look alike"


async def test_what_cannot_be_put_on_record_is_not_done(acme: Reviewed) -> None:
    acme.desk.audit.close()
    with pytest.raises(AuditError):
        await review.merge(acme.desk, ROOT, "person:tom", "person:code.t", WHY)
    assert await decisions(acme.desk.database) == []


async def test_what_makes_no_sense_is_said(acme: Reviewed) -> None:
    await review.merge(acme.desk, ROOT, "person:tom", "person:code.t", WHY)
    for kept, other, message in (
        ("person:tom", "person:tom", "same as itself"),
        ("person:tom", "group:hr", "never one"),
        ("person:code.t", "person:tom", "merged already"),
        ("person:ada", "person:code.t", "merged into person:tom already"),
    ):
        with pytest.raises(MergeError, match=message):
            await review.merge(acme.desk, ROOT, kept, other, WHY)
    with pytest.raises(AccessRefused, match="reason"):
        await review.merge(acme.desk, ROOT, "person:tom", "person:ada", " ")


async def test_what_was_rejected_or_undone_stays_so_until_its_evidence_changes(acme: Reviewed) -> None:
    pair = ("person:code.t", "person:tom")
    await review.reject(acme.desk, ROOT, *pair, "another Tom")
    assert pair not in await acme.proposed(ROOT)
    await acme.code(person("t", "tom", ALL, pronouns="they"))
    await acme.follow()
    assert pair not in await acme.proposed(ROOT), "nothing that speaks for it has changed"
    await acme.code()
    await acme.follow()
    await acme.code(person("t", "tom", ALL))
    await acme.follow()
    assert pair not in await acme.proposed(ROOT), "gone and come again it is the same"
    await _named(acme, "tom", accountName="tomq")
    await acme.code(person("t", "tom", ALL, accountName="tomq"))
    await acme.follow()
    assert pair in await acme.proposed(ROOT)
    made = await review.merge(acme.desk, ROOT, pair[1], pair[0], WHY)
    ended = await review.undo(acme.desk, ROOT, made.id, "two after all")
    assert ended.ended_reason == "two after all"
    assert pair not in await acme.proposed(ROOT)
    for id in (made.id, "nothing"):
        with pytest.raises(AccessRefused):
            await review.undo(acme.desk, ROOT, id, WHY)
    with pytest.raises(AccessRefused):
        await review.reject(acme.desk, ROOT, "person:tom", "person:ada", "was never proposed")
    assert acme.on_record() == ["reject", "merge", "undo merge"]


async def test_a_key_decides_while_it_is_shared(acme: Reviewed) -> None:
    """The directory says that an account is of two: they are one, and are two again when it does not."""
    account = RelationshipClaim("person:ada", "HAS_ACCOUNT", "account:acme/tom", "")
    async with acme.store.crawl(CONFIGURATION, "keys") as crawl:
        await crawl.write([account])
        await crawl.complete()
    await acme.follow()
    [made] = await decisions(acme.desk.database, standing=True)
    assert (made.kept, made.other, made.by) == ("person:ada", "person:tom", KEY)
    assert acme.on_record() == ["merge"]
    async with acme.store.crawl(CONFIGURATION, "keys") as crawl:
        await crawl.complete()
    await acme.follow()
    assert await decisions(acme.desk.database, standing=True) == []
    assert acme.on_record() == ["merge", "undo merge"]


async def test_what_a_person_undid_a_key_does_not_decide_again(acme: Reviewed) -> None:
    async with acme.store.crawl(CONFIGURATION, "keys") as crawl:
        await crawl.write([RelationshipClaim("person:ada", "HAS_ACCOUNT", "account:acme/tom", "")])
        await crawl.complete()
    await acme.follow()
    [made] = await decisions(acme.desk.database, standing=True)
    await review.undo(acme.desk, ROOT, made.id, "the directory is wrong")
    await acme.follow()
    await compare_all(acme.resolver, acme.desk.database, acme.desk.merges, acme.desk.audit)
    assert await decisions(acme.desk.database, standing=True) == []


async def test_who_is_one_is_no_second_person(acme: Reviewed) -> None:
    """What takes two is not confirmed by the second account of who decided it, as long as they are one."""
    entry = await administration.grant(acme.desk, HANA, "person:ada", BOARD, WHY, None)
    made = await review.merge(acme.desk, ROOT, "person:hana", "person:tom", WHY)
    with pytest.raises(AccessRefused):
        await administration.confirm(acme.desk, TOM, entry.id)
    await review.undo(acme.desk, ROOT, made.id, "two after all")
    confirmed = await administration.confirm(acme.desk, TOM, entry.id)
    assert confirmed.state(datetime.now(UTC)) == "standing"


async def test_an_account_is_linked_by_review_with_the_difference_shown(acme: Reviewed) -> None:
    """Nobody gains before it is confirmed; it is taken back like a grant."""
    spare = EntityClaim(
        "account:acme/spare", "Account", ALL, {"name": "spare", "issuer": "acme", "subject": "spare"}, ""
    )
    async with acme.store.crawl(CONFIGURATION, "accounts") as crawl:
        await crawl.write([spare])
        await crawl.complete()
    desk = acme.desk
    for asker in (ADA, HANA):
        with pytest.raises(AccessRefused):
            await administration.link(desk, asker, "person:hana", spare.id, WHY, None)
    with pytest.raises(AccessRefused, match="has a person already"):
        await administration.link(desk, ROOT, "person:hana", "account:acme/ada", WHY, None)
    [effect] = await questions.preview_link(desk, ROOT, "person:hana", spare.id)
    assert (effect.account, effect.losses) == (spare.id, 0)
    assert effect.gains >= 6
    before = await _seen(acme, spare.id)
    entry = await administration.link(desk, ROOT, "person:hana", spare.id, WHY, None)
    assert entry.state(datetime.now(UTC)) == "pending"
    assert await _seen(acme, spare.id) == before == frozenset()
    with pytest.raises(AccessRefused):
        await administration.confirm(desk, ADA, entry.id)
    with pytest.raises(AccessRefused):
        await administration.confirm(desk, ROOT, entry.id)  # the board takes two
    with pytest.raises(AccessRefused):
        await administration.confirm(desk, HANA, entry.id)  # her own
    await administration.take_back(desk, ROOT, entry.id, "not hers")
    lena = await administration.link(desk, ROOT, "person:lena", spare.id, WHY, None)
    await administration.confirm(desk, ROOT, lena.id)  # what all see takes one
    assert "person:tom" in await _seen(acme, spare.id)
    await administration.take_back(desk, ROOT, lena.id, "done")
    assert await _seen(acme, spare.id) == frozenset()


async def _seen(acme: Reviewed, account: str) -> frozenset[str]:
    return await acme.desk.seen(Asker(account), ["person:tom", "document:hr-0", "document:board-0"])


async def _named(acme: Reviewed, name: str, **values: str) -> None:
    claim = EntityClaim(f"person:{name}", "Person", ALL, {"name": f"{name.title()} Quill", **values}, "")
    async with acme.store.crawl(CONFIGURATION, "names") as crawl:
        await crawl.write([claim])

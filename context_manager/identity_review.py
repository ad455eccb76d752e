"""Who may decide which entities are one, and what waits to be decided; on record before it takes effect.

Only of entities that the asker sees, both; it is for the administrator, and for who may grant access to the
collections of both. A refusal says the same of what there is not and of what is not theirs.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from context_manager import access_questions as questions
from context_manager.access_desk import AccessDesk, check_reason
from graph.joined import clusters, join, members
from graph.merges import (
    Decision,
    MergeError,
    check_merge,
    check_pair,
    decision_with,
    decisions,
    standing_around,
)
from graph.proposals import Proposal, proposal_of
from graph.reads import Asker, EntityView, View


@dataclass(frozen=True, slots=True)
class Proposed:
    """A proposal, with the two as the asker sees them."""

    proposal: Proposal
    one: EntityView
    other: EntityView


@dataclass(frozen=True, slots=True)
class MergePreview:
    """What a merge would change: what is told, and nobody's access (`ontologies.check` sees to that)."""

    together: EntityView
    """What the asker would be told of both, under the id of the one that is kept."""
    told: Sequence[str]
    """The accounts that would be told so, since they see both; those of them that the asker sees."""


async def merge(desk: AccessDesk, asker: Asker, kept: str, other: str, reason: str) -> Decision:
    """Let two entities of one class be one; `kept` leads. Nobody sees more for it, so it waits for nobody.

    This and all that follow raise AccessRefused, MergeError, AuditError and DecisionError.
    """
    check_reason(reason)
    check_pair(kept, other)
    await _check_may_decide(desk, asker, "merge", kept, other)
    async with desk.merges.turn:
        await _check_merge(desk, asker, kept, other)
        decision = replace(await _decision(desk, asker, kept, other, reason), kind="merge")
        await desk.carry_out(asker, "merge", _details(decision), lambda: desk.merges.decide(decision))
    return decision


async def preview(desk: AccessDesk, asker: Asker, kept: str, other: str) -> MergePreview:
    """What a merge would change, which it is not: for who may decide it."""
    check_pair(kept, other)
    await _check_may_decide(desk, asker, "preview merge", kept, other)
    await _check_merge(desk, asker, kept, other)

    async def work(view: View) -> EntityView | None:
        merges = [*await view.merges([kept, other]), (other, kept)]
        cluster = [await view.entity(id) for id in clusters([kept], merges)[kept]]
        return None if None in cluster else join(kept, [one for one in cluster if one is not None])

    together, _revision = await desk.reader.run(asker, work)
    if together is None:
        raise await desk.refused(asker, "preview merge", kept, other)
    return MergePreview(together, await questions.told_as_one(desk, asker, kept, other))


async def reject(desk: AccessDesk, asker: Asker, one: str, other: str, reason: str) -> Decision:
    """Say that two that were proposed are not one. It is not proposed again on the same evidence."""
    check_reason(reason)
    check_pair(one, other)
    await _check_may_decide(desk, asker, "reject", one, other)
    if await proposal_of(desk.database, one, other) is None:
        raise await desk.refused(asker, "reject", one, other)
    decision = await _decision(desk, asker, one, other, reason)
    await desk.carry_out(asker, "reject", _details(decision), lambda: desk.merges.decide(decision))
    return decision


async def undo(desk: AccessDesk, asker: Asker, id: str, reason: str) -> Decision:
    """Take a merge back: everything is as it was before. It is not proposed again on the same evidence."""
    check_reason(reason)
    found = await decision_with(desk.database, id)
    if found is None or not found.merges:
        raise await desk.refused(asker, "undo merge", id)
    await _check_may_decide(desk, asker, "undo merge", found.kept, found.other)
    proposal = await proposal_of(desk.database, found.kept, found.other)
    digests = [] if proposal is None else [proposal.digest]
    ended = await desk.carry_out(
        asker,
        "undo merge",
        {**_details(found), "reason": reason},
        lambda: desk.merges.undo(id, asker.account, reason, digests),
    )
    if ended is None:
        raise await desk.refused(asker, "undo merge", id)
    return ended


async def proposals(desk: AccessDesk, asker: Asker, first: int, about: str | None = None) -> list[Proposed]:
    """The best ones that wait for a decision, of pairs that the asker sees and that are not one to them."""

    async def work(view: View) -> list[Proposed]:
        found: list[Proposed] = []
        page = await view.proposals(first, None, about)
        while page and len(found) < first:
            of = await members(view, {id for one in page for id in (one.one, one.other)})
            for one in page:
                if one.other not in of[one.one]:
                    pair = [await view.entity(one.one), await view.entity(one.other)]
                    seen = [entity for entity in pair if entity is not None]
                    found += [Proposed(one, *seen)] if len(seen) == len(pair) else []
            page = await view.proposals(first, page[-1], about)
        return found[:first]

    read, _revision = await desk.reader.run(asker, work)
    return read


async def decided(
    desk: AccessDesk, asker: Asker, first: int, after: str | None = None, about: str | None = None
) -> Sequence[Decision]:
    """What was decided of entities that the asker sees, both: so many, oldest first, after that decision.

    Raises MergeError where `after` is none of them.
    """
    last = None
    if after is not None:
        last = await decision_with(desk.database, after)
        if last is None or not {last.kept, last.other} <= await desk.seen(asker, [last.kept, last.other]):
            raise MergeError(f"there is no decision {after} to go on after: begin with the first page")
    of, found = None if about is None else [about], list[Decision]()
    while len(found) < first and (page := await decisions(desk.database, of, after=last, limit=first)):
        seen = await desk.seen(asker, [id for one in page for id in (one.kept, one.other)])
        found += [one for one in page if {one.kept, one.other} <= seen]
        last = page[-1]
    return found[:first]


async def _check_may_decide(desk: AccessDesk, asker: Asker, action: str, one: str, other: str) -> None:
    rights = await desk.rights(asker)
    seen = await desk.seen(asker, [one, other])
    if {one, other} <= seen:
        records = await desk.database.read(
            "UNWIND $ids AS id MATCH (:Entity {id: id})-[:IN_COLLECTION]->(c) RETURN DISTINCT c.id AS id",
            ids=[one, other],
        )
        places = [record["id"] for record in records]
        if rights.administrator or (places and all(map(rights.may_take, places))):
            return
    raise await desk.refused(asker, action, one, other)


async def _check_merge(desk: AccessDesk, asker: Asker, kept: str, other: str) -> None:
    """Raises MergeError as `check_merge`, of the merges that the asker sees."""
    known = await standing_around(desk.database, [kept, other])
    seen = await desk.seen(asker, [id for one in known for id in (one.kept, one.other)])
    check_merge([one for one in known if {one.kept, one.other} <= seen], kept, other)


async def _decision(desk: AccessDesk, asker: Asker, kept: str, other: str, reason: str) -> Decision:
    """A rejection, on the evidence as it is."""
    proposal = await proposal_of(desk.database, kept, other)
    return Decision(
        uuid.uuid4().hex,
        "rejection",
        kept,
        other,
        reason,
        asker.account,
        datetime.now(UTC),
        asker.agent,
        () if proposal is None else (proposal.digest,),
    )


def _details(decision: Decision) -> dict[str, str]:
    return {"merge": decision.id, "kept": decision.kept, "other": decision.other, "reason": decision.reason}

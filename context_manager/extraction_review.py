"""What was extracted from texts and samples, for who may decide on it; on record before it takes effect.

It is for the administrator, and for who may grant access to the collection that the text is placed in, as
far as they see it. A refusal says the same of what there is not and of what is not theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from context_manager.access_desk import AccessDesk, Rights, check_reason
from graph.claims import SourcePolicy
from graph.extractions import Chosen, Decision, Extraction, decide, extraction_with, follow, withdraw
from graph.reads import Asker, View

_PAGE = 100


async def told(
    desk: AccessDesk, asker: Asker, chosen: Chosen, first: int, after: str | None = None
) -> Sequence[Extraction]:
    """At most `first` of those chosen that are the asker's to decide, by id; `after`: the last one told."""
    rights = await desk.rights(asker)

    async def work(view: View) -> list[Extraction]:
        found: list[Extraction] = []
        last = after
        while len(found) < first and (page := await view.extractions(chosen, _PAGE, last)):
            found += [one for one in page if _may_decide(rights, one)]
            last = page[-1].id
        return found[:first]

    read, _revision = await desk.reader.run(asker, work)
    return read


async def review(desk: AccessDesk, asker: Asker, id: str, decision: Decision, reason: str) -> Extraction:
    """Accept a proposal or reject it; again is as once, and the last decision counts.

    What is accepted is a fact that a person answers for. What is rejected goes, also where handling rested on
    it, and is not proposed again while what it rests on stays as it is. Raises AccessRefused, AuditError,
    DecisionError, and CrawlBusyError while the source is crawled.
    """
    check_reason(reason)
    found = await extraction_with(desk.database, id)
    policy = None if found is None else next((p for p in desk.policies if p.name == found.source), None)
    if found is None or policy is None or not await _is_theirs(desk, asker, found):
        raise await desk.refused(asker, f"review: {decision}", id)
    if (
        found.decision == decision
        and found.decided_on == found.digest
        and (found.found or decision != "accepted")
    ):
        await _carry_out(desk, policy, found)  # what a killed process left
        return found
    values: Mapping[str, Any] = {
        "decision": decision,
        "reason": reason,
        "by": asker.account,
        "agent": asker.agent,
        "at": datetime.now(UTC),
    }

    async def work() -> Extraction | None:
        decided = await decide(desk.database, id, values)
        if decided is not None:
            await _carry_out(desk, policy, decided)
        return decided

    details = {
        "extraction": id,
        "fact": found.fact,
        "source": found.source,
        "decision": decision,
        "reason": reason,
    }
    decided = await desk.carry_out(asker, "review extraction", details, work)
    if decided is None:
        raise await desk.refused(asker, f"review: {decision}", id)
    return decided


async def _carry_out(desk: AccessDesk, policy: SourcePolicy, decided: Extraction) -> None:
    await follow(desk.store, policy)
    if decided.decision == "rejected" and " " in decided.fact:
        await withdraw(desk.store, policy, decided.fact)


async def _is_theirs(desk: AccessDesk, asker: Asker, one: Extraction) -> bool:
    if not _may_decide(await desk.rights(asker), one):
        return False
    seen, _revision = await desk.reader.run(asker, lambda view: view.sees_extraction(one))
    return seen


def _may_decide(rights: Rights, one: Extraction) -> bool:
    return rights.administrator or rights.may_take(one.collection)

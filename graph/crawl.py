"""A crawl of a scope: what it yields is compared with what the scope holds, so that only changes cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from neo4j import AsyncManagedTransaction

from graph import digests
from graph.claims import Claim, SourcePolicy, WriteReport
from graph.digests import NOWHERE, Numbers, Table
from graph.facts import Stated, fact_of
from graph.gate import Gate, violation
from graph.writer import Order, Outcome, Refused, quarantine_key
from ontologies.shapes import Shapes

#: Claims retracted in one transaction.
_BATCH = 1_000


@dataclass(slots=True)
class Held:
    """What a scope holds when a crawl of it begins."""

    table: Table
    quarantined: dict[str, bytes] = field(default_factory=dict)
    """By key: digest of what is quarantined."""
    outdated: set[int] = field(default_factory=set)
    """Pages whose claims were made under another trust."""
    last: tuple[int, int] | None = None
    """The last page, and how many claims are in it."""


async def load(tx: AsyncManagedTransaction, policy: SourcePolicy, scope: str) -> Held:
    """What the source holds in the scope."""
    parameters = {"source": policy.name, "scope": scope}
    counted = await tx.run(
        "MATCH (p:_Page {source: $source, scope: $scope}) RETURN sum(p.count) AS count", parameters
    )
    held = Held(Table((await counted.single(strict=True))["count"]))
    result = await tx.run(
        """
        MATCH (p:_Page {source: $source, scope: $scope})
        RETURN p.number AS number, p.trust AS trust, p.index AS index ORDER BY number
        """,
        parameters,
    )
    async for record in result:
        count = held.table.load(record["number"], record["index"])
        if record["trust"] == policy.trust:
            held.last = record["number"], count
        else:
            held.outdated.add(record["number"])
    result = await tx.run(
        "MATCH (q:_Quarantined {source: $source, scope: $scope}) RETURN q.key AS key, q.digest AS digest",
        parameters,
    )
    held.quarantined = {record["key"]: record["digest"] async for record in result}
    return held


@dataclass(slots=True)
class _Said:
    """A batch of claims, sorted by what is to be done about them."""

    new: dict[str, Stated] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    """Pages of what the scope holds of facts of `new` and `refused`."""
    passed: list[str] = field(default_factory=list)
    told: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """By fact that this crawl had not told of: its slot, the digests of what is said and of its evidence."""
    unchanged: int = 0


class Crawl:
    """One pass over a scope. What it yields is remembered, so that `complete` knows what is gone."""

    def __init__(
        self,
        shapes: Shapes,
        policy: SourcePolicy,
        scope: str,
        lease: str,
        held: Held,
        carry_out: Callable[[Order], Awaitable[Outcome]],
        mark_complete: Callable[[str, str], Awaitable[int]],
    ) -> None:
        self._policy = policy
        self._scope = scope
        self._lease = lease
        self._table = held.table
        self._held = held
        self._carry_out = carry_out
        self._mark_complete = mark_complete
        self._gate = Gate(shapes, policy)
        self._contents = digests.Contents(policy.trust)
        self._kept_out: set[str] = set()
        """Keys of what this crawl yielded and is quarantined."""

    async def write(self, claims: Iterable[Claim], withdrawn: Iterable[Claim] = ()) -> WriteReport:
        """Write the claims in one transaction; those that the gate refuses are quarantined.

        Of claims about one fact the first of the crawl holds; others that say something else are refused.
        `withdrawn`: what the source itself says it no longer claims in this scope, retracted in the same
        transaction but for facts that `claims` are about; what it did not claim is passed over.
        Raises LeaseLostError when another crawl of the scope has begun.
        """
        said = self._sort(list(claims))
        gone, forgotten = self._taken_back(withdrawn, said)
        outcome = await self._carry_out(
            self._order(said, withdrawn=self._by_page(gone), passed=[*said.passed, *forgotten])
        )
        self._remember(said, outcome)
        return _report(outcome, said.unchanged)

    async def complete(self) -> WriteReport:
        """Retract what this source claimed of this scope before and did not yield in this crawl."""
        report = WriteReport(0)
        slots = self._table.unsaid()
        gone = self._table.facts(slots[np.argsort(self._table.page[slots], kind="stable")])
        forgotten = sorted(self._held.quarantined.keys() - self._kept_out)
        for start in range(0, max(len(gone), 1), _BATCH):
            order = self._order(
                _Said(),
                withdrawn=self._by_page(gone[start : start + _BATCH]),
                passed=[] if start else forgotten,
            )
            outcome = await self._carry_out(order)
            self._remember(_Said(), outcome)
            report = replace(
                report,
                changed=report.changed + outcome.changed,
                retracted=report.retracted + outcome.retracted,
            )
        return replace(report, revision=await self._mark_complete(self._policy.name, self._scope))

    async def gone(self) -> tuple[int, int]:
        """How many claims `complete` would retract now, and how many the source has in the scope."""
        gone = len(self._table.unsaid()) + len(self._held.quarantined.keys() - self._kept_out)
        return gone, gone + int(np.count_nonzero(self._table.said))

    async def confirm(self) -> WriteReport:
        """The source says that nothing else of the scope has changed: it is complete as it stands."""
        return WriteReport(await self._mark_complete(self._policy.name, self._scope))

    def _sort(self, claims: Sequence[Claim]) -> _Said:
        facts = [fact_of(claim) for claim in claims]
        first: dict[str, int] = {}
        for number, fact in enumerate(facts):
            first.setdefault(fact, number)
        contents = self._contents.of(claims)
        slots = self._table.insert(digests.of_facts(first))
        evidence = digests.of_evidence(claims[number] for number in first.values())
        once = contents[list(first.values())]
        said_before = self._table.said[slots]
        held = self._table.content[slots]
        pages = self._table.page[slots]
        same = (held == once) & (self._table.evidence[slots] == evidence)
        if self._held.outdated:
            same &= ~np.isin(pages, list(self._held.outdated))
        said = _Said()
        rows = zip(
            first.items(), slots.tolist(), once.tolist(), evidence.tolist(), said_before.tolist(),
            same.tolist(), held.tolist(), pages.tolist(), strict=True,
        )  # fmt: skip
        for (fact, number), slot, content, proof, before, is_same, is_held, page in rows:
            claim = claims[number]
            if before:
                if before != content:
                    self._refuse_again(claim, said)
                continue
            said.told[fact] = slot, content, proof
            problem = self._gate.refusal(claim)
            if is_same and problem is None:
                said.unchanged += 1
                if self._held.quarantined:
                    self._pass(self._stated(claim), said)
                continue
            stated = self._stated(claim)
            if is_held and page not in self._held.outdated:
                said.held[fact] = page
            if problem is None:
                said.new[fact] = stated
                self._pass(stated, said)
            else:
                key = quarantine_key(stated)
                said.refused[key] = Refused(key, stated, problem)
        if len(first) < len(facts):
            for number, fact in enumerate(facts):
                if first[fact] != number and contents[first[fact]] != contents[number]:
                    self._refuse_again(claims[number], said)
        return said

    def _stated(self, claim: Claim) -> Stated:
        return Stated(self._policy.name, self._scope, self._policy.trust, claim)

    def _pass(self, stated: Stated, said: _Said) -> None:
        if self._held.quarantined and (key := quarantine_key(stated)) in self._held.quarantined:
            said.passed.append(key)

    def _refuse_again(self, claim: Claim, said: _Said) -> None:
        stated = self._stated(claim)
        key = quarantine_key(stated, again=True)
        message = (
            "the source says something else of it in the same crawl, which holds; make both say the same"
        )
        problem = violation(stated.source, claim, "og:claimedTwice", stated.fact, message)
        said.refused[key] = Refused(key, stated, problem, displaces=False)

    def _taken_back(self, withdrawn: Iterable[Claim], said: _Said) -> tuple[Numbers, list[str]]:
        """Digests of facts that are held and withdrawn, and keys of what is quarantined and withdrawn."""
        claims = {fact: claim for claim in withdrawn if (fact := fact_of(claim)) not in said.told}
        keys = {quarantine_key(self._stated(claim)) for claim in claims.values()}
        forgotten = sorted(keys & self._held.quarantined.keys())
        self._kept_out -= keys
        facts = digests.of_facts(claims)
        slots = self._table.find(facts)
        self._table.said[slots[slots >= 0]] = 0
        held = (slots >= 0) & (self._table.content[slots] != 0)
        return facts[held], forgotten

    def _by_page(self, facts: Numbers) -> dict[int, set[bytes]]:
        found: dict[int, set[bytes]] = defaultdict(set)
        for page, fact in zip(self._table.page[self._table.find(facts)].tolist(), facts, strict=True):
            found[page].add(fact.tobytes())
        return found

    def _order(self, said: _Said, *, withdrawn: Mapping[int, set[bytes]], passed: Sequence[str]) -> Order:
        return Order(
            self._policy.name,
            self._scope,
            self._lease,
            new=said.new,
            refused=tuple(said.refused.values()),
            held=said.held,
            withdrawn=withdrawn,
            passed=passed,
            quarantined=self._held.quarantined,
            last=self._held.last,
        )

    def _remember(self, said: _Said, outcome: Outcome) -> None:
        table = self._table
        if outcome.gone:
            slots = table.find(digests.of_facts(outcome.gone))
            table.content[slots], table.page[slots] = 0, NOWHERE
        if said.told:
            slots, contents, _ = np.array(list(said.told.values()), dtype=np.uint64).T
            table.said[slots] = contents
        if outcome.pages:
            told = [said.told[fact] for fact in outcome.pages]
            slots, contents, evidence = np.array(told, dtype=np.uint64).T
            table.content[slots], table.evidence[slots] = contents, evidence
            table.page[slots] = list(outcome.pages.values())
        for key in outcome.passed:
            self._held.quarantined.pop(key, None)
        for one in outcome.refused:
            self._held.quarantined[one.key] = one.digest()
            self._kept_out.add(one.key)
        self._held.last = outcome.last


def _report(outcome: Outcome, unchanged: int) -> WriteReport:
    return WriteReport(
        outcome.revision,
        outcome.added,
        outcome.changed,
        outcome.retracted,
        unchanged,
        tuple(one.violation for one in outcome.refused),
    )

"""A crawl of a scope: what it yields is compared with what the scope holds, so that only changes cost."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict, deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import orjson
from neo4j import AsyncManagedTransaction

from graph import digests
from graph.bulk import Plain, plainly
from graph.claims import Claim, SourcePolicy, WriteReport
from graph.digests import ENTRY, NOWHERE, Numbers, Table
from graph.facts import Stated, fact_of
from graph.gate import Gate, violation
from graph.order import Order, Orders, Outcome, Refused, quarantine_key
from graph.tombstones import Tombstones, kept_out
from graph.turns import Turn

#: Claims retracted in one transaction.
_BATCH = 1_000
#: What a write may compute before the next batch is looked at, which computes too: else it shares its
#: processor while Neo4j waits for it.
_HEAD_START_S = 0.04
#: Within which the event loop, for which Neo4j waits, has Python's interpreter back from a thread that looks
#: at a batch; of the process, and ten times as long without.
_SWITCH_S = 0.0005


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


class _Row(NamedTuple):
    """What the table knows of a fact, and digests of what is said of it."""

    slot: int
    content: int
    evidence: int
    said: int
    same: bool
    """Whether it is held as it is said."""
    page: int


@dataclass(slots=True)
class _Said:
    """A batch of claims, sorted by what is to be done about them."""

    about: Collection[str] = ()
    """All facts of the batch."""
    new: dict[str, Stated] = field(default_factory=dict)
    plain: dict[str, Plain] = field(default_factory=dict)
    entries: dict[str, bytes] = field(default_factory=dict)
    rows: dict[str, orjson.Fragment] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    """Pages of what the scope holds of facts of `new` and `refused`."""
    passed: list[str] = field(default_factory=list)
    told: dict[str, _Row] = field(default_factory=dict)
    """By fact that this crawl had not told of."""
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A batch that is being written."""

    said: _Said
    outcome: asyncio.Future[Outcome]
    turn: Turn | None = None
    """None where it shares a transaction, or needs none."""
    begun: float = field(default_factory=time.monotonic)

    async def has_begun(self) -> None:
        """Wait until it had its head start."""
        begun = self.begun if self.turn is None else self.turn.began or time.monotonic()
        await asyncio.wait([self.outcome], timeout=max(0, begun + _HEAD_START_S - time.monotonic()))


@dataclass(frozen=True, slots=True)
class Step:
    """What a source changed at once. As the parameters of `Crawl.write`."""

    claims: Sequence[Claim] = ()
    withdrawn: Sequence[Claim] = ()
    reached: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Crawl:
    """One pass over a scope. What it yields is remembered, so that `complete` knows what is gone."""

    gate: Gate
    policy: SourcePolicy
    scope: str
    lease: str
    held: Held
    carry_out: Callable[[Order], Awaitable[Outcome]]
    carry_out_each: Callable[
        [Order, Callable[[AsyncManagedTransaction], Awaitable[None]], Orders], Awaitable[Sequence[Outcome]]
    ]
    carry_out_turn: Callable[[Turn], Awaitable[Outcome]]
    mark_complete: Callable[[Order], Awaitable[int]]
    erased: Tombstones = field(default_factory=Tombstones)
    contents: digests.Contents = field(init=False)
    kept_out: set[str] = field(default_factory=set, init=False)
    """Keys of what this crawl yielded and is quarantined."""
    unsure: bool = field(default=False, init=False)
    """Whether a write has failed: it may be in Neo4j all the same, where only its answer was lost."""

    def __post_init__(self) -> None:
        self.contents = digests.Contents(self.policy.trust)

    async def write(
        self,
        claims: Iterable[Claim],
        withdrawn: Iterable[Claim] = (),
        reached: Mapping[str, str] | None = None,
    ) -> WriteReport:
        """Write the claims in one transaction; those that the gate refuses are quarantined.

        Of claims about one fact the first of the crawl holds; others that say something else are refused.
        `withdrawn`: what the source itself says it no longer claims in this scope, retracted in the same
        transaction but for facts that `claims` are about; what it did not claim is passed over.
        `reached`: what the scope's `_Reading` is to keep of how far it is read with that.
        Raises LeaseLostError when another crawl of the scope has begun.
        """
        said, order = self._step(Step(list(claims), list(withdrawn), reached or {}))
        return await self._written(said, self.carry_out(order))

    def _step(self, step: Step, *, later: bool = False) -> tuple[_Said, Order]:
        """`later`: it may say something else of what the crawl said before."""
        if later:
            self.held.table.said[:] = 0
        said = self._sort(step.claims)
        gone, forgotten = self._taken_back(step.withdrawn, said)
        order = self._order(said, withdrawn=self._by_page(gone), passed=[*said.passed, *forgotten])
        return said, replace(order, reached=step.reached)

    async def write_steps(self, steps: Sequence[Step]) -> list[WriteReport]:
        """As `write` of what the source changed, one after the other, each a later state of it.

        All in one transaction, each in a revision of its own; a single one may share another's.
        """
        if len(steps) == 1:
            said, order = self._step(steps[0], later=True)
            return [await self._written(said, self.carry_out(order))]
        tries = 0
        written: list[_Said] = []

        async def begin(tx: AsyncManagedTransaction) -> None:
            nonlocal tries
            if tries:  # what the first try took for written is not
                self.held = await load(tx, self.policy, self.scope)
                written.clear()
            tries += 1

        def orders(outcomes: Sequence[Outcome]) -> Iterable[Order]:
            for step in steps:
                said, order = self._step(step, later=True)
                yield order
                self._remember(said, outcomes[-1])
                written.append(said)

        outcomes = await self.carry_out_each(self._nothing(), begin, orders)
        return [_report(*pair) for pair in zip(outcomes, (said.unchanged for said in written), strict=True)]

    async def write_each(self, batches: AsyncIterator[Sequence[Claim]]) -> AsyncGenerator[WriteReport, None]:
        """As `write` of each of the batches; while one is written, the next is read and looked at, and waits
        for the lock.

        Where the batches end with an error, it is raised once what was read before is written.
        """
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_S))
        under_way: deque[_UnderWay] = deque()
        end: Exception | None = None
        try:
            while end is None:
                try:
                    batch = await anext(batches)
                    if under_way:
                        await under_way[-1].has_begun()
                    said = await asyncio.to_thread(self._sort, batch)
                except Exception as error:  # noqa: BLE001 - raised below, unless they are just at their end
                    end = error
                one_by_one = end is not None or self._order(said).is_small()
                while under_way and (one_by_one or under_way[-1].turn is None):
                    yield await self._written(under_way[0].said, under_way[0].outcome)
                    under_way.popleft()
                if end is None:
                    before = under_way[-1].turn if under_way else None
                    under_way.append(await self._begin(said, before))
                while len(under_way) > 1:
                    yield await self._written(under_way[0].said, under_way[0].outcome)
                    under_way.popleft()
            if not isinstance(end, StopAsyncIteration):
                raise end
        finally:
            await self._leave(under_way)

    async def _begin(self, said: _Said, before: Turn | None) -> _UnderWay:
        order = self._order(said)
        if order.is_small():
            return _UnderWay(said, asyncio.ensure_future(self.carry_out(order)))
        if before is not None:
            await before.holds_lock()
        turn = Turn(order, before)
        return _UnderWay(said, asyncio.ensure_future(self.carry_out_turn(turn)), turn)

    async def _leave(self, under_way: Collection[_UnderWay]) -> None:
        """Nobody waits for them any more."""
        for one in under_way:
            one.outcome.cancel()
        if under_way:
            await asyncio.wait([one.outcome for one in under_way])
        for one in under_way:
            if one.outcome.cancelled() or one.outcome.exception():
                self._forget(one.said)
            else:
                self._remember(one.said, one.outcome.result())

    async def _written(self, said: _Said, outcome: Awaitable[Outcome]) -> WriteReport:
        try:
            became = await outcome
        except BaseException:
            self._forget(said)
            raise
        self._remember(said, became)
        return _report(became, said.unchanged)

    async def complete(self) -> WriteReport:
        """Retract what this source claimed of this scope before and did not yield in this crawl."""
        report = WriteReport(0)
        slots = self.held.table.unsaid()
        gone = self.held.table.facts(slots[np.argsort(self.held.table.page[slots], kind="stable")])
        forgotten = sorted(self.held.quarantined.keys() - self.kept_out)
        for start in range(0, max(len(gone), 1), _BATCH):
            order = self._order(
                _Said(),
                withdrawn=self._by_page(gone[start : start + _BATCH]),
                passed=[] if start else forgotten,
            )
            outcome = await self.carry_out(order)
            self._remember(_Said(), outcome)
            report = replace(
                report,
                changed=report.changed + outcome.changed,
                retracted=report.retracted + outcome.retracted,
            )
        return replace(report, revision=await self.mark_complete(self._nothing()))

    async def gone(self) -> tuple[int, int]:
        """How many claims `complete` would retract now, and how many the source has in the scope."""
        gone = len(self.held.table.unsaid()) + len(self.held.quarantined.keys() - self.kept_out)
        return gone, gone + int(np.count_nonzero(self.held.table.said))

    async def confirm(self) -> WriteReport:
        """The source says that nothing else of the scope has changed: it is complete as it stands."""
        return WriteReport(await self.mark_complete(self._nothing()))

    def _nothing(self) -> Order:
        return Order(self.policy.name, self.scope, self.lease)

    def _sort(self, claims: Sequence[Claim]) -> _Said:
        facts = [fact_of(claim) for claim in claims]
        first: dict[str, int] = {}
        for number, fact in enumerate(facts):
            first.setdefault(fact, number)
        contents = self.contents.of(claims)
        facts_digests = digests.of_facts(first)
        slots = self.held.table.insert(facts_digests)
        evidence = digests.of_evidence(claims[number] for number in first.values())
        once = contents[list(first.values())]
        table = self.held.table
        same = (table.content[slots] == once) & (table.evidence[slots] == evidence)
        same &= ~np.isin(table.page[slots], list(self.held.outdated))
        rows = map(
            _Row, slots.tolist(), once.tolist(), evidence.tolist(), table.said[slots].tolist(), same.tolist(),
            table.page[slots].tolist(),
        )  # fmt: skip
        entries = digests.packed(facts_digests, once, evidence)
        said = _Said(about=first.keys())
        for at, ((fact, number), row) in enumerate(zip(first.items(), rows, strict=True)):
            if not row.said:
                self._look(fact, claims[number], row, entries[at * ENTRY : (at + 1) * ENTRY], said)
            elif row.said != row.content:
                self._refuse_again(claims[number], said)
        if len(first) < len(facts):
            for number, fact in enumerate(facts):
                if first[fact] != number and contents[first[fact]] != contents[number]:
                    self._refuse_again(claims[number], said)
        if said.told:
            told = np.array([(row.slot, row.content) for row in said.told.values()], dtype=np.uint64)
            table.said[told[:, 0]] = told[:, 1]
        return said

    def _forget(self, said: _Said) -> None:
        """What was said in a batch that was not written may be said again, and is looked for then."""
        self.unsure = True
        table = self.held.table
        table.said[table.find(digests.of_facts(said.told))] = 0

    def _look(self, fact: str, claim: Claim, row: _Row, entry: bytes, said: _Said) -> None:
        """What is to be done about a claim that the crawl had not yielded before."""
        said.told[fact] = row
        if self._is_erased(claim, said):
            return
        problem, plain = self.gate.look(fact, claim)
        if row.same and problem is None:
            said.unchanged += 1
            if self.held.quarantined:
                self._pass(self._stated(fact, claim), said)
            return
        stated = self._stated(fact, claim)
        if row.page != NOWHERE and (problem or row.page not in self.held.outdated):
            said.held[fact] = row.page
        if problem is None:
            said.new[fact] = stated
            said.entries[fact] = entry
            said.rows[fact] = orjson.Fragment(orjson.dumps(stated.to_row()))
            if plain and row.page == NOWHERE and not self.unsure:
                said.plain[fact] = plainly(self.gate.ontology, stated, said.rows[fact])
            self._pass(stated, said)
        else:
            key = quarantine_key(stated)
            said.refused[key] = Refused(key, stated, problem)

    def _stated(self, fact: str, claim: Claim) -> Stated:
        return Stated(self.policy.name, self.scope, self.policy.trust, fact, claim)

    def _pass(self, stated: Stated, said: _Said) -> None:
        if self.held.quarantined and (key := quarantine_key(stated)) in self.held.quarantined:
            said.passed.append(key)

    def _is_erased(self, claim: Claim, said: _Said) -> bool:
        """Whether it is about somebody who was erased; that they are listed is recorded, and no more."""
        pseudonym = self.erased.about(claim)
        if pseudonym is None:
            return False
        stated, problem = kept_out(self.policy.name, self.scope, self.policy.trust, pseudonym)
        key = quarantine_key(stated)
        said.refused[key] = Refused(key, stated, problem, displaces=False)
        return True

    def _refuse_again(self, claim: Claim, said: _Said) -> None:
        if self._is_erased(claim, said):
            return
        stated = self._stated(fact_of(claim), claim)
        key = quarantine_key(stated, again=True)
        message = (
            "the source says something else of it in the same crawl, which holds; make both say the same"
        )
        problem = violation(stated.source, claim, "og:claimedTwice", stated.fact, message)
        said.refused[key] = Refused(key, stated, problem, displaces=False)

    def _taken_back(self, withdrawn: Iterable[Claim], said: _Said) -> tuple[Numbers, list[str]]:
        """Digests of facts that are held and withdrawn, and keys of what is quarantined and withdrawn."""
        claims = {fact: claim for claim in withdrawn if (fact := fact_of(claim)) not in said.about}
        keys = {quarantine_key(self._stated(fact, claim)) for fact, claim in claims.items()}
        forgotten = sorted(keys & self.held.quarantined.keys())
        self.kept_out -= keys
        facts = digests.of_facts(claims)
        slots = self.held.table.find(facts)
        self.held.table.said[slots[slots >= 0]] = 0
        held = (slots >= 0) & (self.held.table.content[slots] != 0)
        return facts[held], forgotten

    def _by_page(self, facts: Numbers) -> dict[int, set[bytes]]:
        found: dict[int, set[bytes]] = defaultdict(set)
        for page, fact in zip(self.held.table.page[self.held.table.find(facts)].tolist(), facts, strict=True):
            found[page].add(fact.tobytes())
        return found

    def _order(
        self,
        said: _Said,
        *,
        withdrawn: Mapping[int, set[bytes]] | None = None,
        passed: Sequence[str] | None = None,
    ) -> Order:
        return Order(
            self.policy.name,
            self.scope,
            self.lease,
            new=said.new,
            plain=said.plain,
            entries=said.entries,
            rows=said.rows,
            refused=tuple(said.refused.values()),
            held=said.held,
            withdrawn=withdrawn or {},
            passed=said.passed if passed is None else passed,
            quarantined=self.held.quarantined,
            last=self.held.last,
        )

    def _remember(self, said: _Said, outcome: Outcome) -> None:
        table = self.held.table
        if outcome.gone:
            slots = table.find(digests.of_facts(outcome.gone))
            table.content[slots], table.page[slots] = 0, NOWHERE
        if outcome.pages:
            rows = [(said.told[fact].content, said.told[fact].evidence) for fact in outcome.pages]
            slots = table.find(digests.of_facts(outcome.pages))  # other batches may have made the table grow
            table.content[slots], table.evidence[slots] = np.array(rows, dtype=np.uint64).T
            table.page[slots] = list(outcome.pages.values())
        for key in outcome.passed:
            self.held.quarantined.pop(key, None)
        for one in outcome.refused:
            self.held.quarantined[one.key] = one.digest()
            self.kept_out.add(one.key)
        self.held.last = outcome.last


def _report(outcome: Outcome, unchanged: int) -> WriteReport:
    return WriteReport(
        outcome.revision,
        outcome.added,
        outcome.changed,
        outcome.retracted,
        unchanged,
        tuple(one.violation for one in outcome.refused),
    )

"""The residency cases as values; see README.md for what each key means."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from context_manager.facts import Fact
from context_manager.handling import Handlings
from discovery.sources import HandlingTerms
from graph.handling import Handling
from graph.reads import HandlingInput, HandlingRule
from inference.nodes import Certification, Load, MeshNode, NodeState, Status
from inference.requirement import Requirement

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
VALIDITY = {
    "": (None, None),
    "expired": (None, NOW - DAY),
    "later": (NOW + DAY, None),
}
STATEMENT = {"expired": NOW - DAY, "running": NOW + DAY}
STATES = {
    "down": NodeState(Status.DOWN, "connection refused"),
    "draining": NodeState(Status.DRAINING, "it is being drained"),
    "warming": NodeState(Status.WARMING, "not probed yet"),
    "degraded": NodeState(Status.DEGRADED, "it answered badly lately", Load(0, 0)),
    "stale": NodeState(Status.READY),
}
KEYS = {
    *("name", "facts", "question", "narrowed", "rules", "nodes", "only", "states", "fails", "then"),
    *("model", "least_tokens", "capability", "failed_on", "permitted", "outcome", "reached", "says"),
}


@dataclass(frozen=True)
class Case:
    """One row of a table, with the organization that it stands in."""

    name: str
    told: Mapping[str, Any]
    organization: Mapping[str, Any]

    def members(self) -> list[tuple[MeshNode, NodeState]]:
        changes = self.told.get("nodes", {})
        names = self.told.get("only", self.organization["nodes"])
        return [
            (_node(name, {**self.organization["nodes"][name], **changes.get(name, {})}), self._state(name))
            for name in names
        ]

    def _state(self, name: str) -> NodeState:
        told = self.told.get("states", {}).get(name, {"running": 0, "waiting": 0})
        return STATES[told] if isinstance(told, str) else NodeState(Status.READY, "", Load(**told))

    async def handling(self, changed: bool = False) -> Handling:
        """Of the context, computed as the service does; after what `then` says, if `changed`."""
        told = {**self.told, **self.told.get("then", {})} if changed else self.told
        facts = told["facts"]
        terms = {name: _terms(t) for name, t in self.organization["sources"].items()}
        question = _terms(told.get("question", {}))
        rules = [self.organization["rules"][name] for name in told.get("rules", self.organization["rules"])]
        view = _View(facts, [_rule(i, dict(rule)) for i, rule in enumerate(rules)])
        of_facts = await Handlings(question, terms).of_facts(view, [_fact(i, f) for i, f in enumerate(facts)])
        return of_facts.meet(question).meet(_terms(told.get("narrowed", {})))

    async def requirement(self) -> Requirement:
        return Requirement(
            await self.handling(),
            self.told.get("capability", "chat"),
            self.told.get("model"),
            self.told.get("least_tokens", 0),
            frozenset(f"mesh_node:{name}" for name in self.told.get("failed_on", ())),
        )


def load_cases() -> list[Case]:
    cases = []
    for path in sorted(Path(__file__).parent.glob("*.yaml")):
        organization = yaml.safe_load(path.read_text(encoding="utf-8"))
        for told in organization["cases"]:
            assert told.keys() <= KEYS, f"{path.name}: {told['name']}: {told.keys() - KEYS}"
            cases.append(Case(told["name"], told, organization))
    return cases


class _View:
    """What a governed read would give of the case's facts and rules."""

    def __init__(self, facts: list[dict[str, Any]], rules: list[HandlingRule]) -> None:
        self._facts, self._rules = facts, rules

    async def handling_inputs(self, ids: Collection[str]) -> dict[str, HandlingInput]:
        return {
            f"entity:{i}": HandlingInput(frozenset(_sources(fact)), frozenset(fact.get("classified", ())))
            for i, fact in enumerate(self._facts)
        }

    async def handling_rules(self) -> tuple[HandlingRule, ...]:
        return tuple(self._rules)


def _sources(fact: Mapping[str, Any]) -> tuple[str, ...]:
    told = fact.get("source", ())
    return (told,) if isinstance(told, str) else tuple(told)


def _fact(i: int, told: Mapping[str, Any]) -> Fact:
    return Fact(f"entity:{i}", "", "", (f"entity:{i}",), _sources(told), 1.0, 1, None, None, ())


def _rule(i: int, told: dict[str, Any]) -> HandlingRule:
    applies_to = frozenset(told.pop("applies_to"))
    return HandlingRule(applies_to, _terms(told), f"handling_rule:{i}")


def _terms(told: Mapping[str, Any]) -> Handling:
    return HandlingTerms.model_validate(told).handling()


def _node(name: str, told: dict[str, Any]) -> MeshNode:
    fields: dict[str, Any] = {"models": ["small"], "capabilities": ["chat"], **told}
    statement = fields.pop("statement", None)
    for key in ("owners", "purposes", "capabilities"):
        fields[key] = frozenset(fields.get(key, ()))
    fields["models"] = tuple(fields["models"])
    fields["certifications"] = frozenset(map(_certification, fields.get("certifications", ())))
    return MeshNode(f"mesh_node:{name}", name, valid_until=STATEMENT.get(statement), **fields)


def _certification(text: str) -> Certification:
    name, _, validity = text.partition(" ")
    return Certification(name, *VALIDITY[validity])

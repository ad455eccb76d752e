"""The handling of facts: what their sources declare and what the rules of discovered policies add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from context_manager.facts import Fact
from discovery.sources import OrganizationConfig
from graph.handling import FORBIDDEN, UNRESTRICTED, Handling, meet_all
from graph.reads import View


@dataclass(frozen=True, slots=True)
class Handlings:
    """What the organization declares of handling."""

    of_question: Handling
    """Of a question, whoever asks it."""
    of_source: Mapping[str, Handling]
    """Of what a source says, where no rule says it more strictly."""

    async def of_facts(self, view: View, facts: Iterable[Fact]) -> Handling:
        """The meet over all facts. A fact of an undeclared source is forbidden everywhere."""
        ids = {entity for fact in facts for entity in fact.entities}
        if not ids:
            return UNRESTRICTED
        inputs = await view.handling_inputs(ids)
        rules = await view.handling_rules()
        return meet_all(
            handling
            for id_ in ids
            for handling in (
                self._of_sources(inputs[id_].sources if id_ in inputs else ()),
                *(
                    rule.handling
                    for rule in rules
                    if id_ in inputs and rule.classifications & frozenset(inputs[id_].classifications)
                ),
            )
        )

    def _of_sources(self, sources: Iterable[str]) -> Handling:
        declared = [self.of_source.get(source, FORBIDDEN) for source in sources]
        return meet_all(declared) if declared else FORBIDDEN


def handlings_of(organization: OrganizationConfig, configuration: str) -> Handlings:
    """What `sources.toml` declares; its own claims are handled as questions are."""
    of_question = organization.asker_handling.handling()
    declared = {source.name: source.handling.handling() for source in organization.source}
    return Handlings(of_question, {configuration: of_question, **declared})

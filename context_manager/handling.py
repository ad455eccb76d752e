"""The handling of facts: what their sources declare and what the rules of discovered policies add."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from context_manager.facts import Fact
from discovery.sources import OrganizationConfig
from graph.extractions import of_source
from graph.handling import FORBIDDEN, UNRESTRICTED, Handling, meet_all
from graph.reads import HandlingInput, View


@dataclass(frozen=True, slots=True)
class Handlings:
    """What the organization declares of handling."""

    of_question: Handling
    """Of a question, whoever asks it."""
    of_source: Mapping[str, Handling]
    """Of what a source says, where no rule says it more strictly."""

    holding_of_source: Mapping[str, Handling] = field(default_factory=dict)
    """Where the graph may hold what a source says, of those that say. Whoever declares that has decided it,
    whatever rules are found."""
    site_of_source: Mapping[str, str] = field(default_factory=dict)
    """Where a source's data lies, of those that say."""

    def sites(self, facts: Iterable[Fact]) -> dict[str, int]:
        """How many of the facts lie at each site."""
        found = (self.site_of_source.get(source) for fact in facts for source in fact.sources)
        return dict(Counter(site for site in found if site))

    async def of_facts(self, view: View, facts: Iterable[Fact]) -> Handling:
        """The meet over all facts. A fact of an undeclared source is forbidden everywhere."""
        found = list(facts)
        of_entities = await self.of_entities(view, {entity for fact in found for entity in fact.entities})
        return meet_all([*(self._of_sources(fact.sources) for fact in found), of_entities])

    async def of_entities(self, view: View, ids: Collection[str]) -> Handling:
        """The meet over all that is said of the entities, by whom and as what; an absent one is forbidden."""
        if not ids:
            return UNRESTRICTED
        inputs = await view.handling_inputs(ids)
        rules = await view.handling_rules()
        classifications = {c for entity in inputs.values() for c in entity.classifications}
        return meet_all(
            [
                *(self._of_sources(inputs[id_].sources if id_ in inputs else ()) for id_ in ids),
                *(rule.handling for rule in rules if rule.classifications & classifications),
            ]
        )

    async def of_holding(self, view: View, ids: Collection[str]) -> Mapping[str, Handling]:
        """Of each entity, where it may be held, and embedded; an absent one nowhere."""
        inputs, rules = await view.handling_inputs(ids), await view.handling_rules()

        def of_one(found: HandlingInput) -> Handling:
            ruled = meet_all(r.handling for r in rules if r.classifications & found.classifications)
            of_each = [
                self.holding_of_source[source]
                if source in self.holding_of_source
                else self.of_source.get(source, FORBIDDEN).meet(ruled)
                for source in found.sources
            ]
            return meet_all(of_each) if of_each else FORBIDDEN

        return {id_: of_one(inputs[id_]) if id_ in inputs else FORBIDDEN for id_ in ids}

    def _of_sources(self, sources: Iterable[str]) -> Handling:
        declared = [self.of_source.get(source, FORBIDDEN) for source in sources]
        return meet_all(declared) if declared else FORBIDDEN


def handlings_of(organization: OrganizationConfig, *own: str) -> Handlings:
    """What `sources.toml` declares; what the service's `own` sources claim is handled as questions are, and
    what is read out of a source as that is."""
    of_question = organization.asker_handling.handling()
    declared = {
        name: source.handling.handling()
        for source in organization.source
        for name in (source.name, *of_source(source.name))
    }
    holding = {
        name: source.holding.handling()
        for source in organization.source
        if source.holding is not None
        for name in (source.name, *of_source(source.name))
    }
    sites = {source.name: source.site for source in organization.source if source.site}
    return Handlings(of_question, {**dict.fromkeys(own, of_question), **declared}, holding, sites)

"""What the process or its Neo4j may not hold is refused before it is read, and the error says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from context_manager.ask import retrieve
from context_manager.handling import Handlings
from context_manager.holding import Holder, holder_of, refusal_of, told_of
from context_manager.indexer import index_pending, review
from context_manager.openai_api import OpenAIApi
from context_manager.settings import Settings
from discovery.sources import HandlingTerms, SourceConfig
from graph.claims import EntityClaim
from graph.database import Database
from graph.handling import UNRESTRICTED
from graph.reads import Asker
from graph.system_reads import embedded
from inference.nodes import MeshNode
from ontologies import load
from tests.context_manager.door import CLAIMS, EU, WHERE, Door, entity, relation


def source(**fields: object) -> SourceConfig:
    return SourceConfig.model_validate({"name": "s", "connector": "sql", "collection": "c", **fields})


def refusal(settings: Settings):
    return refusal_of(holder_of(settings, Handlings(UNRESTRICTED, {})))


HERE = Settings(
    node_jurisdiction="US", node_region="us-east", node_certifications=("SOC2",), node_clearance=1
)


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        ({}, ""),
        ({"jurisdictions": ["US", "EU"], "certifications": ["SOC2"], "clearance": 1}, ""),
        ({"jurisdictions": ["EU"]}, "under the law of US, not of EU"),
        ({"residency": ["eu-central"]}, "stands in us-east, not in eu-central"),
        ({"certifications": ["HIPAA"]}, "not certified for HIPAA"),
        ({"clearance": 2}, "has clearance 1, not 2"),
        ({"excluded_jurisdictions": ["US"]}, "under the law of US, where US is excluded"),
        ({"excluded_silicon": ["cpu"]}, "has silicon cpu"),
        ({"excluded_owners": ["organization:x"]}, "owned by nobody knows what"),
        ({"purposes": ["care"]}, "used for nobody knows what"),
        ({"jurisdictions": []}, "no jurisdiction is permitted"),
    ],
)
def test_the_process_holds_only_what_its_source_lets_it(terms: dict[str, object], why: str) -> None:
    refused = refusal(HERE)(source(handling=terms))
    assert (refused == "") == (why == "")
    if why:
        assert why in refused
        assert "source 's' was not crawled" in refused
        assert "ORGRAPH_NODE_*" in refused
        assert "`holding`" in refused


def test_a_neo4j_elsewhere_is_held_to_it_too() -> None:
    elsewhere = HERE.model_copy(update={"neo4j_jurisdiction": "CA"})
    american = source(handling={"jurisdictions": ["US"]})
    assert refusal(HERE)(american) == ""
    refused = refusal(elsewhere)(american)
    assert "neo4j (under the law of CA, not of US)" in refused
    assert "orgraph (" not in refused


def test_keeping_may_be_allowed_where_processing_is_not() -> None:
    european = source(handling={"jurisdictions": ["EU"]}, holding={"jurisdictions": ["US", "EU"]})
    assert refusal(HERE)(european) == ""
    assert european.handling == HandlingTerms(jurisdictions=("EU",))


def test_a_certification_that_has_ended_does_not_count() -> None:
    lapsed = HERE.model_copy(update={"node_certifications": ("HIPAA until 2020-01-01",)})
    assert "its certification for HIPAA does not hold now" in refusal(lapsed)(
        source(handling={"certifications": ["HIPAA"]})
    )


PHI = "classification:phi"


def rule(jurisdiction: str) -> EntityClaim:
    return entity("handling_rule:1", "HandlingRule", "all", jurisdiction=(jurisdiction,))


@dataclass
class Ruled:
    door: Door
    database: Database

    def held_by(self, holder: Holder) -> None:
        self.door.api = OpenAIApi(replace(self.door.api.asking, holder=holder))

    async def says(self, *rules: EntityClaim) -> None:
        await self.door.says(
            configuration=[
                *CLAIMS,
                entity("document:scan", "Document", "all", name="Scan"),
                entity(
                    "passage:scan", "Passage", "all", name="Scan", text="Swantje has measles.", position=1
                ),
                relation("document:scan", "HAS_PASSAGE", "passage:scan"),
                entity(PHI, "Classification", "all", name="Health"),
                relation("document:scan", "CLASSIFIED_AS", PHI),
                *rules,
                *(relation(one.id, "GOVERNS", PHI) for one in rules),
            ]
        )
        asking = self.door.api.asking
        await index_pending(self.database, asking.ontology, asking.embedder, asking.holder)

    async def embedded(self) -> frozenset[str]:
        return await embedded(self.database, ["document:scan", "passage:scan", "document:news"])

    async def finds(self, monkeypatch: pytest.MonkeyPatch, question: str) -> tuple[list[str], set[str]]:
        """The facts for a question, and what was embedded for it."""
        asking, read = self.door.api.asking, set()
        embed = asking.embedder.embed

        async def listening(texts: Sequence[str]) -> list[list[float]]:
            read.update(texts)
            return await embed(texts)

        with monkeypatch.context() as patched:
            patched.setattr(asking.embedder, "embed", listening)
            found = await retrieve(asking, Asker("account:acme/ada"), question)
        return [match.fact.statement for match in found.context.facts], read

    async def told(self) -> Sequence[str]:
        holder = self.door.api.asking.holder
        return await told_of(self.database, load(), holder, source(name="configuration", handling={}))


@pytest.fixture
def ruled(door: Door, neo4j: Database) -> Ruled:
    """A document with a passage, classified, and a rule on what is so: the process is in the US."""
    made = Ruled(door, neo4j)
    made.held_by(Holder(door.api.asking.holder.nodes, Handlings(WHERE, {"configuration": WHERE})))
    return made


async def test_what_a_rule_forbids_that_was_found_later_is_embedded_no_more_and_its_embedding_goes(
    ruled: Ruled, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = "Who has measles?"
    await ruled.says()
    assert await ruled.embedded() == {"document:scan", "passage:scan", "document:news"}
    facts, _ = await ruled.finds(monkeypatch, question)
    assert facts == ["Swantje has measles."]
    assert not await ruled.told()

    await ruled.says(rule("EU"))
    assert await ruled.embedded() == {"document:news"}
    _, read = await ruled.finds(monkeypatch, question)
    assert not [text for text in read if "Swantje" in text]
    [note] = await ruled.told()
    assert "2 of what source 'configuration' says may not be held here" in note
    assert "passage:scan" in note
    assert "Swantje" not in note

    await ruled.says(rule("US"))
    assert await ruled.embedded() == {"document:scan", "passage:scan", "document:news"}
    assert not await ruled.told()


async def test_no_rule_overrides_where_sources_toml_says_that_the_graph_may_hold_it(ruled: Ruled) -> None:
    decided = Handlings(WHERE, {"configuration": WHERE}, {"configuration": WHERE})
    ruled.held_by(Holder(ruled.door.api.asking.holder.nodes, decided))
    await ruled.says(rule("EU"))
    assert await ruled.embedded() == {"document:scan", "passage:scan", "document:news"}


async def test_other_settings_and_a_source_that_is_declared_no_more_are_noticed_at_a_review(
    ruled: Ruled,
) -> None:
    asking = ruled.door.api.asking
    await ruled.says(rule("US"))
    everything = frozenset({"document:scan", "passage:scan", "document:news"})
    for handlings, expected in (
        (Handlings(WHERE, {}), frozenset()),
        (Handlings(WHERE, {"configuration": WHERE}), everything),
        (Handlings(WHERE, {"configuration": EU}), frozenset()),
    ):
        holder = Holder(asking.holder.nodes, handlings)
        await review(ruled.database, asking.ontology, asking.embedder, holder)
        assert await ruled.embedded() == expected


async def test_a_rule_binds_neo4j_too(ruled: Ruled) -> None:
    elsewhere = MeshNode("mesh_node:neo4j", "neo4j", "EU")
    ruled.held_by(Holder((*ruled.door.api.asking.holder.nodes, elsewhere), ruled.door.api.asking.handlings))
    await ruled.says(rule("US"))
    assert await ruled.embedded() == {"document:news"}
    assert await ruled.told()

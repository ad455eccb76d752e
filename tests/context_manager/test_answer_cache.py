"""An answer is given again on the same grounds alone: each of them by itself makes another key."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from context_manager.answer_cache import AnswerCache, CachedAnswer, cache_key
from context_manager.context import Context, Retrieval
from context_manager.drafting import Draft, Outcome
from context_manager.facts import Fact
from context_manager.relevance import Match
from graph.handling import Handling
from graph.past import When
from graph.reads import Asker
from graph.token_scope import TokenScope
from inference.mesh import snapshot_of
from inference.nodes import EMBEDDING, MeshNode
from inference.placement import place
from inference.requirement import Requirement

NOW = datetime(2026, 11, 28, tzinfo=UTC)
FACT = Fact("document:a#description", "It is.", "A", ("document:a",), ("s",), 1.0, 1, None, None, ())
MATCH = Match(FACT, 0.9, 0.9, 0.9, "It is.")
NODE = MeshNode("mesh_node:a", "a", models=("small",))
FOUND = Retrieval(
    Context((MATCH,), 7),
    Handling(),
    place(Requirement(Handling(), EMBEDDING), snapshot_of([], NOW)),
    None,
    salt="salt",
)
GROUNDS: dict[str, Any] = {
    "asker": Asker("account:acme/ada"),
    "text": "What is it?",
    "about": None,
    "found": FOUND,
    "node": NODE,
}


def with_fact(**changed: Any) -> Retrieval:
    match = replace(MATCH, fact=replace(FACT, **changed))
    return replace(FOUND, context=Context((match,), 7))


OTHERS: dict[str, dict[str, Any]] = {
    "account": {"asker": Asker("account:acme/eve")},
    "agent": {"asker": Asker("account:acme/ada", "robot")},
    "earlier agents": {"asker": replace(Asker("account:acme/ada"), earlier_agents=("robot",))},
    "scope": {"asker": Asker("account:acme/ada", scope=TokenScope(frozenset({"ask"})))},
    "question": {"text": "What is it not?"},
    "entity": {"about": "document:a"},
    "point in time": {"found": replace(FOUND, when=When(valid_at=NOW))},
    "visible set": {"found": replace(FOUND, salt="other")},
    "handling": {"found": replace(FOUND, handling=Handling(clearance=1))},
    "revision": {"found": replace(FOUND, context=Context((MATCH,), 8))},
    "no fact": {"found": replace(FOUND, context=Context((), 7))},
    "fact": {"found": with_fact(id="document:b#description")},
    "what it says": {"found": with_fact(statement="It was.")},
    "what is quoted of it": {
        "found": replace(FOUND, context=Context((replace(MATCH, excerpt="It"),), 7)),
    },
    "node": {"node": replace(NODE, id="mesh_node:b")},
    "model": {"node": replace(NODE, models=("large",))},
}


def test_every_ground_by_itself_makes_another_key() -> None:
    keys = {name: cache_key(**GROUNDS | changed) for name, changed in OTHERS.items()}
    same = cache_key(**GROUNDS)
    assert {name for name, key in keys.items() if key == same} == set()
    assert len(set(keys.values())) == len(keys)
    assert cache_key(**GROUNDS | {"asker": Asker("account:acme/ada"), "found": replace(FOUND)}) == same


def test_what_rests_on_an_earlier_revision_is_not_kept() -> None:
    """It would not be asked for any more, and may hold what was erased since."""
    answers, answer = AnswerCache(), CachedAnswer("ask", (), Draft(Outcome.ANSWERED, "It is."))
    answers.at(7)
    answers.put("a", answer, 7)
    answers.at(7)
    assert answers.get("a") is answer
    answers.at(8)
    assert answers.get("a") is None
    answers.put("b", answer, 7)  # begun before
    assert answers.get("b") is None

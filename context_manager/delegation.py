"""Whether an agent may act for an account, now: the graph decides, whoever made the agent's token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from context_manager.identity import agent_id
from graph.claims import entity_id
from graph.database import Database
from graph.organization_tuples import OrganizationTuples
from graph.rebac.evaluator import Request, Search
from graph.system_reads import is_disabled
from ontologies.authorization_model import AuthorizationModel

MayAct = Callable[[str, str], Awaitable[bool]]
"""Whether an agent, by the `sub` of its own tokens, may act for an account, by its id."""


def delegation_of(
    database: Database, model: AuthorizationModel, tuples: OrganizationTuples, namespace: str
) -> MayAct:
    """By the relation `may_act`, and while the agent's own account is not disabled.

    `namespace`: of the accounts of the issuer. An agent need not have an account there.
    """

    async def may_act(account: str, agent: str) -> bool:
        search = Search(Request(model, await tuples.index()), account)
        if search.value(agent_id(agent), "may_act") is not True:
            return False
        return not await is_disabled(database, entity_id("account", f"{namespace}/{agent}"))

    return may_act

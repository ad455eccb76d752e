"""What an account may do with stores of tuples, read at once with the store that it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from graph.claims import SourcePolicy
from graph.database import Database
from graph.tuple_store_records import Store, store_of
from graph.tuples import CONFIGURATION, live_scopes, native
from graph.visibility import ENABLED


@dataclass(frozen=True, slots=True)
class AccountStanding:
    enabled: bool
    """Whether the account exists and is not disabled."""
    administrator: bool
    """Whether it is enabled and the administrator's, as a source says that is not past its age."""
    store: Store | None
    """The store that was asked for, whoever may use it."""


async def account_standing(  # noqa: PLR0913, PLR0917  all are read in one query
    database: Database,
    policies: Mapping[str, SourcePolicy],
    account: str,
    administrator: str,
    store: str,
    now: datetime,
) -> AccountStanding:
    """As it is now: one read, nothing kept. `administrator` is the id of a person."""
    [record] = await database.read(
        """
        OPTIONAL MATCH (account:Account {id: $account})
        OPTIONAL MATCH (store:_TupleStore {id: $store}) WHERE store.deletedAt IS NULL
        RETURN """
        + ENABLED
        + """ AS enabled,
               properties(store) AS store,
               COLLECT {
                   MATCH (person:Person {id: $administrator})-[r:HAS_ACCOUNT|LINKED_ACCOUNT]->(account)
                   WHERE size(r.sources) > 0
                     AND coalesce(r.validFrom <= $now, true) AND coalesce($now < r.validTo, true)
                     AND coalesce(person.validFrom <= $now, true) AND coalesce($now < person.validTo, true)
                   UNWIND r.pages AS number
                   MATCH (c:_Page {number: number})
                   OPTIONAL MATCH (s:_Source {name: c.source, scope: c.scope})
                   RETURN [c.source, c.scope, s.completedAt]
               } AS vouching
        """,
        account=account,
        administrator=administrator,
        store=store,
        now=now,
    )
    completed = {(source, scope): native(at) for source, scope, at in record["vouching"] if at is not None}
    vouched = any(source == CONFIGURATION for source, _scope, _at in record["vouching"])
    vouched = vouched or bool(live_scopes(policies, completed, now))
    found = record["store"]
    return AccountStanding(
        record["enabled"], record["enabled"] and vouched, None if found is None else store_of(found)
    )

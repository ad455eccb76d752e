"""Questions about access: what a decision would do, who can see, what was decided, what changed for whom.

Each is for who may decide; who is not the administrator is told only of accounts that they may see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime

from context_manager.access_desk import AccessDesk, AccessRefused, Rights
from discovery.configuration import ConfigurationConnector, configuration_source
from discovery.connector import SourceError
from discovery.sources import OrganizationConfig
from graph.access_effects import AccessEffect, audience_sizes, effects, touched_audiences
from graph.access_entries import RELATIONSHIPS, AccessEntry, Kind, entries
from graph.access_history import AccessChange, HistoryError, access_changes
from graph.access_snapshot import AccessSnapshot, viewers
from graph.audiences import usersets
from graph.claims import RelationshipClaim
from graph.gate import may_grant
from graph.reads import Asker
from graph.rebac.relation_tuples import TupleKey, type_of
from graph.tuples import CONFIGURATION, bound
from ontologies import Ontology
from ontologies.authorization_model import ModelError, parse_dsl
from ontologies.check import check_model


async def preview_decision(
    desk: AccessDesk, asker: Asker, kind: Kind, subject: str, collection: str
) -> Sequence[AccessEffect]:
    """Who would gain and lose by a grant or a denial, were it in force. For who may decide it.

    This and all that follow raise AccessRefused, and AuditError.
    """
    rights = await desk.rights(asker)
    may = rights.may_take(collection) if kind == "denial" else rights.may_give(collection)
    if not may or not await desk.knows(rights, subject):
        raise await desk.refused(asker, "preview", subject, collection)
    added = _tuples(desk.ontology, [(subject, RELATIONSHIPS[kind], collection)])
    after = rights.snapshot.with_tuples(added=added)
    return await _effects(desk, rights, after, [collection])


async def preview_link(desk: AccessDesk, asker: Asker, person: str, account: str) -> Sequence[AccessEffect]:
    """Who would gain if the account were the person's. For who may decide it."""
    rights = await desk.rights(asker)
    if not rights.may_link(person, account) or not {
        await desk.knows(rights, person),
        await desk.knows(rights, account),
    } == {True}:
        raise await desk.refused(asker, "preview", person, account)
    after = rights.linked(person, account)
    return await _effects(desk, rights, after, rights.gained_by_link(person, account))


async def told_as_one(desk: AccessDesk, asker: Asker, kept: str, other: str) -> Sequence[str]:
    """The accounts that see both, and so would be told of them as one were they merged. Whether the asker
    may decide that was asked before."""
    rights = await desk.rights(asker)
    records = await desk.database.read(
        "UNWIND $ids AS id MATCH (n:Entity {id: id}) RETURN n.audience AS audience", ids=[kept, other]
    )
    seeing = await asyncio.to_thread(
        lambda: [set(viewers(rights.snapshot, record["audience"])) for record in records]
    )
    both = sorted(set.intersection(*seeing)) if len(seeing) == 2 else []
    told = await _told(desk, rights, both)
    return [account for account in both if account in told]


async def preview_ending(desk: AccessDesk, asker: Asker, id: str) -> Sequence[AccessEffect]:
    """Who would gain and lose if the entry were ended."""
    rights = await desk.rights(asker)
    found = [one for one in await entries(desk.database, ids=[id]) if one.kind not in {"disabling", "link"}]
    if not found or not rights.may_take(found[0].object):
        raise await desk.refused(asker, "preview", id)
    [entry] = found
    now = datetime.now(UTC)
    others = [
        one
        for one in await entries(desk.database, objects=[entry.object])
        if one.fact == entry.fact and one.id != id and one.state(now) == "standing"
    ]
    gone = (
        [] if others else _tuples(desk.ontology, [(entry.subject, RELATIONSHIPS[entry.kind], entry.object)])
    )
    said_elsewhere = set(_tuples(desk.ontology, await _also_said(desk, entry)))
    after = rights.snapshot.with_tuples(removed=set(gone) - said_elsewhere)
    return await _effects(desk, rights, after, [entry.object])


async def preview_configuration(desk: AccessDesk, asker: Asker) -> Sequence[AccessEffect]:
    """Who would gain and lose if `sources.toml` took effect as it is now. For the administrator.

    Raises ConfigurationError where the file cannot be used.
    """
    rights = await desk.rights(asker)
    if not rights.administrator:
        raise await desk.refused(asker, "preview of the configuration")
    was, will_be = (_configured(desk.ontology, one) for one in (desk.organization, desk.configured()))
    configuration = {
        by for scopes in rights.snapshot.vouched_by.values() for by in scopes if by[0] == CONFIGURATION
    }
    after = rights.snapshot.with_tuples(
        added=will_be - set(rights.snapshot.held),
        removed=(was - will_be) & rights.snapshot.alone(configuration),
    )
    return await _effects(desk, rights, after, {key.object for key in was ^ will_be})


async def preview_source(desk: AccessDesk, asker: Asker, name: str) -> Sequence[AccessEffect]:
    """Who would gain and lose if a source were crawled as it, its mapping and `sources.toml` are now.

    For the administrator. Nothing is written; what could not be read whole takes nothing away, and people
    who are not known yet are not told of. Raises ConfigurationError too.
    """
    rights = await desk.rights(asker)
    if not rights.administrator:
        raise await desk.refused(asker, "preview of a source")
    source = next((one for one in desk.configured().source if one.name == name), None)
    if source is None:
        raise AccessRefused(f"sources.toml has no source {name!r}")
    try:
        claims, whole = await desk.said(source)
    except SourceError as error:
        raise AccessRefused(f"the source {name!r} cannot be read: {error}") from error
    policy = source.policy()
    said = [
        (one.start, one.type, one.end)
        for one in claims
        if isinstance(one, RelationshipClaim) and may_grant(desk.ontology, policy, one)
    ]
    will_be = set(_tuples(desk.ontology, said))
    after = rights.snapshot.with_tuples(
        added=will_be - set(rights.snapshot.held),
        removed=rights.snapshot.alone({(name, scope) for scope in whole}) - will_be,
    )
    return await _effects(desk, rights, after, _places(rights.snapshot))


async def preview_model(desk: AccessDesk, asker: Asker, text: str) -> Sequence[AccessEffect]:
    """Who would gain and lose under another authorization model, in OpenFGA's DSL. For the administrator.

    AccessRefused says too what is wrong with the model, or where it does not fit the ontology.
    """
    rights = await desk.rights(asker)
    if not rights.administrator:
        raise await desk.refused(asker, "preview of a model")
    try:
        model = parse_dsl(text)
    except ModelError as error:
        raise AccessRefused(f"this is no authorization model: {error}") from error
    findings = check_model(desk.ontology, model)
    if findings:
        raise AccessRefused("the model does not fit the ontology: " + "; ".join(map(str, findings)))
    return await _effects(desk, rights, rights.snapshot.with_model(model), _places(rights.snapshot))


async def who_can_see(desk: AccessDesk, asker: Asker, id: str) -> Sequence[str]:
    """The enabled accounts that may view an entity, by name."""
    rights = await desk.rights(asker)
    records = await desk.database.read("MATCH (n:Entity {id: $id}) RETURN n.audience AS audience", id=id)
    audience: int | None = records[0]["audience"] if records else None
    expression = None if audience is None else rights.snapshot.audiences.get(audience)
    places = {userset.object for userset in usersets(expression)} if expression is not None else set()
    granted = bool(places) and all(rights.may_take(place) for place in places)
    if not records or not (rights.administrator or granted):
        raise await desk.refused(asker, "who can see", id)
    await desk.note(asker, "who can see", id)
    found = await asyncio.to_thread(viewers, rights.snapshot, audience)
    told = await _told(desk, rights, found)
    return [account for account in found if account in told]


async def decisions(
    desk: AccessDesk, asker: Asker, subject: str | None = None, collection: str | None = None
) -> Sequence[AccessEntry]:
    """What was decided by hand about what the asker may decide, oldest first; of disabled accounts only
    the administrator is told."""
    rights = await desk.rights(asker)
    mine = rights.snapshot.granted(asker.account, "can_grant", "collection")
    objects = None if collection is None else [collection]
    return [
        entry
        for entry in await entries(desk.database, subject=subject, objects=objects)
        if entry.object in mine or rights.administrator
    ]


async def changes_between(
    desk: AccessDesk, asker: Asker, after: int, until: int, collection: str | None
) -> Sequence[AccessChange]:
    """What changed for whom between two revisions: at a collection that the asker may decide about, or,
    for the administrator, everywhere. AccessRefused too where the outbox does not reach back."""
    rights = await desk.rights(asker)
    if not (rights.administrator or (collection is not None and rights.may_take(collection))):
        raise await desk.refused(asker, "changes", collection or "")
    await desk.note(asker, "changes", collection or "")
    objects = None if collection is None else [collection]
    try:
        return await access_changes(desk.database, desk.ontology, after, until, objects)
    except HistoryError as error:
        raise AccessRefused(str(error)) from error


async def _effects(
    desk: AccessDesk, rights: Rights, after: AccessSnapshot, collections: Collection[str]
) -> Sequence[AccessEffect]:
    await desk.note(rights.asker, "who gains and loses", *sorted(collections))
    touched = touched_audiences(rights.snapshot, after, collections)
    sizes = await audience_sizes(desk.database, touched, datetime.now(UTC))
    found = await asyncio.to_thread(effects, rights.snapshot, after, sizes)
    told = await _told(desk, rights, [effect.account for effect in found])
    return [effect for effect in found if effect.account in told]


def _places(snapshot: AccessSnapshot) -> Collection[str]:
    """All that access comes from."""
    return {place.object for tree in snapshot.audiences.values() for place in usersets(tree)}


async def _told(desk: AccessDesk, rights: Rights, accounts: Sequence[str]) -> Collection[str]:
    return accounts if rights.administrator else await desk.seen(rights.asker, accounts)


async def _also_said(desk: AccessDesk, entry: AccessEntry) -> list[tuple[str, str, str]]:
    """The relationships of sources that mean the same as the entry's."""
    meaning = "DENIED" if entry.restricts else "MAY_VIEW"
    records = await desk.database.read(
        "MATCH (:Entity {id: $start})-[r]->(:Entity {id: $end}) WHERE type(r) = $type RETURN 1",
        start=entry.subject,
        end=entry.object,
        type=meaning,
    )
    return [(entry.subject, meaning, entry.object)] if records else []


def _configured(ontology: Ontology, organization: OrganizationConfig) -> set[TupleKey]:
    """The tuples of collections that a configuration claims."""
    connector = ConfigurationConnector(organization, configuration_source(organization))
    said = [
        (claim.start, claim.type, claim.end)
        for scope in connector.scopes()
        for claim in connector.read(scope)
        if isinstance(claim, RelationshipClaim)
    ]
    return {key for key in _tuples(ontology, said) if type_of(key.object) == "collection"}


def _tuples(ontology: Ontology, relationships: Iterable[tuple[str, str, str]]) -> list[TupleKey]:
    found = (
        bound(binding, start, end)
        for start, type_, end in relationships
        for binding in ontology.bindings
        if binding.relationship == type_
    )
    return [key for key in found if key is not None]

"""OpenFGA's and AuthZEN's APIs put together on the organization's graph, and mounted."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from context_manager.at_least import AtLeast
from context_manager.authzen_api import add_authzen
from context_manager.core import Core
from context_manager.identity import Verifier
from context_manager.openfga_access import AuthorizationService
from context_manager.openfga_api import add_openfga
from context_manager.openfga_http import Askers
from context_manager.openfga_organization import Organization
from graph.organization_tuples import OrganizationTuples
from graph.reads import Reader
from graph.revision_token import RevisionTokens
from graph.tuple_stores import TupleStores


async def add_authorization_apis(  # noqa: PLR0913, PLR0917  what it composes
    app: web.Application,
    core: Core,
    reader: Reader,
    tuples: OrganizationTuples,
    verifier: Verifier,
    tokens: RevisionTokens,
    followed: Callable[[], int],
) -> None:
    """Add both APIs, once deletions of stores that were cut short are finished.

    `followed`: as `ServiceLease.followed`.
    """
    stores = TupleStores(core.database)
    await stores.finish_deletions()
    policies = {policy.name: policy for policy in core.policies}
    organization = Organization(
        core.organization.name,
        core.model,
        tuples,
        reader,
    )
    service = AuthorizationService(stores, organization, policies, core.organization.administrator, followed)
    askers = Askers(verifier, AtLeast(core.database, tokens))
    add_openfga(app, service, askers)  # first: routes are tried in their order
    add_authzen(app, service, askers)

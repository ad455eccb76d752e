"""The connectors by their names in sources.toml: ours, and those that other packages register."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points

from discovery import configuration
from discovery.connector import Connector, PositionLostError
from discovery.connectors import (
    bpmn,
    codeowners,
    dbt,
    documents,
    files,
    git_authors,
    github_actions,
    ldap,
    ldif,
    mapping,
    mesh_nodes,
    openapi,
    oscal,
    postgresql,
    rdf,
    scim,
    scim_push,
    sql,
)
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig
from graph.claims import Claim
from graph.tuples import CONFIGURATION

#: Group of entry points, `name = "package.module:connect"`, with `connect(organization, source)`.
GROUP = "orgraph.connectors"

CONNECTORS: Mapping[str, Callable[[OrganizationConfig, SourceConfig], Connector]] = {
    "bpmn": bpmn.connect,
    "codeowners": codeowners.connect,
    "dbt": dbt.connect,
    "files": files.connect,
    "git-authors": git_authors.connect,
    "github-actions": github_actions.connect,
    "ldap": ldap.connect,
    "ldif": ldif.connect,
    "mapping": mapping.connect,
    mesh_nodes.CONNECTOR: mesh_nodes.connect,
    "openapi": openapi.connect,
    "oscal": oscal.connect,
    "postgresql": postgresql.connect,
    "rdf": rdf.connect,
    "scim": scim.connect,
    "sql": sql.connect,
}


def nothing_pushed() -> scim_push.Resources:
    """For where nothing is pushed."""
    return scim_push.Resources((), 0)


def nothing_known(scope: str) -> Iterator[Claim]:
    """For where nobody knows what the graph holds."""
    raise PositionLostError(f"what {scope} said before is not known here")


def build(
    organization: OrganizationConfig,
    source: SourceConfig,
    known_names: Mapping[str, str],
    pushed: Callable[[], scim_push.Resources] = nothing_pushed,
    held: Callable[[str], Iterator[Claim]] = nothing_known,
) -> Connector:
    """The connector of a source; `known_names`, ids by full names, is for those that look into text,
    `pushed`, what is kept of pushes, for those that are pushed to, and `held`, what the source claims in a
    scope, for those that tell by it what a file that changed said before.

    Raises ConfigurationError for an unknown connector or options that are wrong.
    """
    if source.name == CONFIGURATION:
        return configuration.connect(organization, source)
    if source.connector == "documents":
        return documents.connect(organization, source, known_names, held)
    if source.connector == "scim-push":
        return scim_push.connect(organization, source, pushed)
    if source.connector in CONNECTORS:
        return CONNECTORS[source.connector](organization, source)
    return _registered(source)(organization, source)


def names() -> Sequence[str]:
    """Of all connectors."""
    return sorted(
        {*CONNECTORS, "documents", "scim-push", *(point.name for point in entry_points(group=GROUP))}
    )


def _registered(source: SourceConfig) -> Callable[[OrganizationConfig, SourceConfig], Connector]:
    """Ours come first: no package takes the place of one."""
    points = tuple(entry_points(group=GROUP, name=source.connector))
    if not points:
        raise ConfigurationError(
            f"source {source.name!r}: there is no connector {source.connector!r}; "
            f"there are: {', '.join(names())}"
        )
    connect = load_point(points)
    if not callable(connect):
        raise ConfigurationError(f"source {source.name!r}: {points[0].value} is no function to connect with")
    return connect


def load_point(points: Sequence[EntryPoint]) -> object:
    """What a package registered under a name. Raises ConfigurationError for two, or one that fails."""
    if len(points) > 1:
        packages = ", ".join(point.value for point in points)
        raise ConfigurationError(f"{points[0].name!r} is registered twice ({packages}); uninstall one")
    try:
        return points[0].load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{points[0].value} cannot be loaded: {error}; install it anew") from error

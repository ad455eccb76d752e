"""The connectors by their names in sources.toml."""

from __future__ import annotations

from collections.abc import Mapping

from discovery import configuration
from discovery.connector import Connector
from discovery.connectors import bpmn, codeowners, documents, ldif, mapping, sql
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig
from graph.tuples import CONFIGURATION

CONNECTORS = {
    "bpmn": bpmn.connect,
    "codeowners": codeowners.connect,
    "ldif": ldif.connect,
    "mapping": mapping.connect,
    "sql": sql.connect,
}


def build(
    organization: OrganizationConfig, source: SourceConfig, known_names: Mapping[str, str]
) -> Connector:
    """The connector of a source; `known_names`, ids by full names, is for those that look into text.

    Raises ConfigurationError for an unknown connector or options that are wrong.
    """
    if source.name == CONFIGURATION:
        return configuration.connect(organization, source)
    if source.connector == "documents":
        return documents.connect(organization, source, known_names)
    if source.connector not in CONNECTORS:
        known = ", ".join(sorted((*CONNECTORS, "documents")))
        raise ConfigurationError(
            f"source {source.name!r}: there is no connector {source.connector!r}; there are: {known}"
        )
    return CONNECTORS[source.connector](organization, source)

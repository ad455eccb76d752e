"""Under which versions of the ontology's modules the facts were written: a `_Module` each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neo4j import AsyncManagedTransaction

from graph.database import Database
from ontologies.ontology import Ontology


class OntologyVersionError(Exception):
    """The facts are of another version of the ontology; the message names modules and what to do."""


async def written_under(database: Database) -> Mapping[str, str]:
    """The version of each module, by its IRI."""
    records = await database.read("MATCH (m:_Module) RETURN m.iri AS iri, m.version AS version")
    return {record["iri"]: record["version"] for record in records}


async def check_versions(database: Database, ontology: Ontology) -> None:
    """Note the versions of new modules. Raises OntologyVersionError where one is another than noted."""
    written = await written_under(database)
    now = {module.iri: module.version for module in ontology.modules}
    differing = [
        f"{iri} {version} (this is {now[iri]})" if iri in now else f"{iri} {version} (it is not there)"
        for iri, version in sorted(written.items())
        if now.get(iri) != version
    ]
    if differing:
        raise OntologyVersionError(
            f"the graph was written under other versions of the ontology: {'; '.join(differing)}. Run "
            "`orgraph ontology migrate`, or use the files of the versions before"
        )
    await note_versions(database, {iri: now[iri] for iri in now.keys() - written.keys()})


async def note_versions(database: Database, versions: Mapping[str, str], gone: Sequence[str] = ()) -> None:
    """Say that the facts are of these versions; `gone` are the IRIs of modules that there are no facts of."""

    async def work(tx: AsyncManagedTransaction) -> None:
        await tx.run(
            "UNWIND $rows AS row MERGE (m:_Module {iri: row[0]}) SET m.version = row[1]",
            rows=[list(pair) for pair in sorted(versions.items())],
        )
        await tx.run("UNWIND $gone AS iri MATCH (m:_Module {iri: iri}) DELETE m", gone=list(gone))

    if versions or gone:
        await database.write_transaction(work)

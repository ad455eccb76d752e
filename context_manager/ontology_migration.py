"""Brings the facts to the ontology's present version: tried on a copy in another Neo4j, then for good."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack

from context_manager.core import Progress, configured, open_database
from context_manager.running import running_service
from context_manager.settings import Settings, SettingsError
from graph.database import Database, connect
from graph.database_copy import copy
from graph.migration import MigrationError, migrate
from graph.neo4j_server import embedded_neo4j
from graph.ontology_fit import problems
from graph.ontology_versions import note_versions, written_under
from ontologies import Ontology, load, load_shapes
from ontologies.migrations import Migration, chain, migrations
from ontologies.shapes import Shapes

Chains = Sequence[Sequence[Migration]]
"""Of each module that changed: the migrations to its present version."""


async def migrate_ontology(settings: Settings, progress: Progress, *, dry_run: bool) -> Chains:
    """What was carried out, or, of a dry run, tried. Goes on with what an earlier run left half-way.

    A module whose file is gone is forgotten, where no facts of it are left.

    Raises SettingsError beside a running service, OntologyError where no migration leads to the present
    version, MigrationError where the facts do not fit it afterwards; then they are as they were.
    """
    if running_service(settings.data_folder) is not None:
        raise SettingsError(f"an Orgraph serves on {settings.data_folder}: stop it, and start it afterwards")
    added = configured(settings).ontology_files()
    ontology, shapes, known = load(added), load_shapes(added), migrations(added)
    async with AsyncExitStack() as stack:
        _, database = await open_database(settings, stack, progress)
        written = await written_under(database)
        modules = {module.iri: module for module in ontology.modules}
        gone = sorted(written.keys() - modules.keys())
        chains = [
            chain(known, modules[iri], version, ontology)
            for iri, version in sorted(written.items())
            if iri in modules and version != modules[iri].version
        ]
        if chains:
            await _try(settings, database, shapes, chains, progress)
        elif gone and (left := await problems(database, shapes)):
            raise MigrationError(
                f"the file of the module {gone[0]} is not there, and facts of it are: {'; '.join(left)}. Put "
                "it back, drop its terms by a migration to a version without them, then take it away"
            )
        if not dry_run:
            await _carry_out(database, ontology, chains, progress)
            if chains or gone:
                await note_versions(database, {iri: module.version for iri, module in modules.items()}, gone)
        return chains


async def _try(
    settings: Settings, database: Database, shapes: Shapes, chains: Chains, progress: Progress
) -> None:
    """Raises MigrationError."""
    folder = settings.data_folder / "trial"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        async with (
            embedded_neo4j(folder, progress=progress) as server,
            connect(server.uri, server.auth) as trial,
        ):
            progress("copying the graph to try it")
            await copy(database, trial)
            await _carry_out(trial, shapes.ontology, chains, progress)
            progress("looking whether all facts fit")
            if found := await problems(trial, shapes):
                raise MigrationError("; ".join(found))
    except MigrationError as error:
        raise MigrationError(f"nothing was changed; tried on a copy: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _carry_out(database: Database, ontology: Ontology, chains: Chains, progress: Progress) -> None:
    for one in chains:
        await migrate(database, ontology, one, progress)

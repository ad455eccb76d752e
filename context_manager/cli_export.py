"""`orgraph export`: what a person may see of the graph, as RDF."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from context_manager.cli_support import AsOf, ValidAt, err, fail, instant, load_settings_or_exit, run
from context_manager.core import open_core
from context_manager.display import progress
from context_manager.settings import Settings
from graph.claims import entity_id
from graph.past import PastReadError, When
from graph.rdf.export import export
from graph.rdf.terms import FORMATS
from graph.reads import Asker, Reader
from graph.visibility import Authorizer


class Format(StrEnum):
    TURTLE = "turtle"
    N_TRIPLES = "nt"
    JSON_LD = "jsonld"


def export_command(
    person: Annotated[str, typer.Option("--as", help="Account name of the person who may see it.")],
    format: Annotated[Format, typer.Option("--format", help="Of the RDF.")] = Format.TURTLE,
    output: Annotated[Path | None, typer.Option(help="A file; standard output, without.")] = None,
    as_of: AsOf = None,
    valid_at: ValidAt = None,
) -> None:
    """Write all that a person may see as RDF, with who says it and when it holds."""

    when = When(instant(as_of), instant(valid_at))

    async def work(settings: Settings) -> int:
        with progress(err) as step:
            async with open_core(settings, step) as core:
                authorizer = Authorizer(core.database, core.ontology, core.model, core.policies)
                reader = Reader(core.database, core.ontology, authorizer)
                asker = Asker(entity_id("account", f"{core.organization.issuer}/{person}"))
                try:
                    with output.open("wb") if output else nullcontext(sys.stdout.buffer) as file:
                        return await export(reader, asker, core.ontology, FORMATS[format], file, when)
                except OSError as error:
                    fail(f"cannot write {output or 'standard output'}: {error.strerror}; free or correct it")

    try:
        written = run(work(load_settings_or_exit()))
    except PastReadError as error:
        fail(str(error))
    if not written:
        fail(f"{person} sees nothing: name an account of the directory that is enabled, or another instant")
    err.print(f"{written} entities")

"""OpenFGA's test matrix and sample stores as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from graph.rebac.relation_tuples import TupleKey
from ontologies.authorization_model import AuthorizationModel, parse_dsl, parse_modules

#: The numbers that the matrix has for OpenFGA's error codes.
ERROR_NUMBERS = {
    "validation_error": 2000,
    "authorization_model_resolution_too_complex": 2002,
    "type_not_found": 2021,
    "relation_not_found": 2022,
    "invalid_tuple": 2027,
}


def tuple_key(entry: Mapping[str, Any]) -> TupleKey:
    condition = entry.get("condition") or {}
    return TupleKey(
        entry["user"],
        entry["relation"],
        entry["object"],
        condition.get("name", ""),
        condition.get("context") or {},
    )


def tuple_keys(entries: list[Mapping[str, Any]] | None) -> list[TupleKey]:
    return [tuple_key(entry) for entry in entries or ()]


def matrix_stages(folder: Path) -> Iterator[tuple[str, AuthorizationModel, list[TupleKey], dict[str, Any]]]:
    """Each stage of the matrix: its test's name, its model, all tuples by then, the stage itself."""
    matrix = yaml.safe_load((folder / "openfga" / "consolidated_1_1_tests.yaml").read_text())
    for test in matrix["tests"]:
        held: list[TupleKey] = []
        for stage in test["stages"]:
            held = [*held, *tuple_keys(stage.get("tuples"))]
            yield test["name"], parse_dsl(stage["model"]), held, stage


def sample_stores(folder: Path) -> Iterator[tuple[str, AuthorizationModel, list[TupleKey], dict[str, Any]]]:
    """Each sample store: its file, its model, its tuples, the document."""
    stores = folder / "openfga-sample-stores" / "stores"
    for path in sorted(stores.rglob("*.fga.yaml")):
        document = yaml.safe_load(path.read_text())
        held = tuple_keys(document.get("tuples"))
        if "tuple_file" in document:
            held += tuple_keys(yaml.safe_load((path.parent / document["tuple_file"]).read_text()))
        yield str(path.relative_to(stores)), _model(path, document), held, document


def _model(path: Path, document: Mapping[str, Any]) -> AuthorizationModel:
    if "model" in document:
        return parse_dsl(document["model"], path.name)
    file = path.parent / document["model_file"]
    if file.name != "fga.mod":
        return parse_dsl(file.read_text(), file.name)
    manifest = yaml.safe_load(file.read_text())
    texts = {name: (file.parent / name).read_text() for name in manifest["contents"]}
    return parse_modules(manifest["schema"], texts)

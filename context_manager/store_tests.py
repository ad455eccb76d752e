"""OpenFGA's store test format (`.fga.yaml`): a model, tuples, and what must follow from them.

The format is that of OpenFGA's command line (github.com/openfga/cli, `fga model test`). Files that it
names lie beside it or below. Nothing but the files is used: no service, no graph.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from discovery.files import UnreadableError
from discovery.yaml_text import load_yaml
from graph.rebac.errors import RebacError
from graph.rebac.evaluator import Request, check
from graph.rebac.listing import list_objects, list_users
from graph.rebac.relation_tuples import TupleIndex, TupleKey
from graph.rebac.validation import validate_check, validate_tuple
from ontologies.authorization_model import (
    AuthorizationModel,
    ModelError,
    from_json,
    parse_dsl,
    parse_modules,
)


class StoreTestError(Exception):
    """The file cannot be run; the message names it, the place in it, and what was expected."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One assertion, and what came out."""

    test: str
    question: str
    expected: Any
    """A boolean, or a sorted list."""
    got: Any
    """The same, or the error as text."""

    @property
    def passed(self) -> bool:
        return bool(self.got == self.expected)


def run_store_tests(path: Path) -> list[Outcome]:
    """All assertions of the file, in its order. Raises StoreTestError."""
    document = _mapping(_yaml(path), f"{path}")
    model = _model(document, path)
    shared = _tuples(document, path, model)
    outcomes: list[Outcome] = []
    for number, test in enumerate(_list(document, "tests", f"{path}")):
        place = f"{path}: tests[{number}]"
        own = _tuples(_mapping(test, place), path, model)
        name = str(test.get("name", f"test {number + 1}"))
        outcomes += _run(test, name, model, TupleIndex((*shared, *own)), place)
    return outcomes


def _run(
    test: Mapping[str, Any], name: str, model: AuthorizationModel, index: TupleIndex, place: str
) -> Iterator[Outcome]:
    for kind, questions in (("check", _checks), ("list_objects", _objects), ("list_users", _users)):
        for number, entry in enumerate(_list(test, kind, place)):
            where = f"{place}.{kind}[{number}]"
            asked = _mapping(entry, where)
            context = _mapping(asked.get("context") or {}, f"{where}.context")
            request = Request(model, index, (), _plain(context), datetime.now(UTC))
            for question, expected, ask in questions(request, asked, where):
                yield Outcome(name, question, expected, _answer(ask))


Question = tuple[str, Any, Callable[[], Any]]
"""How it reads, what must come out, and how to ask it."""


def _checks(request: Request, asked: Mapping[str, Any], where: str) -> Iterator[Question]:
    for user in _names(asked, "user", "users", where):
        for object in _names(asked, "object", "objects", where):
            for relation, expected in _assertions(asked, where):

                def ask(user: str = user, relation: str = relation, object: str = object) -> bool:
                    validate_check(request.model, user, relation, object)
                    return check(request, user, relation, object)

                yield f"{user} {relation} {object}", bool(expected), ask


def _objects(request: Request, asked: Mapping[str, Any], where: str) -> Iterator[Question]:
    user, type_name = _name(asked, "user", where), _name(asked, "type", where)
    for relation, expected in _assertions(asked, where):

        def ask(relation: str = relation) -> list[str]:
            return sorted(list_objects(request, user, relation, type_name))

        yield f"objects of type {type_name} of which {user} is {relation}", sorted(expected or ()), ask


def _users(request: Request, asked: Mapping[str, Any], where: str) -> Iterator[Question]:
    object = _name(asked, "object", where)
    filters = [_mapping(entry, f"{where}.user_filter") for entry in _list(asked, "user_filter", where)]
    for relation, expected in _assertions(asked, where):
        wanted = _mapping(expected, f"{where}.assertions.{relation}").get("users") or ()

        def ask(relation: str = relation) -> list[str]:
            found: set[str] = set()
            for filter in filters:
                found.update(
                    list_users(
                        request, object, relation, _name(filter, "type", where), filter.get("relation", "")
                    )
                )
            return sorted(found)

        yield f"users that are {relation} of {object}", sorted(wanted), ask


def _answer(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except RebacError as error:
        return f"{error.code}: {error.message}"


# What the file says.


def _model(document: Mapping[str, Any], path: Path) -> AuthorizationModel:
    try:
        if "model" in document:
            return parse_dsl(str(document["model"]))
        if "model_file" not in document:
            raise StoreTestError(f"{path}: expected `model` or `model_file`")
        return read_model(_beside(path, document["model_file"]))
    except ModelError as error:
        raise StoreTestError(
            f"{path}: the model is not valid: {error.message} (line {error.line})"
        ) from error


def read_model(path: Path) -> AuthorizationModel:
    """A model from a file: `.json`, `fga.mod` (modules), or OpenFGA's DSL.

    Raises ModelError for what is no model, StoreTestError for what cannot be read.
    """
    if path.suffix == ".json":
        return from_json(_json(path))
    if path.suffix != ".mod":
        return parse_dsl(_text(path))
    listed = _mapping(_yaml(path), f"{path}")
    files = {str(name): _text(_beside(path, name)) for name in _list(listed, "contents", f"{path}")}
    return parse_modules(str(listed.get("schema", "")), files)


def _tuples(document: Mapping[str, Any], path: Path, model: AuthorizationModel) -> list[TupleKey]:
    entries = list(_list(document, "tuples", f"{path}"))
    named = [document["tuple_file"]] if document.get("tuple_file") else []
    for name in (*named, *_list(document, "tuple_files", f"{path}")):
        entries += _tuple_file(_beside(path, name))
    keys = []
    for number, entry in enumerate(entries):
        where = f"{path}: tuples[{number}]"
        stated = _mapping(entry, where)
        condition = _mapping(stated.get("condition") or {}, f"{where}.condition")
        key = TupleKey(
            _name(stated, "user", where),
            _name(stated, "relation", where),
            _name(stated, "object", where),
            str(condition.get("name", "")),
            _plain(_mapping(condition.get("context") or {}, f"{where}.condition.context")),
        )
        try:
            validate_tuple(model, key)
        except RebacError as error:
            raise StoreTestError(f"{where}: {error.message}") from error
        keys.append(key)
    return keys


def _tuple_file(path: Path) -> Sequence[Any]:
    if path.suffix == ".csv":
        return [_csv_tuple(row) for row in csv.DictReader(_text(path).splitlines())]
    found = _json(path) if path.suffix == ".json" else _yaml(path)
    if not isinstance(found, list):
        raise StoreTestError(f"{path}: expected a list of tuples")
    return found


def _csv_tuple(row: Mapping[str, str]) -> dict[str, Any]:
    """A row of OpenFGA's columns."""
    user = f"{row['user_type']}:{row['user_id']}"
    if row.get("user_relation"):
        user += f"#{row['user_relation']}"
    entry: dict[str, Any] = {
        "user": user,
        "relation": row["relation"],
        "object": f"{row['object_type']}:{row['object_id']}",
    }
    if row.get("condition_name"):
        entry["condition"] = {
            "name": row["condition_name"],
            "context": json.loads(row.get("condition_context") or "{}"),
        }
    return entry


def _beside(path: Path, name: object) -> Path:
    """A file that another names: in its folder or below."""
    folder = path.parent.resolve()
    found = (folder / str(name)).resolve()
    if not found.is_relative_to(folder):
        raise StoreTestError(f"{path}: {name}: expected a file in the same folder or below")
    return found


def _yaml(path: Path) -> Any:
    try:
        return load_yaml(_text(path))
    except UnreadableError as error:
        raise StoreTestError(f"{path}: {error}") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise StoreTestError(f"{path}: expected JSON: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreTestError(f"{path}: cannot be read: {error}") from error


def _plain(context: Mapping[str, Any]) -> Mapping[str, Any]:
    """Values as JSON has them: YAML makes instants of what looks like one."""
    plain: Mapping[str, Any] = json.loads(json.dumps(context, default=_instant))
    return plain


def _instant(value: object) -> str:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat().replace("+00:00", "Z")
    return str(value)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise StoreTestError(f"{where}: expected keys and values")
    return value


def _list(document: Mapping[str, Any], name: str, where: str) -> Sequence[Any]:
    value = document.get(name)
    if value is not None and not isinstance(value, list):
        raise StoreTestError(f"{where}: {name}: expected a list")
    return value or ()


def _name(document: Mapping[str, Any], name: str, where: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise StoreTestError(f"{where}: {name}: expected text")
    return value


def _names(document: Mapping[str, Any], one: str, many: str, where: str) -> list[str]:
    if many in document:
        return [_name({many: value}, many, where) for value in _list(document, many, where)]
    return [_name(document, one, where)]


def _assertions(document: Mapping[str, Any], where: str) -> Sequence[tuple[str, Any]]:
    return list(_mapping(document.get("assertions") or {}, f"{where}.assertions").items())

"""Migrations: how facts that were written under one version of a module become those of the next.

One TOML file each, in `migrations/` beside the module; forward only. Its steps say what became of terms.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ontologies.finding import Finding, OntologyError
from ontologies.modules import OURS
from ontologies.ontology import ROOT, Module, Ontology, OntologyClass, ValueProperty

Kind = Literal[
    "rename_class",
    "rename_value",
    "rename_relationship",
    "move_values",
    "drop_class",
    "drop_value",
    "drop_relationship",
]
Scalar = str | int | float | bool
_HEADER = {"module", "from", "to"}


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one term: a class or value by its name, a relationship by its type."""

    kind: Kind
    name: str
    to: str = ""
    """The name that it has then, or, of values that move, of the value where they go."""
    map: Mapping[Scalar, Scalar] = field(default_factory=dict)
    """Of values that move: what each becomes; others stay as they are."""

    @property
    def about(self) -> Literal["class", "value", "relationship"]:
        """What kind of term it is about."""
        if self.kind.endswith("class"):
            return "class"
        return "relationship" if self.kind.endswith("relationship") else "value"


@dataclass(frozen=True, slots=True)
class Migration:
    """From one version of a module to the next."""

    module: str
    before: str
    after: str
    steps: tuple[Step, ...]
    file: str


def migrations(added: Iterable[Path] = ()) -> tuple[Migration, ...]:
    """All that are beside our modules and the given files. Raises OntologyError."""
    folders = sorted({path.parent / "migrations" for path in (*OURS, *added)})
    findings: list[Finding] = []
    found = [
        one
        for folder in folders
        for path in sorted(folder.glob("*.toml"))
        if (one := _read(path, findings)) is not None
    ]
    if findings:
        raise OntologyError(tuple(findings))
    return tuple(found)


def chain(known: Sequence[Migration], module: Module, version: str, ontology: Ontology) -> list[Migration]:
    """The migrations that lead from a version to the module's own, checked. Raises OntologyError."""
    found: list[Migration] = []
    while version != module.version:
        nexts = [one for one in known if (one.module, one.before) == (module.iri, version)]
        if len(nexts) != 1 or nexts[0] in found:
            expected = (
                f"the graph was written under version {version}, this is {module.version}: "
                f"expected one migration from {version}, found {len(nexts)}"
            )
            action = f"write migrations/{version}-{module.version}.toml beside it, or use the version before"
            raise OntologyError((Finding(module.file, module.iri, expected, action),))
        found += nexts
        version = nexts[0].after
    if findings := tuple(_misfits(found, module, ontology)):
        raise OntologyError(findings)
    return found


def with_earlier_terms(ontology: Ontology, steps: Sequence[Step]) -> Ontology:
    """The ontology with the terms that the steps do away with, as far as facts under them are to be read."""
    classes, values = dict(ontology.classes), dict(ontology.values)
    for step in reversed(steps):
        if step.about == "class":
            later = classes.get(step.to) or OntologyClass(step.name, "", "", "", (ROOT,), "", abstract=False)
            classes.setdefault(step.name, replace(later, name=step.name, type=type_of_class(step.name)))
        elif step.about == "value":
            dropped = ValueProperty(step.name, "", "", "string", many=True, domain=frozenset())
            values.setdefault(step.name, replace(values.get(step.to, dropped), name=step.name))
    return replace(ontology, classes=classes, values=values)


def type_of_class(name: str) -> str:
    """The type of ids of a class."""
    return "".join(
        f"_{letter.lower()}"
        if letter.isupper() and at and (name[at - 1].islower() or name[at - 1].isdigit())
        else letter.lower()
        for at, letter in enumerate(name)
    )


def _read(path: Path, findings: list[Finding]) -> Migration | None:
    def wrong(expected: str, term: str = "") -> None:
        findings.append(Finding(path.name, term, f"expected {expected}", "correct the migration"))

    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        wrong(f"TOML: {error}")
        return None
    steps = content.pop("step", [])
    if content.keys() != _HEADER or not all(isinstance(value, str) for value in content.values()):
        wrong("module, from and to as texts, and [[step]] tables, and nothing else")
        return None
    if not isinstance(steps, list):
        wrong("[[step]] tables")
        return None
    made = [_step(one) for one in steps]
    for number, one in enumerate(made, start=1):
        if one is None:
            wrong(
                f"one of {', '.join(get_args(Kind))}, with `to` where it is renamed or moves, and `map` "
                "only of values that move",
                f"step {number}",
            )
        elif not one.map.keys().isdisjoint(one.map.values()):
            wrong("a map whose results it does not map again", f"step {number}")
    whole = tuple(one for one in made if one is not None)
    return Migration(content["module"], content["from"], content["to"], whole, path.name)


def _step(table: Any) -> Step | None:
    if not isinstance(table, dict):
        return None
    kinds = table.keys() & set(get_args(Kind))
    if len(kinds) != 1 or table.keys() - kinds - {"to", "map"}:
        return None
    [kind] = kinds
    name, to, mapped = table[kind], table.get("to", ""), table.get("map", {})
    if kind == "move_values":
        to = to or name
    texts = isinstance(name, str) and isinstance(to, str) and isinstance(mapped, dict)
    if not texts or bool(to) is kind.startswith("drop") or (mapped and kind != "move_values"):
        return None
    return Step(kind, name, to, mapped)


def _misfits(chain: Sequence[Migration], module: Module, ontology: Ontology) -> Iterable[Finding]:
    """Names that the module does not have afterwards, or that are not its own to change."""
    later = [(one.file, number, step) for one in chain for number, step in enumerate(one.steps, start=1)]
    for at, (file, number, step) in enumerate(later):
        terms: Mapping[str, Any] = {
            "class": ontology.classes,
            "value": ontology.values,
            "relationship": ontology.relationships,
        }[step.about]
        place = f"step {number}, {step.name}"
        after = {one.name for _, _, one in later[at + 1 :] if one.about == step.about}
        if step.name in terms and step.to != step.name:
            if not terms[step.name].iri.startswith(module.namespace):
                yield Finding(file, place, "expected a term of the module", "leave it to its own module")
            elif step.kind != "move_values" and step.name not in _made(later[at + 1 :], step.about):
                expected = f"expected a name that version {module.version} no longer has"
                yield Finding(file, place, expected, "remove the term from the module, or the step")
        if step.to and step.to not in after:
            if step.to not in terms:
                expected = f"expected `to` to name a {step.about} of the module, found {step.to}"
                yield Finding(file, place, expected, "correct the name")
            elif not terms[step.to].iri.startswith(module.namespace):
                yield Finding(file, place, "expected `to` to be a term of the module", "name one of its own")


def _made(later: Sequence[tuple[str, int, Step]], about: str) -> set[str]:
    """Names that later steps give: they may be taken again."""
    return {step.to for _, _, step in later if step.about == about}

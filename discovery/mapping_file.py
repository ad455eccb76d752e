"""Mapping files: how records become entities and relationships. The format is in docs/mapping.md."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from discovery.files import UnreadableError, read_text
from discovery.sources import ConfigurationError
from discovery.templates import Template, parse_template
from discovery.yaml_text import load_yaml

_Parsed = Annotated[
    Template, BeforeValidator(lambda text: parse_template(text) if isinstance(text, str) else text)
]
Id = Annotated[str, Field(pattern=r"^[a-z_]+:.")]
"""`type:` and a template of the key."""
Fields = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


_ALL = "**"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class ValueSpec(_Strict):
    """One value of an entity; exactly one of the first four."""

    field: str | None = None
    """A dotted path; a list there gives several values."""
    text: _Parsed | None = None
    join: tuple[_Parsed, ...] | None = None
    """Templates whose present ones are joined by `by`."""
    literal: str | int | float | bool | None = None
    by: str = " "
    type: Literal["string", "integer", "decimal", "boolean"] | None = Field(default=None, alias="as")

    @model_validator(mode="after")
    def _one(self) -> ValueSpec:
        if sum(x is not None for x in (self.field, self.text, self.join, self.literal)) != 1:
            raise ValueError("expected exactly one of field, text, join, literal")
        return self


def _value_spec(value: object) -> object:
    """A text with braces is a template, one without names a field; any other scalar is itself."""
    if isinstance(value, str):
        return {"text": value} if "{" in value else {"field": value}
    return value if isinstance(value, dict) else {"literal": value}


class RelationshipSpec(_Strict):
    type: Annotated[str, Field(pattern=r"^[A-Z][A-Z_]*$")]
    end: Id
    start: Id | None = None
    """The rule's entity if none is given."""
    each: str | None = None
    """A field with a list or a mapping: one relationship for each item, which is `_item` in the templates,
    its key in a mapping `_item_key`."""
    item: str | None = None
    """Of items that are mappings themselves, the field that is `_item`."""
    when: Fields = ()
    where: dict[str, _Parsed] = {}


class Rule(_Strict):
    files: str = _ALL
    """A glob: the files that it applies to."""
    each: str = ""
    when: Fields = ()
    required: Fields = ()
    where: dict[str, _Parsed] = {}
    id: Id | None = None
    class_name: str | None = Field(default=None, alias="class")
    values: dict[str, Annotated[ValueSpec, BeforeValidator(_value_spec)]] = {}
    relationship: tuple[RelationshipSpec, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Rule:
        if (self.class_name is None) != (not self.values):
            raise ValueError("expected both class and values, or neither")
        if self.class_name is not None and (self.id is None or "name" not in self.values):
            raise ValueError("an entity needs an id and a name among its values")
        if self.id is None and any(r.start is None for r in self.relationship):
            raise ValueError("a relationship needs a start where its rule has no id")
        return self


class LookupSpec(_Strict):
    """A table from the values of one field to a text made of the same record."""

    key: str
    value: _Parsed
    files: str = _ALL
    """A glob: the files that it is made of."""
    path: str | None = None
    """A file beside sources.toml; the source's own files if none is given."""
    each: str = ""
    prefer: str | None = None
    """Of records with equal keys, the first that has this field counts, else the first."""


class MappingFile(_Strict):
    rule: tuple[Rule, ...]
    lookup: dict[str, LookupSpec] = {}
    absent: tuple[str | bool, ...] = ()
    """What stands for no value (`none`, `TBD`, false)."""
    gather: str | None = None
    """A field: the documents of a file, and what any of them lists under it, are read as one list there."""

    def filters(self) -> str:
        """A digest of what keeps files and records out, in whatever order; empty where nothing does."""
        found = []
        for rule in self.rule:
            inner = [one for one in rule.relationship if one.when or one.where]
            if rule.files != _ALL or rule.when or rule.where:
                found.append(("rule", rule.id, rule.class_name, rule.files, *_filter(rule)))
            found += [
                ("relationship", rule.id, rule.files, one.type, one.end, *_filter(one)) for one in inner
            ]
        return hashlib.sha256(repr(sorted(map(repr, found))).encode()).hexdigest()[:12] if found else ""

    @model_validator(mode="after")
    def _lookups_exist(self) -> MappingFile:
        before: set[str] = set()
        for name, spec in self.lookup.items():
            _check_lookups(spec.value, before, f"lookup {name!r}")
            before.add(name)
        for number, rule in enumerate(self.rule, start=1):
            ids = [rule.id, *(i for r in rule.relationship for i in (r.start, r.end))]
            texts = [t for v in rule.values.values() for t in (v.text, *(v.join or ())) if t is not None]
            wheres = [
                t for where in (rule.where, *(r.where for r in rule.relationship)) for t in where.values()
            ]
            for template in (*map(parse_template, filter(None, ids)), *wheres, *texts):
                _check_lookups(template, before, f"rule {number}")
        return self


def _filter(spec: Rule | RelationshipSpec) -> tuple[object, ...]:
    return sorted(spec.when), sorted((field, repr(template)) for field, template in spec.where.items())


def _check_lookups(template: Template, known: set[str], place: str) -> None:
    if unknown := template.lookups() - known:
        raise ValueError(
            f"{place} uses lookups that are not declared before it: {', '.join(sorted(unknown))}"
        )


def load_mapping(path: Path) -> MappingFile:
    """Read a mapping file, TOML or YAML by its suffix. Raises ConfigurationError naming each wrong key."""
    try:
        text = read_text(path)
        raw: Any = tomllib.loads(text) if path.suffix == ".toml" else load_yaml(text)
        return MappingFile.model_validate(raw)
    except (UnreadableError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)
        )
        raise ConfigurationError(f"{path}: {problems}") from error

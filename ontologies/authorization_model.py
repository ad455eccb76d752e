"""The authorization model as plain values, and the parser of OpenFGA's DSL, schema 1.1.

The grammar is OpenFGA's (`OpenFGAParser.g4` of openfga/language): one kind of operator to a level,
parentheses to mix them, a direct type restriction only as the first operand. Conditions and modules
are refused. White space separates words and has no other meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True, slots=True)
class TypeRestriction:
    """What a direct relation takes as a user: `type`, `type#relation` or `type:*`."""

    type: str
    relation: str = ""
    wildcard: bool = False

    def __str__(self) -> str:
        return self.type + (f"#{self.relation}" if self.relation else ":*" if self.wildcard else "")


@dataclass(frozen=True, slots=True)
class Direct:
    """`[a, b#c, d:*]`: the users of the relation's own tuples."""

    restrictions: tuple[TypeRestriction, ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """`relation`: another relation of the same object."""

    relation: str


@dataclass(frozen=True, slots=True)
class TupleToUserset:
    """`relation from tupleset`: `relation` of the objects that `tupleset`'s tuples name."""

    relation: str
    tupleset: str


@dataclass(frozen=True, slots=True)
class Union:
    """`a or b`: in any of them; two or more."""

    children: tuple[Rewrite, ...]


@dataclass(frozen=True, slots=True)
class Intersection:
    """`a and b`: in all of them; two or more."""

    children: tuple[Rewrite, ...]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """`base but not subtract`."""

    base: Rewrite
    subtract: Rewrite


Rewrite = Direct | Computed | TupleToUserset | Union | Intersection | Exclusion


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """A type of objects and how each of its relations is derived."""

    name: str
    relations: Mapping[str, Rewrite]


@dataclass(frozen=True, slots=True)
class AuthorizationModel:
    """A model whose references all resolve. `types` is keyed by name, in the order written."""

    types: Mapping[str, TypeDefinition]

    def rewrite(self, type_name: str, relation: str) -> Rewrite:
        """How `relation` of objects of the type is derived. KeyError when there is no such."""
        return self.types[type_name].relations[relation]

    def has(self, type_name: str, relation: str) -> bool:
        return type_name in self.types and relation in self.types[type_name].relations


class ModelError(Exception):
    """The text is no model that Orgraph reads; the message names line, column and what was expected."""


def direct_restrictions(rewrite: Rewrite) -> tuple[TypeRestriction, ...]:
    """What the relation itself takes as users; empty when no tuple can be written to it."""
    match rewrite:
        case Direct(restrictions):
            return restrictions
        case Union(children) | Intersection(children):
            return direct_restrictions(children[0])
        case Exclusion(base, _):
            return direct_restrictions(base)
        case _:
            return ()


def parse_model(text: str, source: str = "model") -> AuthorizationModel:
    """Parse and resolve the DSL. `source` names the text in errors. Raises ModelError."""
    return _Parser(tuple(_tokens(text)), source).model()


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    line: int
    column: int


_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n\f]+)|(?P<comment>(?:(?<=\s)|\A)#[^\n]*)"
    # What has no meaning is a word of one character, and refused where the parser expects another.
    r"|(?P<word>but[ \t]+not(?![\w-])|[A-Za-z_](?:[/.-]?\w)*|\d+\.\d+|.)",
    re.ASCII,
)
_NAME = re.compile(r"[A-Za-z_](?:[/.-]?\w)*", re.ASCII)
_RESERVED = frozenset({"and", "or", "but", "not", "from", "with", "this", "self"})
_END = "the end of the text"
#: Deeper nesting is no rule that anybody can read, and would exhaust the stack.
_MAX_DEPTH = 50


def _tokens(text: str) -> Iterator[_Token]:
    line, line_start = 1, 0
    for match in _TOKEN.finditer(text):
        if match["word"]:
            yield _Token(" ".join(match["word"].split()), line, match.start() - line_start + 1)
        newlines = match[0].count("\n")
        if newlines:
            line += newlines
            line_start = match.start() + match[0].rindex("\n") + 1
    yield _Token(_END, line, len(text) - line_start + 1)


class _Parser:
    """Recursive descent. References are checked at the end, each where it was written."""

    def __init__(self, tokens: tuple[_Token, ...], source: str) -> None:
        self._tokens = tokens
        self._next = 0
        self._source = source
        self._references: list[tuple[_Token, str, Rewrite]] = []

    def model(self) -> AuthorizationModel:
        if self._peek().text == "module":
            self._fail("'model'", "modular models are not supported: write one model")
        self._expect("model")
        self._expect("schema")
        if self._peek().text != "1.1":
            self._fail("schema version '1.1'")
        self._next += 1
        types: dict[str, TypeDefinition] = {}
        while self._peek().text != _END:
            self._refuse_unsupported()
            self._expect("type")
            token = self._name("the name of a type")
            if token.text in types:
                self._fail_at(token, f"type {token.text!r} is defined twice; keep one definition")
            types[token.text] = TypeDefinition(token.text, self._relations(token.text))
        model = AuthorizationModel(types)
        for token, type_name, rewrite in self._references:
            problem = _unresolved(model, type_name, rewrite)
            if problem:
                self._fail_at(token, problem)
        return model

    def _relations(self, type_name: str) -> Mapping[str, Rewrite]:
        relations: dict[str, Rewrite] = {}
        if self._peek().text != "relations":
            return relations
        self._next += 1
        while self._peek().text == "define":
            self._next += 1
            token = self._name("the name of a relation")
            if token.text in relations:
                self._fail_at(token, f"relation {token.text!r} of {type_name!r} is defined twice; keep one")
            self._expect(":")
            relations[token.text] = self._expression(type_name, first=True, depth=0)
            if self._peek().text not in (_END, "define", "type"):
                self._refuse_unsupported()
                self._fail("an operator, 'define' or 'type'")
        if not relations:
            self._fail("'define'")
        return relations

    def _expression(self, type_name: str, *, first: bool, depth: int) -> Rewrite:
        children = [self._operand(type_name, first=first, depth=depth)]
        operator = self._peek().text
        while self._peek().text in ("or", "and", "but not"):
            if self._peek().text != operator or (operator == "but not" and len(children) == 2):
                self._fail("parentheses", "mix operators only with parentheses that say which binds first")
            self._next += 1
            children.append(self._operand(type_name, first=False, depth=depth))
        if len(children) == 1:
            return children[0]
        if operator == "but not":
            return Exclusion(*children)
        return Union(tuple(children)) if operator == "or" else Intersection(tuple(children))

    def _operand(self, type_name: str, *, first: bool, depth: int) -> Rewrite:
        token = self._peek()
        if token.text == "(":
            if depth == _MAX_DEPTH:
                self._fail_at(token, f"parentheses nest deeper than {_MAX_DEPTH}; make a part a relation")
            self._next += 1
            inner = self._expression(type_name, first=first, depth=depth + 1)
            self._expect(")")
            return inner
        rewrite: Rewrite
        if token.text == "[":
            if not first:
                self._fail("a relation", "a direct type restriction comes first in its relation, and once")
            rewrite = self._direct()
        else:
            relation = self._name("a relation, '(' or '['").text
            rewrite = Computed(relation)
            if self._peek().text == "from":
                self._next += 1
                rewrite = TupleToUserset(relation, self._name("a relation after 'from'").text)
        self._references.append((token, type_name, rewrite))
        return rewrite

    def _direct(self) -> Direct:
        self._expect("[")
        restrictions = [self._restriction()]
        while self._peek().text == ",":
            self._next += 1
            restrictions.append(self._restriction())
        if self._peek().text == "with":
            self._fail("',' or ']'", "conditions are not supported: remove 'with' and what follows it")
        if self._peek().text != "]":
            self._fail("',' or ']'")
        self._next += 1
        return Direct(tuple(restrictions))

    def _restriction(self) -> TypeRestriction:
        type_name = self._name("the name of a type").text
        if self._peek().text == "#":
            self._next += 1
            return TypeRestriction(type_name, self._name("a relation after '#'").text)
        if self._peek().text == ":":
            self._next += 1
            self._expect("*")
            return TypeRestriction(type_name, wildcard=True)
        return TypeRestriction(type_name)

    def _refuse_unsupported(self) -> None:
        word = self._peek().text
        if word == "condition":
            self._fail("'type'", "conditions are not supported: remove them")
        if word == "extend":
            self._fail("'type'", "modular models are not supported: write one model")

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _expect(self, word: str) -> None:
        if self._peek().text != word:
            self._fail(repr(word))
        self._next += 1

    def _name(self, what: str) -> _Token:
        token = self._peek()
        if token.text == _END or token.text in _RESERVED or not _NAME.fullmatch(token.text):
            self._fail(what)
        self._next += 1
        return token

    def _fail(self, expected: str, advice: str = "") -> NoReturn:
        token = self._peek()
        found = _END if token.text == _END else repr(token.text)
        self._fail_at(token, f"expected {expected}, found {found}" + (f"; {advice}" if advice else ""))

    def _fail_at(self, token: _Token, problem: str) -> NoReturn:
        raise ModelError(f"{self._source}, line {token.line}, column {token.column}: {problem}")


def _unresolved(model: AuthorizationModel, type_name: str, rewrite: Rewrite) -> str:
    """What the rewrite names and the model lacks; empty when it resolves."""
    match rewrite:
        case Direct(restrictions):
            problems = [_unresolved_restriction(model, restriction) for restriction in restrictions]
            return next(filter(None, problems), "")
        case Computed(relation):
            return _undefined(model, type_name, relation)
        case TupleToUserset(relation, tupleset):
            return _undefined(model, type_name, tupleset) or _wrong_tupleset(
                model, model.rewrite(type_name, tupleset), relation, tupleset
            )
        case _:
            return ""


def _undefined(model: AuthorizationModel, type_name: str, relation: str) -> str:
    if model.has(type_name, relation):
        return ""
    return f"type {type_name!r} has no relation {relation!r}; define it"


def _unresolved_restriction(model: AuthorizationModel, restriction: TypeRestriction) -> str:
    if restriction.type not in model.types:
        return f"expected a type that the model defines, found {restriction.type!r}"
    return _undefined(model, restriction.type, restriction.relation) if restriction.relation else ""


def _wrong_tupleset(model: AuthorizationModel, parents: Rewrite, relation: str, tupleset: str) -> str:
    if not isinstance(parents, Direct) or any(r.relation or r.wildcard for r in parents.restrictions):
        return f"{tupleset!r} stands after 'from', so it must be direct and list only types"
    if not any(model.has(r.type, relation) for r in parents.restrictions):
        return f"no type of {tupleset!r} has a relation {relation!r}; define it"
    return ""

"""Parser of OpenFGA's DSL: models of schema 1.1 and modules of schema 1.2.

The grammar is OpenFGA's (`OpenFGAParser.g4` of openfga/language): one kind of operator to a level,
parentheses to mix them, a direct type restriction only as the first operand, line breaks where they
stand there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from ontologies.authorization_model.dsl_tokens import (
    END,
    NAME,
    NEWLINE,
    SPACE,
    VERSION,
    Token,
    Tokens,
)
from ontologies.authorization_model.model import (
    PARAMETER_TYPES,
    AuthorizationModel,
    Computed,
    Condition,
    Direct,
    Exclusion,
    Intersection,
    ModelError,
    Origin,
    ParameterType,
    Rewrite,
    TupleToUserset,
    TypeDefinition,
    TypeRestriction,
    Union,
)
from ontologies.authorization_model.validation import validate

#: Deeper nesting is no rule that anybody can read, and would exhaust the stack.
_MAX_DEPTH = 50


def parse_dsl(text: str, source: str = "model") -> AuthorizationModel:
    """Parse and validate one model. `source` names the text in errors. Raises ModelError with the place."""
    parser = _Parser(text, source)
    version = parser.model_header()
    types: dict[str, TypeDefinition] = {}
    for parsed in parser.types(module=""):
        if parsed.extends:
            parser.fail_at(parsed.token, "extend can only be used in a modular model")
        if parsed.definition.name in types:
            parser.fail_at(
                parsed.token, f"type {parsed.definition.name!r} is defined twice; keep one definition"
            )
        types[parsed.definition.name] = parsed.definition
    conditions = {condition.name: condition for _, condition in parser.conditions(module="")}
    return _validated(AuthorizationModel(types, conditions, version), [parser])


def parse_modules(schema_version: str, files: Mapping[str, str]) -> AuthorizationModel:
    """Parse modules by file name, put them together and validate the model. Raises ModelError."""
    if schema_version != "1.2":
        raise ModelError(f"a modular model has schema version '1.2', not {schema_version!r}")
    types: dict[str, TypeDefinition] = {}
    conditions: dict[str, Condition] = {}
    extensions: list[tuple[_Parser, _ParsedType]] = []
    parsers = [_Parser(text, name) for name, text in files.items()]
    for parser in parsers:
        module = parser.module_header()
        extended: set[str] = set()
        for parsed in parser.types(module):
            definition = parsed.definition
            if parsed.extends:
                if definition.name in extended:
                    parser.fail_at(parsed.token, f"{definition.name!r} is already extended in file")
                extended.add(definition.name)
                extensions.append((parser, parsed))
            elif definition.name in types:
                parser.fail_at(parsed.token, f"duplicate type definition {definition.name}")
            else:
                types[definition.name] = definition
        for token, condition in parser.conditions(module):
            if condition.name in conditions:
                parser.fail_at(token, f"duplicate condition {condition.name}")
            conditions[condition.name] = condition
    for parser, parsed in extensions:
        types[parsed.definition.name] = _extended(parser, parsed, types)
    return _validated(AuthorizationModel(types, conditions, schema_version), parsers)


def _validated(model: AuthorizationModel, parsers: Iterable[_Parser]) -> AuthorizationModel:
    """Validate, and say of an error where the thing it is about was written."""
    try:
        return validate(model)
    except ModelError as error:
        for parser in parsers:
            if error.about in parser.places:
                parser.fail_at(parser.places[error.about], error.message, error.about)
        raise


@dataclass(frozen=True, slots=True)
class _ParsedType:
    definition: TypeDefinition
    token: Token
    extends: bool


def _extended(parser: _Parser, parsed: _ParsedType, types: Mapping[str, TypeDefinition]) -> TypeDefinition:
    added = parsed.definition
    base = types.get(added.name)
    if base is None:
        parser.fail_at(parsed.token, f"extended type {added.name} does not exist")
    for relation in added.relations:
        if relation in base.relations:
            token = parser.places[f"{added.name}#{relation}"]
            parser.fail_at(token, f"relation {relation} already exists on type {added.name}")
    return TypeDefinition(
        base.name,
        {**base.relations, **added.relations},
        base.origin,
        {**base.origins, **dict.fromkeys(added.relations, added.origin)},
    )


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, source: str) -> None:
        self._tokens = Tokens(text)
        self._source = source
        #: Where each type, `type#relation` and condition is defined.
        self.places: dict[str, Token] = {}

    def model_header(self) -> str:
        self._header("model")
        self._expect_kind(NEWLINE, "a line break after 'model'")
        self._expect("schema")
        self._expect_kind(SPACE)
        if self._tokens.next.kind != VERSION:
            self._fail("a schema version")
        if self._tokens.next.text not in ("1.1", "1.2"):
            self._fail("schema version '1.1' or '1.2'")
        version = self._tokens.take().text
        self._skip(SPACE)
        return version

    def module_header(self) -> str:
        self._header("module")
        self._expect_kind(SPACE)
        module = self._name("the name of the module").text
        self._skip(SPACE)
        return module

    def types(self, module: str) -> list[_ParsedType]:
        """All types, up to the first condition."""
        origin = Origin(module, self._source) if module else Origin()
        found: list[_ParsedType] = []
        while self._after_newline("type", "extend"):
            self._tokens.take()
            extends = self._tokens.next.text == "extend"
            if extends:
                self._tokens.take()
                self._expect_kind(SPACE)
            self._expect("type")
            self._expect_kind(SPACE)
            token = self._name("the name of a type")
            self.places.setdefault(token.text, token)
            definition = TypeDefinition(token.text, self._relations(token.text), origin)
            found.append(_ParsedType(definition, token, extends))
        return found

    def conditions(self, module: str) -> list[tuple[Token, Condition]]:
        """All conditions, up to the end of the text."""
        origin = Origin(module, self._source) if module else Origin()
        found: dict[str, tuple[Token, Condition]] = {}
        while self._after_newline("condition"):
            self._tokens.take()
            self._expect("condition")
            self._expect_kind(SPACE)
            token = self._name("the name of a condition")
            if token.text in found:
                self.fail_at(token, f"condition {token.text!r} is already defined in the model")
            self.places[token.text] = token
            parameters = self._parameters(token.text)
            found[token.text] = (token, Condition(token.text, parameters, self._cel(), origin))
        self._skip(SPACE)
        self._skip(NEWLINE)
        if self._tokens.next.kind != END:
            self._fail("'condition'" if found else "'type', 'condition', 'define' or an operator")
        return list(found.values())

    def _header(self, word: str) -> None:
        self._skip(SPACE)
        self._skip(NEWLINE)
        self._expect(word)

    def _relations(self, type_name: str) -> Mapping[str, Rewrite]:
        relations: dict[str, Rewrite] = {}
        if not self._after_newline("relations"):
            return relations
        self._tokens.take()
        self._tokens.take()
        while self._after_newline("define"):
            self._tokens.take()
            self._tokens.take()
            self._expect_kind(SPACE)
            token = self._name("the name of a relation")
            if token.text in relations:
                self.fail_at(token, f"{token.text!r} is already defined in {type_name!r}; keep one")
            self._skip(SPACE)
            self._expect(":")
            self._skip(SPACE)
            self.places[f"{type_name}#{token.text}"] = token
            relations[token.text] = self._definition(first=True, depth=0)
        if not relations:
            self._skip(NEWLINE)
            self._fail("'define'")
        return relations

    def _definition(self, *, first: bool, depth: int) -> Rewrite:
        children = [self._operand(first=first, depth=depth)]
        operator = ""
        while True:
            space, following = self._tokens.ahead(2)
            if space.kind != SPACE or following.text not in ("or", "and", "but not"):
                break
            self._tokens.take()
            if operator and (following.text != operator or operator == "but not"):
                self._fail("parentheses", "mix operators only with parentheses that say which binds first")
            operator = self._tokens.take().text
            self._expect_kind(SPACE)
            children.append(self._operand(first=False, depth=depth))
        if not operator:
            return children[0]
        if operator == "but not":
            return Exclusion(*children)
        return Union(tuple(children)) if operator == "or" else Intersection(tuple(children))

    def _operand(self, *, first: bool, depth: int) -> Rewrite:
        token = self._tokens.next
        if token.text == "(":
            if depth == _MAX_DEPTH:
                self.fail_at(token, f"parentheses nest deeper than {_MAX_DEPTH}; make a part a relation")
            self._tokens.take()
            self._skip(SPACE)
            inner = self._definition(first=first, depth=depth + 1)
            self._skip(SPACE)
            self._expect(")")
            return inner
        if token.text == "[":
            if not first:
                self._fail("a relation", "a direct type restriction comes first in its relation, and once")
            return self._direct()
        relation = self._name("a relation, '(' or '['").text
        if [ahead.text for ahead in self._tokens.ahead(2)][1] == "from":
            self._expect_kind(SPACE)
            self._tokens.take()
            self._expect_kind(SPACE)
            return TupleToUserset(relation, self._name("a relation after 'from'").text)
        return Computed(relation)

    def _direct(self) -> Direct:
        restrictions: list[TypeRestriction] = []
        while self._tokens.next.text != "]":
            if restrictions and self._tokens.next.text != ",":
                self._fail("',' or ']'")
            self._tokens.take()
            self._skip(SPACE)
            self._skip(NEWLINE)
            restrictions.append(self._restriction())
            self._skip(NEWLINE)
            self._skip(SPACE)
        self._tokens.take()
        return Direct(tuple(restrictions))

    def _restriction(self) -> TypeRestriction:
        type_name = self._name("the name of a type").text
        relation, wildcard, condition = "", False, ""
        if self._tokens.next.text == "#":
            self._tokens.take()
            relation = self._name("a relation after '#'").text
        elif self._tokens.next.text == ":":
            self._tokens.take()
            self._expect("*")
            wildcard = True
        if [ahead.text for ahead in self._tokens.ahead(2)][1] == "with":
            self._expect_kind(SPACE)
            self._tokens.take()
            self._expect_kind(SPACE)
            condition = self._name("the name of a condition").text
        return TypeRestriction(type_name, relation, wildcard, condition)

    def _parameters(self, condition: str) -> Mapping[str, ParameterType]:
        parameters: dict[str, ParameterType] = {}
        self._skip(SPACE)
        self._expect("(")
        while not parameters or self._tokens.next.text == ",":
            if parameters:
                self._tokens.take()
            self._skip(SPACE)
            self._skip(NEWLINE)
            token = self._name("the name of a parameter")
            if token.text in parameters:
                self.fail_at(
                    token, f"parameter {token.text!r} is already defined in the condition {condition!r}"
                )
            self._skip(SPACE)
            self._expect(":")
            self._skip(SPACE)
            parameters[token.text] = self._parameter_type()
            self._skip(SPACE)
        self._skip(NEWLINE)
        self._expect(")")
        return parameters

    def _parameter_type(self) -> ParameterType:
        token = self._tokens.next
        if token.text not in PARAMETER_TYPES:
            self._fail("a parameter type: " + ", ".join(PARAMETER_TYPES))
        self._tokens.take()
        if not PARAMETER_TYPES[token.text]:
            return ParameterType(token.text)
        self._expect("<")
        element = self._parameter_type()
        self._expect(">")
        return ParameterType(token.text, element)

    def _cel(self) -> str:
        self._skip(SPACE)
        if self._tokens.next.text != "{":
            self._fail("'{'")
        opening = self._tokens.take()
        expression = self._tokens.take_expression()
        if expression is None:
            self.fail_at(opening, "expected '}' after the expression, found the end of the text")
        self._tokens.take()
        return expression.strip()

    def _after_newline(self, *words: str) -> bool:
        newline, word = self._tokens.ahead(2)
        return newline.kind == NEWLINE and word.text in words

    def _skip(self, kind: str) -> None:
        if self._tokens.next.kind == kind:
            self._tokens.take()

    def _expect(self, word: str) -> None:
        if self._tokens.next.text != word:
            self._fail(repr(word))
        self._tokens.take()

    def _expect_kind(self, kind: str, what: str = "") -> None:
        if self._tokens.next.kind != kind:
            self._fail(what or kind)
        self._tokens.take()

    def _name(self, what: str) -> Token:
        if self._tokens.next.kind != NAME:
            self._fail(what)
        return self._tokens.take()

    def _fail(self, expected: str, advice: str = "") -> NoReturn:
        token = self._tokens.next
        found = repr(token.text) if token.kind not in (END, NEWLINE, SPACE) else token.kind
        self.fail_at(token, f"expected {expected}, found {found}" + (f"; {advice}" if advice else ""))

    def fail_at(self, token: Token, problem: str, about: str = "") -> NoReturn:
        line, column = self._tokens.place(token)
        message = f"{self._source}, line {line}, column {column}: {problem}"
        raise ModelError(message, about=about, line=line, column=column)

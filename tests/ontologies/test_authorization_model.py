"""OpenFGA's DSL is read as OpenFGA reads it; what Orgraph does not know is refused, with its place."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ontologies import ModelError, load_authorization
from ontologies.authorization_model import (
    Computed,
    Direct,
    Exclusion,
    Intersection,
    TupleToUserset,
    TypeRestriction,
    Union,
    direct_restrictions,
    from_json,
    parse_dsl,
    to_dsl,
    to_json,
)

HEAD = "model\n  schema 1.1\ntype user\ntype folder\n  relations\n    define owner: [user]\n"


def relation(definition: str) -> object:
    """The rewrite of `document#viewer` where it is defined so."""
    text = (
        f"{HEAD}type document\n  relations\n    define parent: [folder]\n    define a: [user]\n"
        f"    define b: [user]\n    define c: [user]\n    define viewer: {definition}\n"
    )
    return parse_dsl(text).rewrite("document", "viewer")


@pytest.mark.parametrize(
    ("definition", "rewrite"),
    [
        (
            "[user, folder#owner, user:*]",
            Direct(
                (
                    TypeRestriction("user"),
                    TypeRestriction("folder", "owner"),
                    TypeRestriction("user", wildcard=True),
                )
            ),
        ),
        ("a", Computed("a")),
        ("owner from parent", TupleToUserset("owner", "parent")),
        ("a or b or c", Union((Computed("a"), Computed("b"), Computed("c")))),
        ("a and b", Intersection((Computed("a"), Computed("b")))),
        ("a but not b", Exclusion(Computed("a"), Computed("b"))),
        (
            "([user] or owner from parent) but not (a and b)",
            Exclusion(
                Union((Direct((TypeRestriction("user"),)), TupleToUserset("owner", "parent"))),
                Intersection((Computed("a"), Computed("b"))),
            ),
        ),
        ("[\n      user, # a person\n      folder#owner\n    ]", None),
    ],
)
def test_each_rewrite_is_read(definition: str, rewrite: object) -> None:
    expected = rewrite or Direct((TypeRestriction("user"), TypeRestriction("folder", "owner")))
    assert relation(definition) == expected


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("[user with late]", "line 13, column 12: condition late is undefined for relation viewer"),
        ("a or b and c", "line 13, column 27: expected parentheses, found 'and'"),
        ("a but not b but not c", "expected parentheses, found 'but not'"),
        ("a or [user]", "expected a relation, found '\\['; a direct type restriction comes first"),
        ("(a or b", "expected '\\)', found the end of the text"),
        ("a b", "expected 'type', 'condition', 'define' or an operator, found 'b'"),
        ("a or", "expected a space, found the end of the text"),
        ("a or\n b", "line 13, column 24: expected a space, found a line break"),
        ("a or or", "expected a relation, '\\(' or '\\[', found 'or'"),
        ("[user", "expected ',' or '\\]'"),
        ("[]", "expected the name of a type, found '\\]'"),
        ("[robot]", "the relation type 'robot' on 'viewer' in object type 'document' is not valid"),
        ("[folder#reader]", "the relation type 'folder#reader' on 'viewer' in object type 'document'"),
        ("d", "line 13, column 12: 'document#d' relation is undefined"),
        ("viewer", "the definition of relation 'viewer' in object type 'document' is invalid"),
        ("owner from place", "'document#place' relation is undefined"),
        ("owner from viewer", "'document#viewer' relation is referenced in at least one tupleset"),
        ("reader from parent", "reader does not appear as a relation in any of the directly related"),
        ("a || b", "line 13, column 22: expected 'type', 'condition', 'define' or an operator, found '\\|'"),
        ("(" * 60 + "a" + ")" * 60, "parentheses nest deeper than 50"),
    ],
)
def test_an_error_names_the_place_and_what_was_expected(definition: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        relation(definition)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, column 1: expected 'model', found the end of the text"),
        ("module core\n", "line 1, column 1: expected 'model', found 'module'"),
        ("model\n  schema 1.0\n", "line 2, column 10: expected schema version '1.1' or '1.2', found '1.0'"),
        (HEAD + "extend type user\n", "line 7, column 13: extend can only be used in a modular model"),
        (HEAD + "condition late(t: day) {\n  t > 1\n}\n", "line 7, column 19: expected a parameter type"),
        (HEAD + "condition late(t: int) {\n  t > 1\n", "column 24: expected '}' after the expression"),
        (HEAD + "type user\n", "line 7, column 6: type 'user' is defined twice"),
        (HEAD + "    define owner: [user]\n", "'owner' is already defined in 'folder'"),
        (HEAD + "type x\n  relations\ntype y\n", "line 9, column 1: expected 'define', found 'type'"),
        (HEAD + "type and\n", "expected the name of a type, found 'and'"),
    ],
)
def test_a_text_that_is_no_model_is_refused(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse_dsl(text)


def models_of_others(shared_data: Path) -> Iterator[tuple[str, str]]:
    """OpenFGA's test matrix and its sample stores: a name and the text of a model."""
    matrix = yaml.safe_load((shared_data / "openfga" / "consolidated_1_1_tests.yaml").read_text())
    for test in matrix["tests"]:
        for number, stage in enumerate(test["stages"]):
            yield f"{test['name']}, stage {number}", stage["model"]
    stores = shared_data / "openfga-sample-stores" / "stores"
    for path in sorted(stores.rglob("*.fga")):
        yield path.name, path.read_text()
    for path in sorted(stores.rglob("*.fga.yaml")):
        document = yaml.safe_load(path.read_text())
        if "model" in document:
            yield path.name, document["model"]


def test_the_models_of_others_are_read_written_and_read_again(shared_data: Path) -> None:
    """All models of OpenFGA's matrix and sample stores, by the DSL and by JSON, unchanged."""
    read = 0
    for name, text in models_of_others(shared_data):
        if text.lstrip().startswith("module"):
            continue
        model = parse_dsl(text, name)
        assert to_json(from_json(to_json(model))) == to_json(model), name
        assert to_dsl(parse_dsl(to_dsl(model))) == to_dsl(model) == to_dsl(from_json(to_json(model))), name
        read += 1
    assert read == 188


def test_our_own_model_lets_a_denial_win() -> None:
    model = load_authorization()
    assert model.rewrite("collection", "viewer") == Exclusion(
        Union((Computed("reader"), TupleToUserset("viewer", "parent"))), Computed("denied")
    )
    assert {str(r) for r in direct_restrictions(model.rewrite("group", "member"))} == {
        "person#account",
        "group#member",
    }

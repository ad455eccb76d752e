"""OpenFGA's DSL is read as OpenFGA reads it; what Orgraph does not know is refused, with its place."""

import re
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
    parse_model,
)

HEAD = "model\n  schema 1.1\ntype user\ntype folder\n  relations\n    define owner: [user]\n"


def relation(definition: str) -> object:
    """The rewrite of `document#viewer` where it is defined so."""
    text = (
        f"{HEAD}type document\n  relations\n    define parent: [folder]\n    define a: [user]\n"
        f"    define b: [user]\n    define c: [user]\n    define viewer: {definition}\n"
    )
    return parse_model(text).rewrite("document", "viewer")


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
            "([user] or owner from parent) but  not (a and b)",
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
        ("[user with late]", "line 13, column 26: .*conditions are not supported"),
        ("a or b and c", "line 13, column 27: expected parentheses, found 'and'"),
        ("a but not b but not c", "expected parentheses, found 'but not'"),
        ("a or [user]", "expected a relation, found '\\['; a direct type restriction comes first"),
        ("(a or b", "expected '\\)', found the end of the text"),
        ("a b", "expected an operator, 'define' or 'type', found 'b'"),
        ("a or", "expected a relation, '\\(' or '\\[', found the end of the text"),
        ("[user", "expected ',' or '\\]'"),
        ("[]", "expected the name of a type, found '\\]'"),
        ("[robot]", "expected a type that the model defines, found 'robot'"),
        ("[folder#reader]", "type 'folder' has no relation 'reader'; define it"),
        ("d", "line 13, column 20: type 'document' has no relation 'd'"),
        ("owner from place", "type 'document' has no relation 'place'"),
        ("owner from viewer", "'viewer' stands after 'from', so it must be direct"),
        ("reader from parent", "no type of 'parent' has a relation 'reader'"),
        ("a || b", "line 13, column 22: expected an operator, 'define' or 'type', found '\\|'"),
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
        ("module core\n", "modular models are not supported"),
        ("model\n  schema 1.2\n", "line 2, column 10: expected schema version '1.1', found '1.2'"),
        (HEAD + "extend type user\n", "modular models are not supported"),
        (
            HEAD + "condition late(t: timestamp) {\n  t > 1\n}\n",
            "line 7, column 1: .*conditions are not supported",
        ),
        (HEAD + "type user\n", "line 7, column 6: type 'user' is defined twice"),
        (HEAD + "    define owner: [user]\n", "relation 'owner' of 'folder' is defined twice"),
        (HEAD + "type x\n  relations\ntype y\n", "line 9, column 1: expected 'define', found 'type'"),
        (HEAD + "type and\n", "expected the name of a type, found 'and'"),
    ],
)
def test_a_text_that_is_no_model_is_refused(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse_model(text)


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


def test_the_models_of_others_are_read(shared_data: Path) -> None:
    """Of 192 models, all 177 that use neither conditions nor modules; the others are refused by line."""
    read = refused = 0
    for name, text in models_of_others(shared_data):
        without_comments = re.sub(r"(^|\s)#.*", "", text)
        if re.search(r"\bwith\b|^\s*(condition|module|extend)\b", without_comments, re.MULTILINE):
            with pytest.raises(ModelError, match=f"^{re.escape(name)}, line \\d+.* not supported"):
                parse_model(text, name)
            refused += 1
        else:
            parse_model(text, name)
            read += 1
    assert (read, refused) == (177, 15)


def test_our_own_model_lets_a_denial_win() -> None:
    model = load_authorization()
    assert model.rewrite("collection", "viewer") == Exclusion(
        Union((Computed("reader"), TupleToUserset("viewer", "parent"))), Computed("denied")
    )
    assert {str(r) for r in direct_restrictions(model.rewrite("group", "member"))} == {
        "person#account",
        "group#member",
    }

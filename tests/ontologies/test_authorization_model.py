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
    parse_modules,
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


CORE = "module core\n\ntype user\ntype organization\n  relations\n    define member: [user]\n"
WIKI = """module wiki

extend type organization
  relations
    define can_create_space: member

type space
  relations
    define organization: [organization]
    define viewer: [user with open] or member from organization

condition open(hour: int) {
  hour < 18
}
"""


def test_modules_become_one_model_that_knows_where_each_thing_was_written() -> None:
    model = parse_modules("1.2", {"core.fga": CORE, "wiki.fga": WIKI})
    assert set(model.types["organization"].relations) == {"member", "can_create_space"}
    document = to_json(model)
    organization = next(entry for entry in document["type_definitions"] if entry["type"] == "organization")
    assert organization["metadata"]["module"] == "core"
    assert organization["metadata"]["source_info"] == {"file": "core.fga"}
    added = organization["metadata"]["relations"]["can_create_space"]
    assert (added["module"], added["source_info"]["file"]) == ("wiki", "wiki.fga")
    assert "module" not in organization["metadata"]["relations"]["member"]
    assert document["conditions"]["open"]["metadata"]["module"] == "wiki"
    assert to_json(from_json(document)) == document
    assert to_dsl(model).startswith("model\n  schema 1.2\n\ntype organization\n")


@pytest.mark.parametrize(
    ("wiki", "message"),
    [
        ("module wiki\ntype user\n", "wiki.fga, line 2, column 6: duplicate type definition user"),
        ("module wiki\nextend type page\n", "wiki.fga, line 2, column 13: extended type page does not exist"),
        (
            "module wiki\nextend type organization\n  relations\n    define member: [user]\n",
            "wiki.fga, line 4, column 12: relation member already exists on type organization",
        ),
        (
            "module wiki\nextend type user\nextend type user\n",
            "wiki.fga, line 3, column 13: 'user' is already extended in file",
        ),
        (
            "module wiki\ntype page\n  relations\n    define reader: [robot]\n",
            "wiki.fga, line 4, column 12: the relation type 'robot' on 'reader'",
        ),
        ("model\n  schema 1.2\ntype page\n", "wiki.fga, line 1, column 1: expected 'module', found 'model'"),
    ],
)
def test_an_error_in_a_module_names_its_file(wiki: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse_modules("1.2", {"core.fga": CORE, "wiki.fga": wiki})


def test_modules_are_of_schema_1_2() -> None:
    with pytest.raises(ModelError, match=r"schema version '1\.2'"):
        parse_modules("1.1", {"core.fga": CORE})


THIS = {"this": {}}
USERS = {"directly_related_user_types": [{"type": "user"}]}


def document(relations: dict[str, object], **described: object) -> dict[str, object]:
    """A model in JSON with the type `document`; relations take users unless `described` says otherwise."""
    metadata = {"relations": {**dict.fromkeys(relations, USERS), **described}}
    types = [{"type": "user"}, {"type": "document", "relations": relations, "metadata": metadata}]
    return {"schema_version": "1.1", "type_definitions": types}


def computed(relation: str) -> dict[str, object]:
    return {"computedUserset": {"relation": relation}}


@pytest.mark.parametrize(
    ("written", "code", "message"),
    [
        ({}, "type_definitions_too_few_items", "at least 1 item"),
        ([], "validation_error", "expected an object"),
        ({"type_definitions": "x"}, "validation_error", "expected a list"),
        ({**document({}), "schema_version": "1.0"}, "invalid_authorization_model", "invalid schema version"),
        ({**document({}), "schema_version": "3"}, "validation_error", "invalid schema version"),
        ({"schema_version": "1.1", "type_definitions": [{"type": "a:b"}]}, "type_invalid_pattern", "a:b"),
        (
            {"schema_version": "1.1", "type_definitions": [{"type": "a"}] * 2},
            "invalid_authorization_model",
            "duplicate",
        ),
        (document({"a b": THIS}), "relations_invalid_pattern", "a b"),
        (document({"self": THIS}), "invalid_authorization_model", "reserved keywords"),
        (document({"v": {}}), "invalid_authorization_model", "invalid userset rewrite definition"),
        (document({"v": {"difference": {"base": THIS}}}), "subtract_base_missing_value", "required"),
        (
            document({"v": {"union": {"child": [THIS]}}}),
            "invalid_authorization_model",
            "less than 2 children",
        ),
        (document({"v": THIS}, v={}), "invalid_authorization_model", "at least one relation type"),
        (document({"w": THIS, "v": computed("w")}), "invalid_authorization_model", "should not contain"),
        (document({"v": computed("v")}, v={}), "invalid_authorization_model", "invalid userset rewrite"),
        (
            document({"a": computed("b"), "b": computed("a")}, a={}, b={}),
            "invalid_authorization_model",
            "potential loop",
        ),
        (
            document({v: {"union": {"child": [THIS, computed(w)]}} for v, w in ("ab", "ba")}),
            "invalid_authorization_model",
            "cannot contain a cycle",
        ),
        (
            document({"v": THIS}, v={"directly_related_user_types": [{"type": "document", "relation": "v"}]}),
            "invalid_authorization_model",
            "no entrypoints defined",
        ),
        (
            document({"v": THIS}, v={"directly_related_user_types": [{"type": "user", "condition": "late"}]}),
            "invalid_authorization_model",
            "condition late is undefined",
        ),
        (
            document({"v": THIS}, v={"directly_related_user_types": [{"type": "user", "relation": ""}]}),
            "invalid_authorization_model",
            "empty relation reference",
        ),
    ],
)
def test_a_document_that_is_no_valid_model_is_refused_with_openfgas_code(
    written: object, code: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as refused:
        from_json(written)
    assert refused.value.code == code


def test_a_large_model_is_validated_in_no_more_than_its_size_asks() -> None:
    """Each relation is reached over many ways; none is followed twice."""
    definitions = ["    define r0: [user]\n    define r1: [user]\n"]
    definitions += [f"    define r{i}: r{i - 1} and r{i - 2}\n" for i in range(2, 200)]
    model = parse_dsl("model\n  schema 1.1\ntype user\ntype document\n  relations\n" + "".join(definitions))
    assert len(model.types["document"].relations) == 200


def test_comments_and_empty_lines_mean_nothing() -> None:
    text = "# a model\nmodel # here\n  schema 1.1\n\n  # types\ntype user # people\n\ntype a/b.c-d # odd\n  relations\n"
    text += "    # who reads\n    define x-y: [user] # readers\n"
    assert parse_dsl(text).has("a/b.c-d", "x-y")

"""Check means what OpenFGA means by it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from graph.authorization import Authorization, AuthorizationError, RelationTuple, Subject, permits
from ontologies.authorization_model import parse_dsl

GROUPS = """
model
  schema 1.1
type user
type group
  relations
    define member: [user, user:*, group#member]
type folder
  relations
    define parent: [folder]
    define denied: [user, group#member] or denied from parent
    define reader: [user, group#member] or reader from parent
    define viewer: reader but not denied
    define both: reader and denied
"""


def tuples(*texts: str) -> list[RelationTuple]:
    return [RelationTuple(*text.split(" ")) for text in texts]


def groups(*texts: str, suspended: tuple[str, ...] = ()) -> Authorization:
    return Authorization(parse_dsl(GROUPS), tuples(*texts), tuples(*suspended))


def test_a_thousand_nested_groups_reach_their_innermost_member() -> None:
    chain = [f"group:{i} member group:{i + 1}#member" for i in range(1_000)]
    authorization = groups(*chain, "group:1000 member user:ada")
    assert authorization.check("user:ada", "member", "group:0")
    assert not authorization.check("user:eve", "member", "group:0")


def test_a_cycle_is_false_and_hides_no_other_way() -> None:
    cycle = ("group:a member group:b#member", "group:b member group:a#member")
    assert not groups(*cycle).check("user:ada", "member", "group:a")
    authorization = groups(*cycle, "group:a member user:ada")
    for order in itertools.permutations(["group:a", "group:b"]):
        subject = Subject(authorization, "user:ada")
        assert all(subject.has("member", group) for group in order)


def test_a_cycle_below_an_exclusion_denies() -> None:
    authorization = groups(
        "folder:x reader user:ada",
        "folder:x denied group:a#member",
        "group:a member group:b#member",
        "group:b member group:a#member",
    )
    assert authorization.check("user:ada", "reader", "folder:x")
    assert not authorization.check("user:ada", "viewer", "folder:x")


def test_a_suspended_tuple_grants_nothing_and_lifts_no_denial() -> None:
    grant = groups(suspended=("folder:x reader user:ada",))
    assert not grant.check("user:ada", "viewer", "folder:x")
    membership = groups(
        "folder:x reader user:ada",
        "folder:x denied group:a#member",
        suspended=("group:a member user:ada",),
    )
    assert not membership.check("user:ada", "viewer", "folder:x")
    parent = groups(
        "folder:x reader user:ada",
        "folder:top denied user:ada",
        suspended=("folder:x parent folder:top",),
    )
    assert not parent.check("user:ada", "viewer", "folder:x")


def test_one_live_claim_outweighs_a_suspended_one() -> None:
    both = groups("folder:x reader user:ada", suspended=("folder:x reader user:ada",))
    assert both.check("user:ada", "viewer", "folder:x")


def test_tuples_that_the_model_does_not_permit_grant_nothing() -> None:
    assert not groups("folder:x reader user:*").check("user:ada", "reader", "folder:x")
    assert not groups("folder:x viewer user:ada").check("user:ada", "viewer", "folder:x")
    assert not groups("folder:x reader folder:y#reader", "folder:y reader user:ada").check(
        "user:ada", "reader", "folder:x"
    )


@pytest.mark.parametrize(
    ("user", "relation", "object"),
    [
        ("user:ada", "owner", "folder:x"),
        ("user:ada", "reader", "document:x"),
        ("robot:r2", "reader", "folder:x"),
        ("group:a#owner", "reader", "folder:x"),
    ],
)
def test_a_check_without_meaning_in_the_model_is_an_error(user: str, relation: str, object: str) -> None:
    with pytest.raises(AuthorizationError):
        groups().check(user, relation, object)


@pytest.mark.shared_data
def test_the_consolidated_matrix_of_openfga(shared_data: Path) -> None:
    """All cases but those with conditions, and one chain that OpenFGA finds too complex and we do not."""
    ran, failed = 0, []
    matrix = yaml.safe_load((shared_data / "openfga" / "consolidated_1_1_tests.yaml").read_text())
    for case in matrix["tests"]:
        held: list[RelationTuple] = []
        for stage in case["stages"]:
            if "condition" in stage["model"]:
                break
            model = parse_dsl(stage["model"])
            held += [_tuple(entry) for entry in stage.get("tuples") or ()]
            authorization = Authorization(model, held)
            for assertion in stage.get("checkAssertions") or ():
                if assertion.get("errorCode") == 2002:
                    continue
                key = assertion["tuple"]
                contextual = [_tuple(entry) for entry in assertion.get("contextualTuples") or ()]
                if any(not permits(model, entry) for entry in contextual):
                    continue  # refused when written, by whoever binds relationships
                ran += 1
                expected = "error" if "errorCode" in assertion else assertion["expectation"]
                asked = Authorization(model, held + contextual) if contextual else authorization
                found: bool | str
                try:
                    found = asked.check(key["user"], key["relation"], key["object"])
                except AuthorizationError:
                    found = "error"
                if found != expected:
                    failed.append((case["name"], key, expected, found))
            for listing, objects in _listings(stage, held):
                ran += 1
                subject = listing["request"]
                found_objects = {
                    o for o in objects if authorization.check(subject["user"], subject["relation"], o)
                }
                if found_objects != set(listing["expectation"] or ()):
                    failed.append((case["name"], subject, listing["expectation"], str(found_objects)))
    assert failed == []
    assert ran >= 597


def _listings(stage: dict[str, Any], held: list[RelationTuple]) -> Iterator[tuple[dict[str, Any], set[str]]]:
    for listing in stage.get("listObjectsAssertions") or ():
        if "errorCode" in listing or listing.get("contextualTuples"):
            continue
        prefix = listing["request"]["type"] + ":"
        named = {name.partition("#")[0] for entry in held for name in (entry.object, entry.user)}
        asker = listing["request"]["user"].partition("#")[0]
        yield listing, {name for name in {*named, asker} if name.startswith(prefix) and name[-2:] != ":*"}


@pytest.mark.shared_data
def test_the_sample_stores_of_openfga(shared_data: Path) -> None:
    ran, failed = 0, []
    for path in sorted((shared_data / "openfga-sample-stores" / "stores").rglob("*.fga.yaml")):
        store = yaml.safe_load(path.read_text())
        text = store.get("model") or _read(path.parent / store.get("model_file", ""))
        if text is None or "condition" in text:
            continue
        model = parse_dsl(text, path.name)
        held = list(map(_tuple, store.get("tuples") or ()))
        for test in store.get("tests") or ():
            authorization = Authorization(model, [*held, *map(_tuple, test.get("tuples") or ())])
            for check in test.get("check") or ():
                for user, object in itertools.product(_each(check, "user"), _each(check, "object")):
                    for relation, expected in check["assertions"].items():
                        ran += 1
                        if authorization.check(user, relation, object) != expected:
                            failed.append((str(path.parent.name), user, relation, object, expected))
    assert failed == []
    assert ran >= 156


def _each(check: dict[str, Any], key: str) -> list[str]:
    several = check.get(f"{key}s")
    return list(several) if several else [check[key]]


def _read(path: Path) -> str | None:
    return path.read_text() if path.suffix == ".fga" and path.is_file() else None


def _tuple(entry: dict[str, str]) -> RelationTuple:
    return RelationTuple(entry["object"], entry["relation"], entry["user"])

"""`orgraph model test` runs OpenFGA's store tests, from files alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from context_manager.cli import app
from context_manager.store_tests import StoreTestError, run_store_tests

STORE = """
model: |
  model
    schema 1.1
  type user
  type doc
    relations
      define viewer: [user, user with small]
      define owner: [user]
  condition small(x: int) {
    x < 10
  }
tuple_files: [more.json, rows.csv]
tuples:
  - {user: "user:ada", relation: viewer, object: "doc:1"}
tests:
  - name: everything
    tuples:
      - {user: "user:eve", relation: viewer, object: "doc:1", condition: {name: small}}
    check:
      - users: ["user:ada", "user:bo"]
        objects: ["doc:1", "doc:2"]
        assertions: {viewer: true}
      - user: user:eve
        object: doc:1
        context: {x: 3}
        assertions: {viewer: true, owner: false}
    list_objects:
      - {user: "user:ada", type: doc, assertions: {viewer: ["doc:2", "doc:1"], owner: []}}
    list_users:
      - object: doc:1
        user_filter: [{type: user}]
        context: {x: 30}
        assertions: {viewer: {users: ["user:ada", "user:bo"]}}
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "more.json").write_text(
        json.dumps([{"user": "user:ada", "relation": "viewer", "object": "doc:2"}])
    )
    (tmp_path / "rows.csv").write_text(
        "user_type,user_id,user_relation,relation,object_type,object_id,condition_name,condition_context\n"
        'user,bo,,viewer,doc,1,,\nuser,bo,,viewer,doc,2,small,"{""x"": 1}"\n'
    )
    path = tmp_path / "store.fga.yaml"
    path.write_text(STORE)
    return path


def test_each_assertion_is_asked(store: Path) -> None:
    outcomes = run_store_tests(store)
    assert [outcome for outcome in outcomes if not outcome.passed] == []
    assert len(outcomes) == 9


def test_the_command_tells_what_fails_and_ends_with_1(store: Path) -> None:
    passed = CliRunner().invoke(app, ["model", "test", str(store), "--json"])
    assert (passed.exit_code, json.loads(passed.output)) == (0, {"passed": 9, "failed": []})
    store.write_text(STORE.replace("owner: false", "owner: true"))
    failed = CliRunner().invoke(app, ["model", "test", str(store), "--json"])
    assert failed.exit_code == 1
    assert json.loads(failed.output) == {
        "passed": 8,
        "failed": [
            {"test": "everything", "question": "user:eve owner doc:1", "expected": True, "got": False}
        ],
    }
    shown = CliRunner().invoke(app, ["model", "test", str(store)])
    assert "8 of 9 assertions hold." in shown.output


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("define owner: [user]", "define owner: [nobody]", "the model is not valid"),
        ("[user, user with small]", "[user]", "Invalid tuple"),
        ("more.json", "../more.json", "in the same folder or below"),
        ("more.json", "absent.json", "cannot be read"),
        ("tests:", "tests: 5\nrest:", "expected a list"),
        ("user: user:eve\n", "user: 5\n", "expected text"),
        ("model: |", "modell: |", "expected `model` or `model_file`"),
        ("tests:", "tests: [", "expected YAML"),
    ],
)
def test_a_file_that_cannot_be_run_says_where_and_why(store: Path, old: str, new: str, said: str) -> None:
    assert old in STORE
    store.write_text(STORE.replace(old, new))
    with pytest.raises(StoreTestError, match=said.replace("(", r"\(")) as error:
        run_store_tests(store)
    assert str(store.parent) in str(error.value)


def test_an_error_is_no_answer(store: Path) -> None:
    store.write_text(STORE.replace("context: {x: 3}", "context: {}"))
    wrong = [outcome for outcome in run_store_tests(store) if not outcome.passed]
    assert [outcome.question for outcome in wrong] == ["user:eve viewer doc:1"]
    assert wrong[0].got.startswith("validation_error: ")


@pytest.mark.shared_data
def test_openfgas_sample_stores_pass_whole(shared_data: Path) -> None:
    files = sorted((shared_data / "openfga-sample-stores" / "stores").rglob("*.fga.yaml"))
    outcomes = [(file.name, outcome) for file in files for outcome in run_store_tests(file)]
    assert [(name, outcome) for name, outcome in outcomes if not outcome.passed] == []
    assert (len(files), len(outcomes)) == (32, 363)

"""OSCAL, GitHub Actions, OpenAPI and dbt: what their files say, and what broken ones do not."""

import json

import pytest

CONNECTORS = ("dbt", "github-actions", "openapi", "oscal")


@pytest.fixture
def read(say, tmp_path):
    """What a connector says of one file."""

    def go(connector, document, name="x.json"):
        text = document if isinstance(document, str) else json.dumps(document)
        (tmp_path / name).write_text(text)
        return say(tmp_path, connector, {"path": name}, name="s")

    return go


def test_the_moderate_baseline_is_read_with_all_its_controls(say, shared_data, tmp_path):
    said = say(tmp_path, "oscal", {"path": f"{shared_data}/oscal/*.json"}, name="nist")
    assert said.problems == []
    controls = {id_: c for id_, c in said.entities.items() if id_.startswith("policy:nist/control/")}
    assert len(controls) == 287
    assert controls["policy:nist/control/ac-1"].values["name"] == "AC-1 Policy and Procedures"
    statement = said.entities["passage:nist/control/ac-2.1/statement-1"].values
    assert statement["heading"] == "Access Control > Account Management > statement"
    assert statement["text"].startswith("Support the management of system accounts using [")
    assert not [c.id for c in said.of("Passage") if "insert: param" in str(c.values["text"])]
    plan = "document:nist/ssp-example.json"
    assert "Enterprise Logging and Auditing System" in said.entities[plan].values["name"]
    [passage] = [
        p for p in said.of("Passage") if p.id.startswith("passage:nist/ssp") and p.values["heading"] == "au-1"
    ]
    assert (passage.id, "policy:nist/control/au-1") in said.typed("REFERS_TO")
    assert "The legal department develops" in passage.values["text"]
    assert ("policy:nist/control/ac-2", "policy:nist/control/ac-3") in said.typed("REFERS_TO")


def test_a_profile_refers_to_the_controls_that_it_chooses(read):
    profile = {
        "metadata": {"title": "Ours"},
        "imports": [{"include-controls": [{"with-ids": ["ac-1", "ac-2"]}]}],
    }
    said = read("oscal", {"profile": profile})
    assert said.typed("REFERS_TO") == {("policy:s/x.json", f"policy:s/control/ac-{n}") for n in (1, 2)}


def test_what_a_profile_sets_adds_and_leaves_out_is_kept(read):
    """As FedRAMP's do with the controls of NIST."""
    prose = {"name": "guidance", "prose": "Review logs weekly."}
    profile = {
        "metadata": {"title": "Ours"},
        "imports": [
            {
                "include-controls": [{"with-ids": ["au-2", "au-6", "ac-1"]}],
                "exclude-controls": [{"with-ids": ["ac-1"]}],
            }
        ],
        "modify": {
            "set-parameters": [{"param-id": "au-6_prm_1", "values": ["weekly"]}],
            "alters": [
                {"control-id": "au-6", "adds": [{"position": "ending", "parts": [prose]}]},
                {"control-id": "au-2", "adds": [{"props": [{"name": "response-point"}]}]},
            ],
        },
    }
    said = read("oscal", {"profile": profile})
    assert said.problems == []
    texts = {claim.id: claim.values["text"] for claim in said.of("Passage")}
    assert texts == {
        "passage:s/x.json/Parameters-1": "au-6_prm_1: weekly",
        "passage:s/x.json/au-6-1": "Review logs weekly.",
    }
    assert said.typed("REFERS_TO") == {
        ("policy:s/x.json", "policy:s/control/au-2"),
        ("policy:s/x.json", "policy:s/control/au-6"),
        ("passage:s/x.json/au-6-1", "policy:s/control/au-6"),
    }
    assert ("policy:s/x.json", "passage:s/x.json/au-6-1") in said.typed("HAS_PASSAGE")


@pytest.mark.parametrize(
    "chosen", [{"include-all": {}}, {"include-controls": [{"matching": [{"pattern": "ac-*"}]}]}]
)
def test_what_a_profile_chooses_without_naming_it_is_said(read, chosen):
    said = read("oscal", {"profile": {"metadata": {"title": "Ours"}, "imports": [chosen]}})
    [problem] = said.problems
    assert problem.place == "x.json import 1"
    assert "resolve the profile" in problem.message


WORKFLOW = """\
name: Release
on: {push: {branches: [main]}, workflow_dispatch: }
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
    - uses: actions/checkout@v4
    - name: Compile
      run: make all TOKEN=abc123
    - run: |
        curl -H "Authorization: Bearer abc123" https://x.example
  deploy:
    needs: build
    environment: {name: production}
    steps: [{run: ./deploy}]
  late:
    needs: [deploy, nowhere]
    uses: ./.github/workflows/other.yml
"""


def test_a_workflow_is_a_process_of_jobs_and_steps(read):
    said = read("github-actions", WORKFLOW, "release.yml")
    assert [problem.place for problem in said.problems] == ["release.yml job late"]
    build, deploy = "activity:s/release.yml/build", "activity:s/release.yml/deploy"
    assert said.entities["process:s/release.yml"].values["name"] == "Release"
    follows = said.typed("FOLLOWED_BY")
    assert {
        ("process_event:s/release.yml/on/push", build),
        ("process_event:s/release.yml/on/workflow_dispatch", build),
        (build, deploy),
        (f"{build}/1", f"{build}/2"),
    } <= follows
    assert (f"{build}/2", build) in said.typed("PART_OF_ACTIVITY")
    assert said.entities[deploy].values["description"] == "Deploys to the environment production."
    assert [said.entities[f"{build}/{n}"].values["name"] for n in (1, 2, 3)] == [
        "actions/checkout@v4",
        "Compile",
        "Run curl",
    ]
    assert "abc123" not in repr(said)


OPENAPI = {
    "openapi": "3.1.0",
    "info": {"title": "Claims", "version": "2", "description": "What is claimed."},
    "paths": {"/claims/{id}": {"get": {"summary": "One claim"}, "parameters": []}},
    "components": {
        "schemas": {
            "Person": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}},
            "Claim": {
                "allOf": [{"$ref": "#/components/schemas/Person"}],
                "properties": {
                    "of": {"type": "array", "items": {"$ref": "#/components/schemas/Person"}},
                    "day": {"type": ["string", "null"], "format": "date", "description": "When."},
                    "any": True,
                },
            },
        }
    },
}


def test_schemas_of_an_api_are_tables_with_the_properties_that_they_are_composed_of(read):
    said = read("openapi", OPENAPI)
    assert said.problems == []
    assert said.entities["dataset:s/x"].values == {
        "name": "Claims",
        "version": "2",
        "path": "x.json",
        "description": "What is claimed.\nGET /claims/{id}: One claim",
    }
    columns = {end: said.entities[end].values for _, end in said.typed("HAS_COLUMN") if "/Claim/" in end}
    assert {id_.rpartition("/")[2]: v.get("dataType") for id_, v in columns.items()} == {
        "id": "integer",
        "of": "array of Person",
        "day": "string (date)",
        "any": None,
    }
    assert columns["column:s/x/Claim/id"]["nullable"] is False


def test_a_schema_within_itself_is_said(read):
    itself = {"allOf": [{"$ref": "#/components/schemas/A"}]}
    said = read("openapi", {"openapi": "3", "components": {"schemas": {"A": itself}}})
    assert "within itself" in said.problems[0].message


MANIFEST = {
    "metadata": {"project_name": "shop"},
    "sources": {"source.shop.raw": {"resource_type": "source", "name": "raw", "schema": "landing"}},
    "nodes": {
        "model.shop.orders": {
            "resource_type": "model",
            "name": "orders",
            "database": "db",
            "schema": "mart",
            "alias": "orders",
            "description": "One row an order.",
            "config": {"materialized": "table"},
            "columns": {"id": {"name": "id", "data_type": "int", "description": "Key."}},
            "depends_on": {"nodes": ["operation.shop.step", "test.shop.t", "gone"]},
        },
        "operation.shop.step": {"resource_type": "operation", "depends_on": {"nodes": ["source.shop.raw"]}},
        "test.shop.t": {"resource_type": "test", "name": "t", "depends_on": {"nodes": ["model.shop.orders"]}},
    },
}


def test_models_are_tables_derived_from_those_below(read):
    said = read("dbt", MANIFEST)
    assert said.problems == []
    assert said.typed("DERIVED_FROM") == {("table:s/model.shop.orders", "table:s/source.shop.raw")}
    assert said.entities["table:s/model.shop.orders"].values == {
        "name": "orders",
        "description": "One row an order.",
        "dataType": "table",
        "location": "db.mart.orders",
    }
    assert said.entities["column:s/model.shop.orders/id"].values["dataType"] == "int"


@pytest.mark.parametrize("connector", CONNECTORS)
@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        '"text"',
        {"catalog": 7, "jobs": 7, "openapi": 7, "nodes": 7, "info": []},
        {
            "catalog": {"controls": [7]},
            "jobs": {"a": 7},
            "openapi": "3",
            "components": {"schemas": {"A": 7}},
            "nodes": {"a": 7},
        },
        {
            "catalog": {"controls": [{"id": "a", "title": {}}]},
            "jobs": {"a": {"steps": {"x": 1}}},
            "openapi": "3",
            "components": {"schemas": {"A": {"properties": {"x": 7}}}},
            "nodes": {"a": {"resource_type": "model", "columns": []}},
        },
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_file_that_is_something_else_is_a_problem(read, connector, document):
    said = read(connector, document)
    assert {problem.place.partition(" ")[0] for problem in said.problems} == {"x.json"}


def test_controls_nested_without_end_are_said(read):
    control = {"id": "a", "title": "A"}
    for number in range(60):
        control = {"id": f"a{number}", "title": "A", "controls": [control]}
    said = read("oscal", {"catalog": {"metadata": {}, "controls": [control]}})
    assert "within each other" in said.problems[0].message

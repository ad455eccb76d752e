"""Records of YAML, JSON and CSV as entities and relationships, by a mapping file."""

import json

import pytest

from discovery.connector import SourceError
from discovery.sources import ConfigurationError

PEOPLE = """\
ada:
  name: Ada Lovelace
  role: '[CTO](../cto.md), co-founder'
  slug: cto
  boss: none
  skills: [analysis, poetry]
  joined: 2020-01-31
interim:
  name: Ada Lovelace
  role: Interim lead
  slug: lead
  boss: cto
grace:
  name: Grace Hopper
  email: grace@acme.example
  boss: lead
  teams: [navy, compilers]
"""

MAPPING = """\
absent = ["none"]

[lookup.person]
key = "name"
value = "{_key}"

[lookup.boss]
key = "slug"
value = "{person[name]}"

[[rule]]
required = ["name"]
where = { _key = "{person[name]}" }
id = "person:{_key}"
class = "Person"

[rule.values]
name = "name"
jobTitle = "{role}"
email = "email"
accountName = "skills"
description = { join = ["Role: {role}.", "Boss: {boss}."] }

[[rule.relationship]]
type = "REPORTS_TO"
end = "person:{boss[boss]}"

[[rule.relationship]]
type = "WORKS_IN"
each = "teams"
end = "organizational_unit:{_item|slug}"
"""


@pytest.fixture
def read(say, tmp_path):
    """Reads records written as YAML (or under another name) by a mapping."""

    def go(records=PEOPLE, mapping=MAPPING, name="people.yml", **source):
        (tmp_path / name).write_bytes(records if isinstance(records, bytes) else records.encode())
        (tmp_path / "mapping.toml").write_text(mapping, encoding="utf-8")
        return say(tmp_path, "mapping", {"path": name, "mapping": "mapping.toml"}, **source)

    return go


def test_records_become_entities_and_relationships(read):
    said = read()
    assert said.problems == []
    assert {id_: claim.values for id_, claim in said.entities.items()} == {
        "person:ada": {
            "name": "Ada Lovelace",
            "jobTitle": "CTO, co-founder",
            "accountName": ("analysis", "poetry"),
            "description": "Role: CTO, co-founder.",
        },
        "person:grace": {
            "name": "Grace Hopper",
            "email": "grace@acme.example",
            "description": "Boss: lead.",
        },
    }
    assert said.relationships == {
        ("person:grace", "REPORTS_TO", "person:ada"),
        ("person:grace", "WORKS_IN", "organizational_unit:navy"),
        ("person:grace", "WORKS_IN", "organizational_unit:compilers"),
    }
    assert said.entities["person:grace"].evidence == "people.yml record grace"


def test_an_id_decides_the_collection_and_the_classification(read):
    said = read(
        placement=[{"pattern": "person:g*", "collection": "hr"}],
        classification=[{"pattern": "person:*", "classification": "personal"}],
    )
    assert said.entities["person:grace"].collection == "collection:hr"
    assert said.entities["person:ada"].collection == "collection:all"
    assert said.typed("CLASSIFIED_AS") == {
        ("person:ada", "classification:personal"),
        ("person:grace", "classification:personal"),
    }


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ("x: {role: nameless}", "name: expected a value, found none"),
        ("x: {name: X, boss: ghost}", "REPORTS_TO: boss: 'ghost' is not in the lookup 'boss'"),
        ("x: {name: X, role: {deep: er}}", "expected text or a number, found dict"),
        ("x: {name: X, teams: navy}", "teams: expected a list"),
        ("x: {name: X, teams: ['!!']}", "WORKS_IN: an id of type 'organizational_unit' needs a key"),
        ("x: [1, 2]", "expected fields or a value, found a list"),
        ("x:", "expected fields or a value, found nothing"),
    ],
)
def test_a_record_that_cannot_be_used_is_named_and_the_rest_goes_on(read, record, says):
    said = read(PEOPLE + record)
    assert {problem.place for problem in said.problems} == {"people.yml record x"}
    assert says in said.problems[-1].message
    assert {"person:ada", "person:grace"} <= set(said.entities)


def test_csv_rows_have_types_and_lines(read):
    mapping = """
[[rule]]
id = "compensation:{employee}"
class = "Compensation"
[rule.values]
name = "Pay of {employee}"
annualSalary = { field = "salary", as = "integer" }
currency = "currency"
[[rule.relationship]]
type = "HAS_COMPENSATION"
start = "person:{employee}"
end = "compensation:{employee}"
"""
    rows = "employee,salary,currency\nada,412000,USD\ngrace,much,USD\nbob,1\neve,2,EUR\n"
    said = read("\ufeff" + rows, mapping, "pay.csv")
    assert said.entities["compensation:ada"].values == {
        "name": "Pay of ada",
        "annualSalary": 412000,
        "currency": "USD",
    }
    assert said.entities["compensation:eve"].evidence == "pay.csv:5"
    assert {p.place: p.message.split(";")[0] for p in said.problems} == {
        "pay.csv:3": "salary: invalid literal for int() with base 10: 'much'",
        "pay.csv:4": "expected as many cells as the header has",
    }


def test_json_lists_are_records_by_number(read):
    mapping = """
[[rule]]
each = "data.nodes"
id = "mesh_node:{name|slug}"
class = "MeshNode"
values = { name = "name", clearance = "clearance", capability = "can", silicon = { literal = "CPU" } }
"""
    nodes = {"data": {"nodes": [{"name": "Node One", "clearance": 2, "can": ["chat"]}]}}
    said = read(json.dumps(nodes), mapping, "mesh.json")
    assert said.entities["mesh_node:node-one"].values == {
        "name": "Node One",
        "clearance": 2,
        "capability": ("chat",),
        "silicon": "CPU",
    }
    assert said.entities["mesh_node:node-one"].evidence == "mesh.json record 1"


def test_two_records_of_one_id_are_a_problem(read):
    mapping = '[[rule]]\nid = "person:{name|slug}"\nclass = "Person"\nvalues = { name = "name" }\n'
    said = read("[{name: Ada}, {name: ada}]", mapping)
    assert [p.place for p in said.problems] == ["people.yml record 2"]
    assert said.entities["person:ada"].values["name"] == "Ada"


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]" for i in range(9)
)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.yml", BOMB, "more than 1000000 values"),
        ("x.yml", "a: &a [*a]", "contains itself"),
        ("x.yml", "[" * 20_000, "YAML"),
        ("x.yml", "a: !!python/object/apply:os.system ['touch /tmp/x']", "expected YAML"),
        ("x.yml", "a: [1", "in line 1"),
        ("x.yml", b"a: caf\xe9", "expected UTF-8"),
        ("x.yml", "", "an empty file"),
        ("x.json", "[" * 200_000, "flatten it"),
        ("x.json", '{"a": }', "expected JSON"),
        ("x.csv", 'a,b\n"unended', "expected CSV"),
        ("x.txt", "a", "expected a name that ends in"),
        ("x.yml", "just text", "expected records under"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_a_file_that_cannot_be_read_is_named(read, name, text, says):
    said = read(text, name=name)
    assert {p.place for p in said.problems} == {name}
    assert says in said.problems[0].message
    assert said.claims == []


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ('[[rule]]\nid = "person:{x"\nclass = "P"\nvalues = { name = "n" }', "expected {field}"),
        ('[[rule]]\nid = "person:{x}"\nclass = "P"\nvalues = { title = "n" }', "a name among its values"),
        (
            '[[rule]]\nid = "person:{who[x]}"\nclass = "P"\nvalues = { name = "n" }',
            "lookups that are not declared",
        ),
        ('[[rule]]\nname = "x"', "Extra inputs are not permitted"),
        ('[[rule]]\n[[rule.relationship]]\ntype = "OWNS"\nend = "a:b"', "needs a start"),
        ("rule = 1 2", "mapping.toml"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_refused_before_anything_is_read(read, mapping, says):
    with pytest.raises(ConfigurationError, match=says):
        read(mapping=mapping)


def test_a_variable_that_is_not_set_is_refused(say, tmp_path, monkeypatch):
    monkeypatch.delenv("ORGRAPH_NOWHERE", raising=False)
    with pytest.raises(ConfigurationError, match="ORGRAPH_NOWHERE, which is not set"):
        say(tmp_path, "mapping", {"path": "x.yml", "mapping": "$ORGRAPH_NOWHERE/m.toml"})


def test_a_missing_file_fails_the_scope(read, say, tmp_path):
    read()
    with pytest.raises(SourceError, match="there is no such file"):
        say(tmp_path, "mapping", {"path": "gone.yml", "mapping": "mapping.toml"})


@pytest.mark.parametrize("key", ["a:b", "a#b", "a*b", "a@b", "a b", "%41"])
def test_keys_cannot_reach_into_another_id(read, key):
    said = read(json.dumps({key: {"name": "X"}}), name="x.json")
    [id_] = said.entities
    assert id_.startswith("person:")
    assert not set(id_.removeprefix("person:")) & set(":#*@ ")
    assert id_ != f"person:{key}"

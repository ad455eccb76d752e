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
    rows = "employee,salary,currency\nada,412000,USD\ngrace,$385k,USD\nbob,1\neve,2,EUR\n"
    said = read("\ufeff" + rows, mapping, "pay.csv")
    assert said.entities["compensation:ada"].values == {
        "name": "Pay of ada",
        "annualSalary": 412000,
        "currency": "USD",
    }
    assert said.entities["compensation:eve"].evidence == "pay.csv:5"
    assert {p.place: p.message.split(";")[0] for p in said.problems} == {
        "pay.csv:3": "salary: expected integer, found something else",
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
        ("x.yml", BOMB, "more than 500000 values"),
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


TREE = """\
[[rule]]
files = "people/*"
each = "."
id = "person:{_stem}"
class = "Person"
values = { name = "name", email = "mail" }

[[rule]]
files = "repos/**/*.toml"
each = "."
id = "repository:{_stem}"
class = "Repository"
values = { name = "_stem", path = "_file" }

[[rule.relationship]]
type = "MAY_WRITE"
each = "access"
where = { _item = "write" }
start = "group:{_item_key}"
end = "repository:{_stem}"

[[rule.relationship]]
type = "OWNS"
each = "owners"
item = "login"
start = "person:{_item}"
end = "repository:{_stem}"
"""


@pytest.fixture
def read_tree(say, tmp_path):
    def go(files, mapping=TREE):
        for name, text in files.items():
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        (tmp_path / "mapping.toml").write_text(mapping)
        return say(tmp_path, "mapping", {"path": "tree/**", "mapping": "mapping.toml"})

    return go


def test_rules_apply_to_the_files_that_they_name_whatever_their_format(read_tree):
    said = read_tree(
        {
            "people/ada.toml": 'name = "Ada"\nmail = "ada@acme.example"\n',
            "people/bob.json": '{"name": "Bob", "mail": false}',
            "people/cyd.yml": "name: Cyd",
            "people/dot.xml": "<person xmlns='urn:x'><name>Dot</name><mail/></person>",
            "repos/old/tool.toml": "owners = ['ada', { login = 'bob', since = 1 }]\naccess = { dev = 'write', qa = 'read' }\n",
        },
        "absent = [false]\n" + TREE,
    )
    assert said.problems == []
    assert {claim.id: claim.values["name"] for claim in said.of("Person")} == {
        "person:ada": "Ada",
        "person:bob": "Bob",
        "person:cyd": "Cyd",
        "person:dot": "Dot",
    }
    assert said.entities["repository:tool"].values == {"name": "tool", "path": "repos/old/tool.toml"}
    assert said.typed("MAY_WRITE") == {("group:dev", "repository:tool")}
    assert said.typed("OWNS") == {("person:ada", "repository:tool"), ("person:bob", "repository:tool")}


PEOPLE_XML = """\
[[rule]]
each = "person"
id = "person:{@id}"
class = "Person"
values = { name = "name", accountName = "login" }

[[rule.relationship]]
type = "WORKS_IN"
each = "unit"
end = "organizational_unit:{_item.@ref}"
"""


def test_xml_records_are_elements_with_attributes_and_children(read):
    text = """<?xml version="1.0"?><!-- export --><hr:people xmlns:hr="urn:hr">
      <hr:person id="1"><hr:name>Ada</hr:name><hr:login>a</hr:login><hr:login>l</hr:login>
        <hr:unit ref="r&amp;d"/></hr:person></hr:people>"""
    said = read(text, PEOPLE_XML, name="people.xml")
    assert said.problems == []
    assert said.entities["person:1"].values == {"name": "Ada", "accountName": ("a", "l")}
    assert said.typed("WORKS_IN") == {("person:1", "organizational_unit:r&d")}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "document types and entities are refused"),
        ("x.xml", "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", "are refused"),
        ("x.xml", "<a>" * 101 + "</a>" * 101, "at most 100 elements within each other"),
        ("x.xml", "<a>" * 100_000 + "</a>" * 100_000, "at most 100 elements within each other"),
        ("x.xml", "<a><b></a>", "expected XML"),
        ("x.xml", "<?xml version='1.0' encoding='no-such'?><a/>", "export it as UTF-8"),
        ("x.toml", "a = ", "expected TOML"),
        ("x.toml", "a = " + "[" * 20_000, "nested too deeply"),
        ("x.toml", b"a = 'caf\xe9'", "expected UTF-8"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_a_hostile_or_broken_xml_or_toml_file_is_named(read, name, text, says):
    said = read(text, name=name)
    assert {p.place for p in said.problems} == {name}
    assert says in said.problems[0].message


def test_two_files_that_describe_one_entity_are_a_problem(read_tree):
    said = read_tree({"people/ada.toml": 'name = "Ada"', "people/ada.yml": "name: Ada L."})
    assert said.entities["person:ada"].values["name"] == "Ada"
    assert [(p.place, "also the record at people/ada.toml" in p.message) for p in said.problems] == [
        ("people/ada.yml", True)
    ]

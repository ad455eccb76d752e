"""An organization adds a module of its own, checked as ours are and used by the whole service."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from context_manager.cli import app
from context_manager.cli_ontology import all_findings
from discovery.configuration import all_sources
from discovery.runner import Runner
from discovery.sources import load_organization
from graph.database import Database
from graph.quarantine import quarantined
from graph.reads import Asker, Reader
from graph.store import FactStore
from graph.visibility import Authorizer
from ontologies import Finding, OntologyError, load, load_authorization, load_shapes
from ontologies.loader import assemble
from ontologies.modules import organization_files

HOSPITAL = Path(__file__).parent / "hospital"
WARDS = organization_files(HOSPITAL, ["ontology"])

Change = tuple[str, str, str]
"""A file of the module, a text in it, and what comes in its place."""
Check = Callable[..., list[Finding]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """What is found after changes of the hospital's files."""

    def go(*changes: Change) -> list[Finding]:
        folder = tmp_path / "ontology"
        shutil.copytree(HOSPITAL / "ontology", folder)
        for file, old, new in changes:
            path = folder / file
            text = path.read_text(encoding="utf-8")
            assert old in text
            path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return all_findings(assemble(organization_files(tmp_path, ["ontology"])))

    return go


def test_the_hospital_s_module_agrees_with_ours(check: Check) -> None:
    assert check() == []


SHAPE = "shape:Bed a sh:NodeShape ; sh:targetClass h:Bed ;\n    sh:property [ sh:path h:standsIn ; sh:class h:Ward ; sh:maxCount 1 ] ."
WARD = "rdfs:subClassOf og:OrganizationalUnit ;"
H = "https://hospital.example/"


@pytest.mark.parametrize(
    ("change", "file", "term", "expected", "action"),
    [
        pytest.param(
            ("wards-shapes.ttl", SHAPE, ""),
            *("wards.ttl", H + "ontology#Bed", "a node shape with it", "write one"),
            id="a class without a shape",
        ),
        pytest.param(
            ("wards-shapes.ttl", "sh:path h:standsIn ; sh:class h:Ward", "sh:path h:standsIn ; sh:class og:Group"),
            *("wards-shapes.ttl", H + "shape#Bed, path STANDS_IN", "found Group", "another class"),
            id="a shape asks for an end outside the range",
        ),
        pytest.param(
            ("wards-shapes.ttl", "sh:path h:standsIn ;", "sh:path h:adjacentTo ;"),
            *("wards-shapes.ttl", H + "shape#Bed, path ADJACENT_TO", "found it on Bed", "target another"),
            id="a shape names a property outside its domain",
        ),
        pytest.param(
            ("wards-shapes.ttl", "sh:datatype xsd:string", "sh:datatype xsd:integer"),
            *("wards-shapes.ttl", H + "shape#Ward", "expected the range", "correct the shape"),
            id="a shape contradicts a range",
        ),
        pytest.param(
            ("wards-shapes.ttl", "[ sh:path h:hasBed ;", "[ sh:path og:unitOf ; sh:minCount 2 ] , [ sh:path h:hasBed ;"),
            *("wards-shapes.ttl", H + "shape#Ward, path UNIT_OF", "found 2 and 1", "make both meet"),
            id="a shape asks for more than its superclass allows",
        ),
        pytest.param(
            ("wards.ttl", WARD, "rdfs:subClassOf og:OrganizationalUnit, og:Document, og:Passage ;"),
            *("wards.ttl", H + "ontology#Ward", "nothing can", "superclasses"),
            id="a class that nothing can be",
        ),
        pytest.param(
            ("wards-shapes.ttl", "sh:class h:Ward ; sh:maxCount 1", "sh:class h:Ward ; sh:minCount 2"),
            *("wards-shapes.ttl", H + "shape#Bed", "the smallest", "agree"),
            id="a shape asks for two of a functional property",
        ),
        pytest.param(
            ("wards.ttl", "rdfs:domain h:Ward ; rdfs:range h:Ward ;", "rdfs:domain h:Ward ; rdfs:range h:Bed ;"),
            *("wards.ttl", H + "ontology#adjacentTo", "to keep its domain, found bed", "widen"),
            id="a symmetric property between classes that differ",
        ),
        pytest.param(
            ("wards.ttl", "owl:inverseOf h:hasBed ;", "owl:inverseOf h:hasBed ; rdfs:subPropertyOf og:inCollection ;"),
            *("wards.ttl", H + "ontology#standsIn", "which access rests on", "remove the axiom"),
            id="access would be inferred",
        ),
        pytest.param(
            ("wards.ttl", "owl:inverseOf h:hasBed ;", "owl:inverseOf h:hasBed ; rdfs:subPropertyOf og:sameAs ;"),
            *("wards.ttl", H + "ontology#standsIn", "no inference of who is one", "remove the axiom"),
            id="who is one would be inferred",
        ),
        pytest.param(
            ("wards.ttl", "owl:SymmetricProperty ;", "owl:TransitiveProperty, owl:AsymmetricProperty ;"),
            *("", "", "HermiT refuses", "correct the axiom"),
            id="a transitive property that is asymmetric is no OWL 2 DL",
        ),
        pytest.param(
            ("bindings.toml", 'object_end = "end"', 'object_end = "start"'),
            *("bindings.toml", "binding of ASSIGNED_TO to ward#staff", "expected Person at the start", "other end"),
            id="a binding has its object at the wrong end",
        ),
        pytest.param(
            ("bindings.toml", 'person = "account"', 'account = ""'),
            *("bindings.toml", "binding of ASSIGNED_TO to ward#staff", "expected Person as its user", "users"),
            id="a binding takes users outside the range",
        ),
        pytest.param(
            ("bindings.toml", '"ASSIGNED_TO"', '"LIKES"'),
            *("bindings.toml", "binding of LIKES to ward#staff", "found LIKES", "declare the property"),
            id="a binding names no relationship",
        ),
        pytest.param(
            ("bindings.toml", '"ASSIGNED_TO"', '"SAME_AS"'),
            *("bindings.toml", "binding of SAME_AS to ward#staff", "no access from who is one", "another"),
            id="a merge would give access",
        ),
        pytest.param(
            ("wards.fga", "define staff: [person#account]", "define staff: [person#account]\n    define cleaner: [person#account]"),
            *("", "ward#cleaner", "a binding", "bind it"),
            id="a relation that nothing feeds",
        ),
        pytest.param(
            ("wards.fga", "staff or viewer", "staff or readers"),
            *("wards.fga", "line 6", "readers", "correct the model"),
            id="a relation that the model lacks",
        ),
        pytest.param(
            ("wards.fga", "type ward", "type wart"),
            *("", "type wart", "found no such class", "declare the class"),
            id="an authorization type without a class",
        ),
        pytest.param(
            ("wards.ttl", 'owl:versionInfo "2.1.0"', 'rdfs:comment "2.1.0"'),
            *("wards.ttl", H + "ontology", "expected one owl:versionInfo, found 0", "header"),
            id="a module without a version",
        ),
        pytest.param(
            ("wards.ttl", "<urn:orgraph:module:people>", "<urn:orgraph:module:peoples>"),
            *("wards.ttl", H + "ontology", "found urn:orgraph:module:peoples", "correct it"),
            id="an import that is not there",
        ),
        pytest.param(
            ("wards.ttl", "h:Ward a owl:Class ;", "og:Person rdfs:subClassOf h:Bed . h:Ward a owl:Class ;"),
            *("wards.ttl", "og:Person", "axioms only of terms in", "term of your own"),
            id="a module says more of our terms",
        ),
        pytest.param(
            ("wards.ttl", "h:wardCode a owl:DatatypeProperty ;", "h:audience a owl:DatatypeProperty ;"),
            *("wards.ttl", H + "ontology#audience", "for Orgraph's own use", "rename"),
            id="a value that would overwrite the audience",
        ),
        pytest.param(
            ("wards.ttl", "h:wardCode a owl:DatatypeProperty ;", "h:until a owl:DatatypeProperty ;"),
            *("wards.ttl", H + "ontology#until", "for Orgraph's own use", "rename"),
            id="a value that the past would tell wrongly",
        ),
        pytest.param(
            ("wards.ttl", "h:Bed a owl:Class ;", "h:Person a owl:Class ; rdfs:subClassOf og:Entity ; rdfs:label 'p'@en ; rdfs:comment 'p'@en . h:Bed a owl:Class ;"),
            *("wards.ttl", H + "ontology#Person", "a name of its own", "choose another"),
            id="a class named as one of ours",
        ),
        pytest.param(
            ("wards.ttl", WARD, "rdfs:subClassOf og:Group ;"),
            *("bindings.toml", "binding of MAY_VIEW to collection#reader", "a tuple of each ward", "users"),
            id="a class of groups that access does not know",
        ),
    ],
)  # fmt: skip
def test_a_seeded_contradiction_is_found_and_says_where_and_what_to_do(
    check: Check, change: Change, *, file: str, term: str, expected: str, action: str
) -> None:
    found = check(change)
    assert any(
        one.file == file and term in one.term and expected in one.expected and action in one.action
        for one in found
    ), found


def test_several_contradictions_are_told_at_once(check: Check) -> None:
    found = check(
        ("wards.ttl", 'rdfs:label "bed"@en ;', ""),
        ("wards.ttl", "rdfs:range xsd:string", "rdfs:range xsd:date"),
        ("bindings.toml", "users", "user"),
    )
    assert {one.term for one in found} >= {H + "ontology#Bed", H + "ontology#wardCode", "binding 1"}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("more.ttl", "this is no Turtle", "expected Turtle"),
        ("more.ttl", "<urn:a> <urn:b> <urn:c> .", "found 0 ontologies and 0 shapes"),
        ("more.toml", "binding = 3", "expected only [[binding]] tables"),
        ("more.toml", "binding = [3]", "expected the keys"),
        ("more.toml", "[[", "expected TOML"),
        ("more.fga", "or [account]", "definitions of types, without a header"),
        ("more.fga", "# Ours.\ntype bed relation", "found 'relation'"),
    ],
)
def test_a_file_that_is_not_understood_is_named(
    check: Check, tmp_path: Path, name: str, content: str, expected: str
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / name).write_text(content, encoding="utf-8")
    (found,) = assemble((*WARDS, tmp_path / "more" / name)).findings
    assert found.file == name
    assert expected in found.expected


def test_a_pattern_that_names_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OntologyError, match=r"missing\.ttl: expected a file to read"):
        load(organization_files(tmp_path, ["missing.ttl"]))


def orgraph(*arguments: str, sources: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setenv("ORGRAPH_SOURCES", str(sources))
    result = CliRunner().invoke(app, ["ontology", "check", *arguments])
    return result.exit_code, result.stdout


def test_the_command_proves_that_all_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = orgraph("--json", sources=HOSPITAL / "sources.toml", monkeypatch=monkeypatch)
    told = json.loads(output)
    assert (code, told["findings"]) == (0, [])
    assert {"urn:orgraph:module:provenance", H + "ontology"} <= {one["iri"] for one in told["modules"]}


def test_the_command_ends_with_1_when_they_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(HOSPITAL, tmp_path / "hospital")
    (tmp_path / "hospital" / "ontology" / "wards-shapes.ttl").unlink()
    sources = tmp_path / "hospital" / "sources.toml"
    code, output = orgraph("--json", sources=sources, monkeypatch=monkeypatch)
    assert code == 1
    assert {one["term"] for one in json.loads(output)["findings"]} >= {
        H + "ontology#Bed",
        H + "ontology#Ward",
    }
    code, output = orgraph(sources=sources, monkeypatch=monkeypatch)
    assert code == 1
    assert "wards.ttl: https://hospital.example/ontology#Bed: expected a node shape" in output


async def test_its_own_classes_are_crawled_gated_and_authorized(neo4j: Database) -> None:
    organization = load_organization(HOSPITAL / "sources.toml")
    added = organization.ontology_files()
    ontology, model = load(added), load_authorization(added)
    store = FactStore(neo4j, load_shapes(added), model)
    runner = Runner(organization, store, neo4j)
    reports = [await runner.run(source) for source in all_sources(organization)]
    assert [report.outcome for report in reports] == ["complete", "complete"]
    (refused,) = await quarantined(neo4j)
    assert (refused.violation.entity, refused.violation.value) == ("ward:attic", "wardCode = 'none of ours'")
    policies = [source.policy() for source in all_sources(organization)]
    reader = Reader(neo4j, ontology, Authorizer(neo4j, ontology, model, policies))

    async def seen(login: str) -> set[str]:
        page, _ = await reader.run(
            Asker(f"account:hospital/{login}"), lambda view: view.entities("Entity", 50)
        )
        return {entity.id for entity in page.items if entity.class_name in ("Ward", "Bed")}

    assert await seen("matron") == {"ward:cardiology", "ward:oncology", "bed:c1", "bed:c2"}
    assert await seen("nurse") == {"ward:cardiology"}
    assert await seen("porter") == set()
    [record] = await neo4j.read(
        "MATCH (n {id: 'ward:oncology'}) RETURN labels(n) AS labels, n.wardCode AS code"
    )
    assert set(record["labels"]) == {"Ward", "OrganizationalUnit", "Agent", "Entity"}
    assert record["code"] == "O07"

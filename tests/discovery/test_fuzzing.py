"""Real files, mutated, through every connector that reads files: whatever comes of one is a claim, a line in
the report or an error that says what to do; what lies beside it is read."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from reportlab.pdfgen.canvas import Canvas

from discovery.connector import Places, Position, Problem, SourceError
from discovery.connectors.table import build
from discovery.sources import ConfigurationError
from discovery.specimens import SPECIMENS, _git
from graph.claims import EntityClaim
from graph.rdf.parsing import MAX_PROBLEMS
from tests.discovery.bounded import read_within_bounds
from tests.discovery.conftest import organization

SAMPLE = Path(__file__).parents[2] / "deploy" / "sample"

MAPPING = """\
[[rule]]
each = "people"
id = "person:{_key}"
class = "Person"
values = { name = "name" }
"""
PEOPLE = {f"p{n}": {"name": f"Person {n}", "teams": ["a", "b"]} for n in range(5)}


def docx() -> bytes:
    data = io.BytesIO()
    body = "".join(f"<w:p><w:r><w:t>Paragraph {n}</w:t></w:r></w:p>" for n in range(9))
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", f"<w:document {space}><w:body>{body}</w:body></w:document>")
    return data.getvalue()


def pdf_of(text: str) -> bytes:
    data = io.BytesIO()
    canvas = Canvas(data)
    if text:
        canvas.drawString(72, 700, text)
    else:
        canvas.rect(72, 700, 100, 100, fill=1)
    canvas.save()
    return data.getvalue()


def columns() -> bytes:
    data = io.BytesIO()
    parquet.write_table(pyarrow.table({"id": [1, 2], "name": ["a", None]}), data)
    return data.getvalue()


RDF = b"<https://x.example/ada> a <urn:orgraph:ontology:Person> ; <urn:orgraph:ontology:name> 'Ada', \"A\"@en .\n"
ACTIONS = b"name: Build\non: [push]\njobs:\n  build:\n    needs: [lint]\n    steps:\n      - run: make\n  lint: {steps: []}\n"
OPENAPI = {
    "openapi": "3.0.0",
    "info": {"title": "Pets"},
    "components": {"schemas": {"Pet": {"properties": {"id": {}}}}},
}
DBT = {
    "metadata": {"project_name": "p"},
    "nodes": {"model.p.x": {"resource_type": "model", "name": "x", "columns": {"id": {}}}},
}


@dataclass(frozen=True)
class Kind:
    """A connector, how a source of it is configured, and a real file for it."""

    connector: str
    suffix: str
    seed: Callable[[Path], bytes]
    by_folder: bool = False
    mapped: bool = False

    def options(self) -> dict[str, object]:
        if self.connector == "files":
            return {"url": "data"}
        if self.by_folder:
            return {"path": "data", "mentions": False}
        return {"path": f"data/*{self.suffix}", **({"mapping": "m.toml"} if self.mapped else {})}


def shared(name: str) -> Callable[[Path], bytes]:
    return lambda data: (data / name).read_bytes()


def of(data: object) -> Callable[[Path], bytes]:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return lambda _: raw


KINDS = {
    "bpmn": Kind("bpmn", ".bpmn", shared("bpmn-miwg/Reference/C.1.0.bpmn")),
    "ldif": Kind("ldif", ".ldif", shared("ldap-planet-express/10_people_fry.ldif")),
    "oscal": Kind("oscal", ".json", shared("oscal/example-component-definition.json")),
    "rdf": Kind("rdf", ".ttl", of(RDF)),
    "json-ld": Kind(
        "rdf", ".jsonld", of({"@id": "https://x.example/a", "@type": "urn:orgraph:ontology:Person"})
    ),
    "actions": Kind("github-actions", ".yml", of(ACTIONS)),
    "openapi": Kind("openapi", ".json", of(OPENAPI)),
    "dbt": Kind("dbt", ".json", of(DBT)),
    "markdown": Kind(
        "documents", ".md", lambda _: (SAMPLE / "policies" / "privacy-policy.md").read_bytes(), True
    ),
    "html": Kind(
        "documents", ".html", of(b"<h1>A</h1><p>x <a href='b.html'>b</a><table><tr><td>1</table>"), True
    ),
    "docx": Kind("documents", ".docx", lambda _: docx(), True),
    "pdf": Kind("documents", ".pdf", lambda _: pdf_of("Some text"), True),
    "yaml": Kind("mapping", ".yaml", shared("kubernetes-org/config/kubernetes-csi/org.yaml"), mapped=True),
    "json": Kind("mapping", ".json", of({"people": PEOPLE}), mapped=True),
    "toml": Kind(
        "mapping", ".toml", of(b'[people.ada]\nname = "Ada"\n[people.bob]\nname = "Bob"\n'), mapped=True
    ),
    "xml": Kind(
        "mapping", ".xml", of(b"<a><people id='1'><name>Ada</name></people><people/></a>"), mapped=True
    ),
    "csv": Kind("mapping", ".csv", of(b'people,name\n1,"Ada, L."\n2,Bob\n'), mapped=True),
    "data csv": Kind("files", ".csv", of(b"name,born\nAda,1815-12-10\n")),
    "data json": Kind("files", ".jsonl", of(b'{"a": 1}\n{"a": [1, {"b": 2}]}\n')),
    "parquet": Kind("files", ".parquet", lambda _: columns()),
}

HOSTILE = (
    b"<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
    b"<!DOCTYPE d [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]>&b;",
    b"&x;", b"\x00", b"\xff\xfe", b"\xf0\x28\x8c\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf",
    b"[" * 20_000, b"{" * 20_000, b"(" * 20_000, b"<a>" * 20_000, b"> " * 20_000, b"*" * 20_000, b"- " * 5_000,
    b"a: &a [*a, *a]\n", b"!!python/object/apply:os.system ['true']\n", b"!include /etc/passwd\n",
    b"=cmd|' /C calc'!A0", b"9" * 5_000, b"1e999", b"NaN", b'"', b"'", b"\r", b"\n\n", b"\\", b"\x1b[2J",
    b"dn:: ////\n", b"\n \n :\n", b"%PDF-1.7", b"PK\x03\x04", b"PAR1", b"{{ x }}", b"\xe2\x80\xae",
)  # fmt: skip


@st.composite
def mutations(draw):
    """A function that changes bytes at a few places."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["cut", "drop", "repeat", "flip", "insert", "swap"]),
                st.floats(0, 1),
                st.floats(0, 1),
                st.integers(0, 255),
                st.sampled_from(HOSTILE),
            ),
            min_size=1,
            max_size=4,
        )
    )

    def mutate(data: bytes) -> bytes:
        for step, one, other, byte, hostile in steps:
            start, end = sorted((int(one * len(data)), int(other * len(data))))
            end = min(end, start + 2_000)
            changed = {
                "cut": data[:start],
                "drop": data[:start] + data[end:],
                "repeat": data[:end] + data[start:end] * 3 + data[end:],
                "flip": data[:start] + bytes([byte]) + data[start + 1 :],
                "insert": data[:start] + hostile + data[start:],
                "swap": data[end:] + data[:start],
            }
            data = changed[step]
        return data

    return mutate


@cache
def seed(name: str, data: Path) -> bytes:
    return KINDS[name].seed(data)


def crawl(kind: Kind, folder: Path) -> tuple[set[str], list[Problem]]:
    """Places of what is claimed, and problems; an error of the source is one."""
    (folder / "m.toml").write_text(MAPPING)
    config = organization(folder, {"name": "s", "connector": kind.connector, "options": kind.options()})
    connector = build(config, config.source[0], {})
    places, problems = set(), []
    try:
        for scope in connector.scopes():
            for item in connector.read(scope):
                if isinstance(item, Problem):
                    problems.append(item)
                elif not isinstance(item, (Places, Position)):
                    places.add(item.evidence)
    except SourceError as error:
        problems.append(Problem("the source", str(error)))
    return places, problems


@pytest.mark.shared_data
@pytest.mark.parametrize("name", sorted(KINDS))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(mutate=mutations())
def test_a_mutated_file_is_read_or_said_to_be_broken_and_its_neighbour_is_read(shared_data, name, mutate):
    kind, whole = KINDS[name], seed(name, shared_data)
    with TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "data").mkdir()
        (folder / "data" / f"good{kind.suffix}").write_bytes(whole)
        alone, _ = crawl(kind, folder)
        broken = mutate(whole)
        (folder / "data" / f"zzz{kind.suffix}").write_bytes(broken)
        places, problems = crawl(kind, folder)
    if kind.connector != "rdf":  # of which a claim may follow from triples of several files
        assert {place for place in alone if "good" in place} <= places
    for problem in problems:
        assert problem.place
        assert 0 < len(problem.message) < 5_000
        assert "root:x:0" not in problem.message
    assert not [place for place in places if "root:x:0" in place]


#: Sources that are no folder of files of one kind: the file of their specimen that is broken.
OTHERS = {
    "sql": "x.sqlite",
    "mesh-nodes": "nodes/a.jwt",
    "codeowners": "repository/CODEOWNERS",
    "git-authors": "repository/.mailmap",
}


@pytest.mark.parametrize("name", sorted(OTHERS))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(mutate=mutations())
def test_what_else_is_mutated_is_read_or_said_to_be_broken(name, mutate):
    with TemporaryDirectory() as made, SPECIMENS[name](Path(made)) as specimen:
        path = Path(made) / OTHERS[name]
        if name == "git-authors":
            path.write_text("Ada <ada@x.example> <bob@x.example>\n")
        path.write_bytes(mutate(path.read_bytes()))
        if path.parent.name == "repository":
            _git(path.parent, "add", "-A")
            _git(path.parent, "commit", "-q", "--allow-empty", "-m", "x")
        config = organization(
            Path(made), {"name": "s", "connector": name, "options": specimen.options, **specimen.settings}
        ).model_copy(update={"issuer": "specimen"})
        told = []
        try:
            connector = build(config, config.source[0], {})
            for scope in connector.scopes():
                told += connector.read(scope)
        except (ConfigurationError, SourceError) as error:
            told.append(Problem("the source", str(error)))
        for problem in (one for one in told if isinstance(one, Problem)):
            assert problem.place
            assert 0 < len(problem.message) < 5_000
        if name == "mesh-nodes":
            assert any(isinstance(one, EntityClaim) and one.id == "mesh_node:b" for one in told)


@pytest.mark.parametrize(
    ("kind", "content", "says"),
    [
        ("xml", b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>", "entities are refused"),
        ("xml", b"<a>" * 10_000 + b"</a>" * 10_000, "within each other"),
        ("xml", b"<?xml version='1.0' encoding='latin-99'?><a/>", "expected XML"),
        (
            "yaml",
            b"a: &a [x]\nb: &b [*a, *a]\n" + b"people: [*b, *b]\n" + b"x: " + b"[" * 9_000,
            "nested too deeply",
        ),
        ("yaml", b"people: !!python/object/apply:os.system ['true']", "expected YAML"),
        ("json", b'{"people": ' + b"[" * 100_000, "nested too deeply"),
        ("json", '{"people": {}}'.encode("utf-16"), "expected UTF-8"),
        ("toml", b"people = " + b"[" * 100_000, "nested too deeply"),
        ("csv", b'people,name\n1,"' + b"x" * 200_000, "expected CSV"),
        ("pdf", pdf_of(""), "no text"),
        ("pdf", b"%PDF-1.7 and no more", "PDF"),
        ("docx", b"PK\x03\x04", "expected"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_what_is_made_to_do_harm_is_a_line_in_the_report(tmp_path, kind, content, says):
    of_kind = KINDS[kind]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / f"bad{of_kind.suffix}").write_bytes(content)
    _, problems = crawl(of_kind, tmp_path)
    assert any(says in problem.message for problem in problems), problems


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_file_of_two_gigabytes_is_refused_within_its_bounds(tmp_path, name):
    kind = KINDS[name]
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / f"large{kind.suffix}").open("wb") as file:
        file.truncate(2 << 30)
    _, problems = read_within_bounds(tmp_path, kind.connector, kind.options())
    assert len(problems) <= (MAX_PROBLEMS + 1 if kind.connector == "rdf" else 2)  # which goes on after one
    assert any(problem.place.startswith("large") for problem in problems)


@pytest.mark.parametrize("name", ["json", "markdown", "data csv"])
def test_links_that_lead_in_a_circle_end(tmp_path, name):
    kind = KINDS[name]
    data = tmp_path / "data"
    data.mkdir()
    (data / "self").symlink_to(data)
    (data / f"to-itself{kind.suffix}").symlink_to(data / f"to-itself{kind.suffix}")
    (data / f"good{kind.suffix}").write_bytes(seed(name, tmp_path))
    places, problems = crawl(kind, tmp_path)
    assert any("good" in place for place in places)
    if kind.connector != "files":  # which lists no links at all
        assert [problem.place for problem in problems] == [f"to-itself{kind.suffix}"]


def test_a_formula_in_a_cell_stays_text(say, tmp_path):
    (tmp_path / "m.toml").write_text(MAPPING.replace('each = "people"', 'each = ""'))
    (tmp_path / "a.csv").write_text('name\n"=HYPERLINK(""http://x.example"",""Ada"")"\n')
    said = say(tmp_path, "mapping", {"path": "a.csv", "mapping": "m.toml"})
    assert said.entities["person:1"].values["name"] == '=HYPERLINK("http://x.example","Ada")'

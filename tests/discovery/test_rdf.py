"""RDF files as a source, beside what every connector keeps."""

import pytest

from discovery.connector import SourceError
from discovery.sources import ConfigurationError

PERSON = "<https://x.example/{0}> a <urn:orgraph:ontology:Person> ; <urn:orgraph:ontology:name> '{0}' ."


@pytest.fixture
def read(say, tmp_path):
    def go(files, path="*", **source):
        for name, text in files.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        return say(tmp_path, "rdf", {"path": path}, **source)

    return go


def test_several_files_are_read_as_one(read):
    said = read(
        {
            "1.ttl": PERSON.format("ada"),
            "2.ttl": "<https://x.example/ada> <urn:orgraph:ontology:reportsTo> <https://x.example/bob> .",
            "3.jsonld": '{"@id": "https://x.example/bob", "@type": "urn:orgraph:ontology:Person", '
            '"urn:orgraph:ontology:name": "bob"}',
        }
    )
    ada, bob = "person:https%3A//x.example/ada", "person:https%3A//x.example/bob"
    assert said.problems == []
    assert set(said.entities) == {ada, bob}
    assert said.typed("REPORTS_TO") == {(ada, bob)}
    assert said.entities[ada].collection == "collection:all"
    assert said.entities[bob].evidence == "3.jsonld:1"


def test_placement_and_classification_go_by_the_id(read):
    said = read(
        {"1.ttl": PERSON.format("ada") + PERSON.format("bob")},
        placement=[{"pattern": "**ada", "collection": "hr"}],
        classification=[{"pattern": "person:**", "classification": "personal-data"}],
    )
    assert said.entities["person:https%3A//x.example/ada"].collection == "collection:hr"
    assert said.entities["person:https%3A//x.example/bob"].collection == "collection:all"
    assert len(said.typed("CLASSIFIED_AS")) == 2


def test_what_is_wrong_makes_the_scope_partial_and_the_rest_is_said(read):
    said = read({"1.ttl": PERSON.format("ada") + "\nnonsense .\n" + PERSON.format("bob"), "notes.txt": "x"})
    assert [problem.place for problem in said.problems] == ["1.ttl:2", "notes.txt"]
    assert "expected a file of the kind .ttl, .nt, .jsonld" in said.problems[1].message
    assert len(said.entities) == 2


def test_wrong_options_and_missing_files_are_refused(read, say, tmp_path):
    with pytest.raises(SourceError, match="no file matches"):
        read({}, path="*.ttl")
    with pytest.raises(ConfigurationError, match="its options are: path"):
        say(tmp_path, "rdf", {"path": "*", "format": "ttl"})

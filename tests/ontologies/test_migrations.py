"""Migration files: what they may say, and the way that they make from version to version."""

from pathlib import Path

import pytest

from discovery.sources import load_organization
from ontologies import Ontology, OntologyError, load
from ontologies.migrations import Step, chain, migrations, type_of_class, with_earlier_terms
from ontologies.ontology import Module
from tests.ontologies import hospital_versions

HEAD = 'module = "https://hospital.example/ontology"\nfrom = "2.1.0"\nto = "3.0.0"\n'


class Hospital:
    """The hospital at 3.0.0, with a migration."""

    def __init__(self, folder: Path, *texts: str) -> None:
        sources = hospital_versions.after(folder / "hospital", texts[0])
        for number, text in enumerate(texts[1:]):
            path = folder / "hospital" / "ontology" / "migrations" / f"{number}.toml"
            path.write_text(text, encoding="utf-8")
        self.added = load_organization(sources).ontology_files()
        self.ontology: Ontology = load(self.added)

    @property
    def module(self) -> Module:
        return next(one for one in self.ontology.modules if "hospital" in one.iri)

    def chain(self, version: str = "2.1.0") -> list[str]:
        found = chain(migrations(self.added), self.module, version, self.ontology)
        return [f"{one.before} {one.after}" for one in found]


def test_ours_lead_to_the_versions_that_we_publish() -> None:
    ours = {module.iri: module for module in load().modules}
    for one in migrations():
        assert chain(migrations(), ours[one.module], one.before, load())


def test_one_after_the_other_leads_to_the_present_version(tmp_path: Path) -> None:
    first = HEAD.replace("3.0.0", "2.2.0") + '[[step]]\nrename_class = "Ward"\nto = "Station"\n'
    second = HEAD.replace("2.1.0", "2.2.0") + '[[step]]\nrename_class = "Station"\nto = "CareUnit"\n'
    hospital = Hospital(tmp_path, first, second)
    assert hospital.chain() == ["2.1.0 2.2.0", "2.2.0 3.0.0"]
    assert hospital.chain("2.2.0") == ["2.2.0 3.0.0"]
    assert hospital.chain("3.0.0") == []
    earlier = with_earlier_terms(
        hospital.ontology,
        [Step("rename_class", "Ward", "Station"), Step("rename_class", "Station", "CareUnit")],
    )
    assert earlier.labels("Ward") == ("Ward", *hospital.ontology.classes["CareUnit"].superclasses)
    assert earlier.class_of_type("station").name == "Station"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([HEAD.replace("2.1.0", "2.0.0")], "expected one migration from 2.1.0, found 0"),
        ([HEAD, HEAD], "expected one migration from 2.1.0, found 2"),
        ([HEAD.replace("3.0.0", "2.1.0")], "expected one migration from 2.1.0, found 1"),
        (["module = 3"], "module, from and to as texts"),
        (["step ="], "expected TOML"),
        ([HEAD + "more = 1"], "and nothing else"),
        ([HEAD + 'step = "all"'], r"expected \[\[step\]\] tables"),
        ([HEAD + '[[step]]\nrename_class = "Ward"'], "step 1: expected one of rename_class"),
        ([HEAD + '[[step]]\ndrop_class = "Ward"\nto = "CareUnit"'], "step 1: expected one of"),
        (
            [HEAD + '[[step]]\nrename_class = "Ward"\nto = "Bed"\nmap = { a = "b" }'],
            "step 1: expected one of",
        ),
        ([HEAD + '[[step]]\nforget = "Ward"'], "step 1: expected one of"),
        ([HEAD + '[[step]]\nrename_class = "Ward"\nto = "Wart"'], "name a class of the module, found Wart"),
        ([HEAD + '[[step]]\nrename_class = "Ward"\nto = "Person"'], "`to` to be a term of the module"),
        ([HEAD + '[[step]]\ndrop_value = "email"'], "step 1, email: expected a term of the module"),
        ([HEAD + '[[step]]\ndrop_class = "Person"'], "step 1, Person: expected a term of the module"),
        ([HEAD + '[[step]]\ndrop_class = "Bed"'], "expected a name that version 3.0.0 no longer has"),
        (
            [HEAD + '[[step]]\nmove_values = "level"\nmap = { 0 = "1", "1" = "0" }'],
            "a map whose results it does not map again",
        ),
    ],
)
def test_what_is_wrong_with_one_is_told(tmp_path: Path, texts: list[str], expected: str) -> None:
    hospital = Hospital(tmp_path, *texts)
    with pytest.raises(OntologyError, match=expected):
        hospital.chain()


def test_types_of_ids_are_those_that_the_loader_makes() -> None:
    for one in load().classes.values():
        assert type_of_class(one.name) == one.type

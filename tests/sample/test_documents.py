"""Plans, policies and pay: the numbers are where they should be, and nowhere else."""

import csv
import importlib.util
import re
from itertools import chain

import pytest
from pypdf import PdfReader

# Deductible and out-of-pocket maximum (individual, family), then co-insurance and copays.
PLANS = {
    "larkspur-harbor-ppo.pdf": "$1,850 $3,700 $6,150 $12,300 20% $28 $52 $340 $11",
    "copperleaf-summit-epo.pdf": "$2,275 $4,550 $7,250 $14,500 15 $33 $61 $415 $14",
    "larkspur-meadow-hdhp.md": "$3,325 $6,475 $6,650 $12,950 $5,925 $11,475 $11,850 $22,950 10% 45% $9",
    "tidewater-anchor-hmo.md": "$1,125 $2,250 $8,075 $16,150 30% $24 $47 $275 $7",
    "copperleaf-trail-pos.md": "$1,475 $2,950 $6,825 $13,650 25% $31 $58 $365 $12",
    "northlight-aurora-ppo.md": (
        "$975 $1,950 $5,175 $10,350 12% $2,625 $5,250 $9,225 $18,450 35% $19 $43 $290 $5"
    ),
}


def text_of(path):
    if path.suffix == ".pdf":
        return "\n".join(page.extract_text() for page in PdfReader(path).pages)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def documents(sample):
    folders = ("plans", "policies", "eu")
    return {p: text_of(p) for folder in folders for p in sorted((sample / folder).iterdir())}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_summary_holds_its_amounts_also_as_the_connector_reads_it(sample, crawl, name):
    read = "\n".join(
        str(entity.values["text"])
        for id_, entity in crawl.entities.items()
        if id_.startswith(f"passage:plans/{name}/")
    )
    for amount in PLANS[name].split():
        alone = rf"(?<![\d,]){re.escape(amount)}(?![\d,]*\d)"
        assert re.search(alone, text_of(sample / "plans" / name)), amount
        assert re.search(alone, read), amount


def test_no_two_amounts_are_equal_so_that_a_wrong_answer_shows(sample):
    amounts = list(chain.from_iterable(numbers.split() for numbers in PLANS.values()))
    assert len(amounts) == len(set(amounts))
    assert {path.name for path in (sample / "plans").iterdir()} == set(PLANS)


def test_pdfs_are_what_their_texts_render_to(sample, tmp_path):
    spec = importlib.util.spec_from_file_location("render_pdfs", sample / "render_pdfs.py")
    rendering = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rendering)
    rendered = []
    for head, body in rendering.texts(sample):
        rendering.render(head, body, tmp_path / "made.pdf")
        assert (tmp_path / "made.pdf").read_bytes() == (sample / head["file"]).read_bytes(), head["file"]
        rendered.append(sample / head["file"])
    assert sorted(rendered) == sorted(sample.rglob("*.pdf"))


def test_salaries_are_in_one_file_only(sample, documents, having):
    with (sample / "compensation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = {person["uid"][0]: person["cn"][0] for person in having("inetOrgPerson")}
    assert {row["employee"]: row["name"] for row in rows} == names
    assert len({row["annual_salary"] for row in rows}) == 60
    written = {row["annual_salary"] for row in rows} | {f"{int(row['annual_salary']):,}" for row in rows}
    others = [
        path.read_text(encoding="utf-8")
        for path in sample.rglob("*")
        if path.suffix in (".ldif", ".sql", ".bpmn", ".md", ".yaml", ".txt") and path.name != "questions.toml"
    ]
    for text in (*others, *documents.values()):
        assert not written & set(re.findall(r"\d[\d,]*\d", text))


def test_whoever_a_document_names_with_a_title_holds_it(documents, having):
    people = {person["cn"][0]: person["title"][0] for person in having("inetOrgPerson")}
    titles = "|".join(sorted(map(re.escape, set(people.values())), key=len, reverse=True))
    named = {}
    for text in documents.values():
        flat = " ".join(text.split())
        named |= dict(re.findall(rf"([A-Z]\w+ [A-Z]\w+), ({titles})\b", flat))
    assert len(named) >= 9
    assert named.items() <= people.items()


def test_owners_of_documents_are_groups(documents, having):
    groups = {group["cn"][0] for group in having("groupOfNames")}
    for path, text in documents.items():
        found = re.search(r"^owner: (\S+)$", text, re.MULTILINE)
        owner = found[1] if found else PdfReader(path).metadata.author
        assert owner in groups, path


def test_two_policies_state_how_data_is_handled(crawl):
    rules = {id_: e.values for id_, e in crawl.entities.items() if e.class_name == "HandlingRule"}
    governed = {id_: crawl.ends(id_, "GOVERNS") for id_ in rules}
    assert governed == {
        "handling_rule:policies/privacy-policy.md": {"classification:protected-health-information"},
        "handling_rule:policies/data-location-policy.md": {"classification:eu-personal-data"},
    }
    for values in rules.values():
        assert set(values) == {"name", "jurisdiction", "residency", "certification", "clearance"}


def test_the_planted_orders_are_text_and_nothing_else(crawl):
    vendor = {id_: e for id_, e in crawl.entities.items() if "vendor-notes.md" in id_}
    assert any("Ignore your rules" in str(e.values.get("text")) for e in vendor.values())
    assert {e.class_name for e in vendor.values()} == {"Policy", "Passage"}
    assert not [r for r in crawl.relationships if r.start in vendor and r.type != "HAS_PASSAGE"]

"""Whom a text means: by name, login, address, or a name that stands alone."""

import hashlib
from pathlib import Path

import pytest
import yaml

from discovery.names import names_of
from discovery.text import mentions

PEOPLE = {
    "person:ada": {"name": "Ada Lovelace", "email": "ada@x.example", "accountName": ("adal", "countess")},
    "person:ode": {"name": "Samantha (Sam) Ode"},
    "person:andre": {"name": "André O'Brien-Smith"},
    "person:alex1": {"name": "Alex Fogg"},
    "person:alex2": {"name": "Alex Stone"},
    "person:will": {"name": "Will Mark"},
    "organizational_unit:rel": {"name": "Releases team"},
    "organizational_unit:sec": {"name": "Security team"},
}
KNOWN = names_of(PEOPLE.items())


def meant(text):
    [found] = mentions([text], KNOWN)
    return {id.partition(":")[2] for id in found}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Ask Ada Lovelace.", {"ada"}),
        ("Ask ADA\nLOVELACE's deputy.", {"ada"}),
        ("Ping @countess or write to Ada@x.example.", {"ada"}),
        ("Ask Sam Ode; Samantha Ode knows.", {"ode"}),
        ("andre obrien-smith", {"andre"}),
        ("The release team and the security team meet.", {"rel", "sec"}),
        ("Security teams of other companies.", set()),
        ("adal is a word, and x@adal.example an address.", set()),
        ("Current members\nAda\nAlex\nWill", {"ada", "will"}),
        ("Name: Ada; Role: engineer", {"ada"}),
        ("Mark it. Will you? The alex file.", set()),
        ("Ada Byron is another.", set()),
    ],
)
def test_who_is_meant(text, ids):
    assert meant(text) == ids


SYSTEMS = names_of(
    {
        "dataset:benefits": {"name": "Benefits database"},
        "dataset:chinook": {"name": "chinook"},
        "dataset:billing": {"name": "billingDb"},
        "repository:quoting": {"name": "quoting-service"},
        "repository:rust": {"name": "rust-lang/rust"},
        "repository:docs": {"name": "docs"},
        "process:quoting": {"name": "Quoting"},
        "process:follow": {"name": "follow-up"},
        "mesh_node:boston": {"name": "boston-cpu"},
        "software_agent:helper": {"name": "Quote helper"},
        "document:policy": {"name": "Privacy Policy"},
    }.items()
)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Claims are kept in the benefits database.", {"benefits"}),
        (
            "Clone quoting-service, then `rust-lang/rust`; billingDb holds what was paid.",
            {"quoting", "rust", "billing"},
        ),
        ("The Chinook data set and the quoting process, on boston-cpu.", {"chinook", "quoting", "boston"}),
        ("The quote helper answers.", {"helper"}),
        ("A quoting service: its docs, a follow-up, rust and chinook winds, the docs folder.", set()),
        ("Send it to billingdb-old or my-quoting-service; x/rust-lang/rust is another.", set()),
        ("The database of benefits; the process is quoting; questions about docs repository pages.", set()),
        ("Ask in #quoting-service, or ping @boston-cpu.", set()),
        ("As the Privacy Policy says.", set()),
    ],
)
def test_which_systems_are_meant(text, ids):
    """By names that nobody writes by chance, or with what they are; precision comes first."""
    [found] = mentions([text], SYSTEMS)
    assert {id.partition(":")[2] for id in found} == ids


def test_texts_keep_their_order_whichever_are_given_to_the_model():
    texts = ["nobody", "Alex Fogg", "I met Ada in London on Monday.", "@adal"]
    found = [{id.partition(":")[2] for id in ids} for ids in mentions(texts, KNOWN)]
    assert (found[0], found[1], found[3]) == (set(), {"alex1"}, {"ada"})
    assert found[2] <= {"ada"}


def test_names_that_several_have_are_nobodys():
    assert names_of([("person:a", {"name": "Ann Lee"}), ("person:b", {"name": "Ann Lee"})]) == {}


def test_the_handbook_is_labelled_by_three_hundred_pairs_and_a_third_is_held_out():
    labels = yaml.safe_load((Path(__file__).parents[1] / "handbook" / "mentions.yaml").read_text("utf-8"))
    pairs = {(page, id) for page, ids in labels["pages"].items() for id in ids}
    held = {one for one in pairs if int(hashlib.sha256(one[0].encode()).hexdigest(), 16) % 3 == 0}
    assert (len(pairs), len(held)) == (384, 148)
    assert len(pairs) >= 300
    assert len(held) >= len(pairs) / 3

"""sources.toml: what it declares, as claims of its own, and what is refused in it."""

import re

import pytest

from discovery.configuration import all_sources, configuration_source
from discovery.sources import ConfigurationError, load_organization

GOOD = """
name = "Acme"
issuer = "acme"
administrator = "person:ada"

[[collection]]
id = "all"
name = "All"
readers = ["group:everyone"]

[[collection]]
id = "hr"
name = "HR"
readers = ["group:hr", "person:ada"]
inherits = "all"

[[source]]
name = "people"
connector = "ldif"
collection = "all"
every = "15m"
handling = { jurisdictions = ["US"] }
options = { path = "d.ldif" }
"""


def load(folder, text):
    path = folder / "sources.toml"
    path.write_text(text, encoding="utf-8")
    return load_organization(path)


def test_the_configuration_is_a_source_of_its_collections_and_their_readers(crawl_source, tmp_path):
    organization = load(tmp_path, GOOD)
    said = crawl_source(organization, configuration_source(organization))
    assert {id_: claim.collection for id_, claim in said.entities.items()} == {
        "organization:acme": "collection:all",
        "collection:all": "collection:all",
        "collection:hr": "collection:hr",
    }
    assert said.relationships == {
        ("group:everyone", "MAY_VIEW", "collection:all"),
        ("group:hr", "MAY_VIEW", "collection:hr"),
        ("person:ada", "MAY_VIEW", "collection:hr"),
        ("collection:hr", "INHERITS_FROM", "collection:all"),
        ("person:ada", "ADMINISTERS_ACCESS", "organization:acme"),
        ("person:ada", "MAY_GRANT", "collection:all"),
        ("person:ada", "MAY_GRANT", "collection:hr"),
    }


def test_owners_emergency_readers_and_agents_are_declared_with_their_rights(crawl_source, tmp_path):
    owned = 'inherits = "all"\nowners = ["group:hr"]\nbreak_glass = { by = ["person:eve"], longest = "4h" }'
    agent = '[[agent]]\nid = "helper"\nname = "Helper"\nmay_act_for = ["group:everyone"]\n[[source]]'
    text = GOOD.replace('inherits = "all"', owned).replace("[[source]]", agent)
    organization = load(tmp_path, text)
    said = crawl_source(organization, configuration_source(organization))
    assert said.entities["software_agent:helper"].values == {"name": "Helper"}
    assert {
        ("group:hr", "MAY_GRANT", "collection:hr"),
        ("person:eve", "MAY_BREAK_GLASS", "collection:hr"),
        ("group:everyone", "MAY_BE_REPRESENTED_BY", "software_agent:helper"),
    } < said.relationships


def test_the_configuration_may_grant_what_it_declares_and_no_more(tmp_path):
    organization = load(tmp_path, GOOD)
    policy = configuration_source(organization).policy()
    assert policy.grants == {
        "MAY_VIEW",
        "INHERITS_FROM",
        "MAY_GRANT",
        "MAY_BREAK_GLASS",
        "ADMINISTERS_ACCESS",
        "MAY_BE_REPRESENTED_BY",
    }
    assert policy.collections == {"collection:all", "collection:hr"}
    assert [source.name for source in all_sources(organization)] == ["configuration", "people"]


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('name = "people"', 'name = "configuration"', "is the name of this file as a source"),
        ('"group:everyone"', '"everyone"', "collection.0.readers.0"),
        ('"person:ada"\n', '"ada"\n', "administrator"),
        ('collection = "all"', 'collection = "gone"', "which no \\[\\[collection\\]\\] declares"),
        ('inherits = "all"', 'inherits = "gone"', "inherits from 'gone'"),
        ('id = "hr"', 'id = "all"', "collection 'all' is declared twice"),
        ('every = "15m"', 'every = "often"', "expected a duration"),
        ('name = "people"', 'name = "administration"', "is the name of what is granted and denied by hand"),
        ('connector = "ldif"', 'connector = "ldif"\ngrants = ["DENIED_VIEW"]', "only claimed by hand"),
        ('inherits = "all"', 'break_glass = { by = [], longest = "1h" }', "collection.1.break_glass.by"),
        ("handling = { jurisdictions", "handling = { laws", "source.0.handling.laws"),
        ("handling =", "held =", "source.0.handling: Field required"),
    ],
)
def test_a_wrong_key_is_refused_by_name(tmp_path, before, after, says):
    assert before in GOOD
    with pytest.raises(ConfigurationError, match=says):
        load(tmp_path, GOOD.replace(before, after))


SECOND = """
[[source]]
name = "code"
connector = "ldif"
collection = "all"
grants = ["HAS_ACCOUNT"]
issuers = ["github"]
handling = { jurisdictions = ["US"] }
options = { path = "e.ldif" }
"""


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("", None),
        ('grants = ["HAS_ACCOUNT"]', "source 'people' is granted HAS_ACCOUNT and so is 'code': name those"),
        ('grants = ["HAS_ACCOUNT"]\nissuers = ["acme", "github"]', "both have 'github' among their issuers"),
        ('grants = ["HAS_ACCOUNT"]\nissuers = ["acme"]', None),
    ],
)
def test_each_issuer_has_one_source_that_says_whose_its_accounts_are(tmp_path, first, says):
    text = GOOD.replace('every = "15m"', f'every = "15m"\n{first}') + SECOND
    if says is not None:
        with pytest.raises(ConfigurationError, match=says):
            load(tmp_path, text)
    else:
        assert load(tmp_path, text).source[1].policy().issuers == {"github"}


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ([], ["group:b"], "both granted MEMBER_OF: name those of which 'people' is the authority"),
        (["group:a"], [], "both granted MEMBER_OF: name those of which 'code' is the authority"),
        (["group:a"], ["group:a"], "have 'group:a' and 'group:a' as their authority"),
        (["group:rust.*"], ["group:rust.core"], "leave what is in both to one of them"),
        (["group:rust.core"], ["group:*"], "leave what is in both to one of them"),
        (["group:rust.*", "group:a"], ["group:rustc", "group:ab"], None),
        (["everyone"], ["group:b"], "String should match pattern"),
    ],
)
def test_each_group_has_one_source_that_says_who_is_in_it(tmp_path, first, second, says):
    text = GOOD.replace('every = "15m"', f'every = "15m"\ngrants = ["MEMBER_OF"]\nauthority = {first}')
    text += SECOND.replace('["HAS_ACCOUNT"]', f'["MEMBER_OF", "SUBGROUP_OF"]\nauthority = {second}')
    if says is not None:
        with pytest.raises(ConfigurationError, match=re.escape(says)):
            load(tmp_path, text)
    else:
        assert load(tmp_path, text).source[1].policy().authority == set(second)


def test_an_unknown_connector_is_refused_with_the_known_ones(crawl_source, tmp_path):
    organization = load(tmp_path, GOOD.replace('"ldif"', '"telepathy"'))
    with pytest.raises(
        ConfigurationError, match="no connector 'telepathy'; there are: bpmn, codeowners, dbt, documents"
    ):
        crawl_source(organization, organization.source[0])


def test_a_classification_of_two_sources_is_described_by_the_first_only(
    crawl_source, make_organization, tmp_path
):
    rule = [{"pattern": "person:*", "classification": "personal"}]
    (tmp_path / "x.yml").write_text("ada: {name: Ada}")
    (tmp_path / "m.toml").write_text(
        '[[rule]]\nid = "person:{_key}"\nclass = "Person"\nvalues = { name = "name" }\n'
    )
    source = {
        "connector": "mapping",
        "options": {"path": "x.yml", "mapping": "m.toml"},
        "classification": rule,
    }
    organization = make_organization(
        tmp_path, {"name": "first", **source}, {"name": "second", **source, "collection": "hr"}
    )
    first, second = (crawl_source(organization, declared) for declared in organization.source)
    assert first.entities["classification:personal"].collection == "collection:all"
    assert "classification:personal" not in second.entities
    assert second.typed("CLASSIFIED_AS") == {("person:ada", "classification:personal")}

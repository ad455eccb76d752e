"""The directory: people, accounts, groups, units, and who may not be taken for whom."""

import base64

import pytest

from discovery.connector import SourceError
from discovery.sources import ConfigurationError

DIRECTORY = """\
version: 1

dn: ou=people,dc=acme
objectClass: organizationalUnit
ou: people

dn: ou=Claims Operations,ou=units,dc=acme
objectClass: organizationalUnit
ou: Claims Operations
manager: uid=ada,ou=people,dc=acme

dn: uid=ada,ou=people,dc=acme
objectClass: inetOrgPerson
uid: ada
cn: Ada Lovelace
sn: Lovelace
title: Director
mail: ada@acme.example
ou: Claims Operations
homePhone: +1 617 555 0100
homePostalAddress: 1 Analytical Way

dn: UID=grace, ou=people, dc=acme
objectClass: inetOrgPerson
uid: grace
cn:: {grace}
sn: Hopper
ou: Claims Operations
manager: uid=Ada,ou=People,dc=acme
loginDisabled: TRUE

dn: cn=staff,ou=groups,dc=acme
objectClass: groupOfNames
cn: staff
member: uid=ada,ou=people,dc=acme
member: cn=admins,ou=groups,dc=acme
owner: uid=ada,ou=people,dc=acme

dn: cn=admins,ou=groups,dc=acme
objectClass: groupOfUniqueNames
cn: admins
uniqueMember: uid=grace,ou=people,dc=acme
""".format(grace=base64.b64encode("Grace Brewster Höpper".encode()).decode())

CONTACT = [{"pattern": "home*", "collection": "hr"}]


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "directory.ldif").write_text(DIRECTORY, encoding="utf-8")
    return tmp_path


def test_a_directory_becomes_people_accounts_groups_and_units(say, directory):
    said = say(directory, "ldif", {"path": "directory.ldif"})
    assert said.problems == []
    assert said.relationships == {
        ("person:ada", "HAS_ACCOUNT", "account:acme/ada"),
        ("person:grace", "HAS_ACCOUNT", "account:acme/grace"),
        ("person:ada", "WORKS_IN", "organizational_unit:claims-operations"),
        ("person:grace", "WORKS_IN", "organizational_unit:claims-operations"),
        ("person:grace", "REPORTS_TO", "person:ada"),
        ("person:ada", "LEADS", "organizational_unit:claims-operations"),
        ("organizational_unit:claims-operations", "UNIT_OF", "organization:acme"),
        ("person:ada", "MEMBER_OF", "group:staff"),
        ("group:admins", "SUBGROUP_OF", "group:staff"),
        ("person:grace", "MEMBER_OF", "group:admins"),
        ("person:ada", "OWNS", "group:staff"),
    }
    assert said.entities["person:ada"].values == {
        "name": "Ada Lovelace",
        "familyName": "Lovelace",
        "jobTitle": "Director",
        "email": "ada@acme.example",
        "accountName": "ada",
    }
    assert said.entities["person:grace"].values["name"] == "Grace Brewster Höpper"
    assert said.entities["person:ada"].evidence == "directory.ldif:12"


def test_a_disabled_login_is_a_disabled_account(say, directory):
    said = say(directory, "ldif", {"path": "directory.ldif"})
    assert said.entities["account:acme/grace"].values["disabled"] is True
    assert said.entities["account:acme/ada"].values["disabled"] is False


def test_a_locked_account_is_disabled_whenever_it_was_locked(say, tmp_path):
    (tmp_path / "d.ldif").write_text(
        "dn: uid=a,dc=x\nobjectClass: inetOrgPerson\nuid: a\ncn: A\npwdAccountLockedTime: 000001010000Z\n"
    )
    said = say(tmp_path, "ldif", {"path": "d.ldif"})
    assert said.entities["account:acme/a"].values["disabled"] is True


def test_home_contact_is_an_entity_of_its_own_in_its_own_collection(say, directory):
    said = say(directory, "ldif", {"path": "directory.ldif"}, placement=CONTACT)
    [details] = said.of("ContactDetails")
    assert details.collection == "collection:hr"
    assert details.values["homePhone"] == "+1 617 555 0100"
    assert details.values["homeAddress"] == "1 Analytical Way"
    assert said.entities["person:ada"].collection == "collection:all"
    assert ("person:ada", "HAS_CONTACT_DETAILS", details.id) in said.relationships


def test_home_contact_that_no_rule_places_is_not_read(say, directory):
    said = say(directory, "ldif", {"path": "directory.ldif"})
    assert not any("555" in str(claim) for claim in said.claims)


def test_a_placement_that_could_not_be_kept_is_refused(say, directory):
    with pytest.raises(ConfigurationError, match="'mail' matches none of the attributes"):
        say(
            directory, "ldif", {"path": "directory.ldif"}, placement=[{"pattern": "mail", "collection": "hr"}]
        )


def test_people_elsewhere_in_the_tree_are_left_out(say, directory):
    said = say(directory, "ldif", {"path": "directory.ldif", "people_base": "ou=robots,dc=acme"})
    assert said.of("Person") == []


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("dn: uid=x,dc=acme\nobjectClass inetOrgPerson\n", "expected an LDIF entry"),
        ("uid: x\nobjectClass: inetOrgPerson\n", "does not start with 'dn:'"),
        ("dn: nonsense\nobjectClass: inetOrgPerson\n", "expected attribute=value"),
        ("dn: uid=x,,dc=acme\nobjectClass: top\n", "expected a distinguished name"),
        ("dn: uid=x,dc=acme\nobjectClass:: abcde\n", "expected an LDIF entry"),
        ("dn: uid=x,dc=acme\nchangetype: delete\n", "change record"),
        ("dn: uid=x,dc=acme\nobjectClass: inetOrgPerson\ncn: X\n", "expected the attribute uid"),
        ("dn: uid=ada,ou=b,dc=acme\nobjectClass: inetOrgPerson\nuid: ada\ncn: Eve\n", "person:ada is also"),
        ("dn: cn=g,dc=acme\nobjectClass: groupOfNames\ncn: g\nmember: uid=ghost,dc=acme\n", "uid=ghost"),
    ],
)
def test_a_broken_entry_is_named_and_the_rest_goes_on(say, directory, entry, says):
    file = directory / "directory.ldif"
    file.write_text(DIRECTORY + "\n" + entry, encoding="utf-8")
    said = say(directory, "ldif", {"path": "directory.ldif"})
    [problem] = said.problems
    assert problem.place == f"directory.ldif:{DIRECTORY.count(chr(10)) + 2}"
    assert says in problem.message
    assert len(said.of("Person")) == 2
    assert said.entities["person:ada"].values["name"] == "Ada Lovelace"


def test_text_in_another_encoding_is_named(say, tmp_path):
    (tmp_path / "d.ldif").write_bytes(
        b"dn: uid=a,dc=x\nobjectClass: inetOrgPerson\nuid: a\ncn: A\ntitle: G\xe9rant\n"
    )
    said = say(tmp_path, "ldif", {"path": "d.ldif"})
    assert ["expected UTF-8 in title" in problem.message for problem in said.problems] == [True]
    assert "jobTitle" not in said.entities["person:a"].values


def test_a_distinguished_name_made_to_keep_a_pattern_busy_is_refused_at_once(say, directory):
    hostile = "+".join(["a=b"] * 60) + ",,"
    encoded = base64.b64encode(hostile.encode()).decode()
    file = directory / "directory.ldif"
    file.write_text(f"{DIRECTORY}\ndn: {hostile}\nou: x\n\ndn:: {encoded}\nou: x\n", encoding="utf-8")
    said = say(directory, "ldif", {"path": "directory.ldif"})
    assert len(said.problems) == 2


def test_an_address_in_a_value_is_never_fetched(say, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "d.ldif").write_text(
        f"dn: uid=a,dc=x\nobjectClass: inetOrgPerson\nuid: a\ncn: A\ntitle:< file://{tmp_path}/secret\n"
    )
    said = say(tmp_path, "ldif", {"path": "d.ldif"})
    assert not any("secret" in str(claim) for claim in said.claims)


def test_a_missing_file_fails_the_scope(say, tmp_path):
    with pytest.raises(SourceError, match=r"gone\.ldif: there is no such file"):
        say(tmp_path, "ldif", {"path": "gone.ldif"})


@pytest.mark.shared_data
def test_the_planet_express_directory_is_read(say, shared_data):
    said = say(shared_data / "ldap-planet-express", "ldif", {"path": "*.ldif"})
    assert said.problems == []
    assert len(said.of("Person")) == 7
    assert {group.id for group in said.of("Group")} == {"group:admin_staff", "group:ship_crew"}
    assert {start for start, end in said.typed("MEMBER_OF") if end == "group:ship_crew"} == {
        "person:fry",
        "person:leela",
        "person:bender",
    }
    assert ("person:hermes", "group:admin_staff") in said.typed("MEMBER_OF")

"""The directory is whole: whoever is named is there."""

REFERENCES = ("manager", "member")


def test_sixty_people_work_here(having):
    people = having("inetOrgPerson")
    assert len(people) == 60
    for attribute in ("uid", "cn", "mail", "employeeNumber"):
        assert len({person[attribute][0] for person in people}) == 60, attribute


def test_every_reference_leads_to_an_entry(directory):
    lost = {
        (dn, attribute, target)
        for dn, entry in directory.items()
        for attribute in REFERENCES
        for target in entry.get(attribute, [])
        if target.lower() not in directory
    }
    assert not lost


def test_everyone_but_one_reports_to_somebody_and_nobody_in_a_circle(directory):
    heads = set()
    for dn, entry in directory.items():
        if "inetOrgPerson" not in entry["objectClass"]:
            continue
        above, seen = dn, set()
        while "manager" in directory[above]:
            assert above not in seen, dn
            seen.add(above)
            above = directory[above]["manager"][0].lower()
        heads.add(above)
    assert heads == {"uid=marguerite.ellery,ou=people,dc=harborview,dc=example"}


def test_every_team_has_a_lead_who_works_in_it(directory, having):
    teams = [unit for unit in having("organizationalUnit") if "manager" in unit]
    assert len(teams) == 8
    for team in teams:
        assert directory[team["manager"][0].lower()]["ou"] == team["ou"]


def test_everyone_is_in_everyone_by_way_of_nested_groups(crawl):
    people = [id_ for id_ in crawl.entities if id_.startswith("person:")]
    assert len(people) == 60
    assert all("group:everyone" in crawl.groups(person) for person in people)
    readers = {person for person in people if "group:phi-readers" in crawl.groups(person)}
    assert {reader.removeprefix("person:") for reader in readers} == {
        "harriet.boone",
        "dmitri.solano",
        "keiko.yamane",
        "judith.arkwright",
        "omar.belkacem",
        "lin.fairbanks",
        "stefan.rourke",
    }


def test_one_account_is_disabled(crawl):
    accounts = [entity for entity in crawl.entities.values() if entity.class_name == "Account"]
    assert [a.values["subject"] for a in accounts if a.values["disabled"]] == ["ellis.corrigan"]


def test_the_export_has_what_real_ones_have(sample):
    text = (sample / "directory.ldif").read_text(encoding="ascii")
    assert "cn:: " in text, "base64"
    assert "\n " in text, "folded lines"
    assert max(map(len, text.splitlines())) <= 76

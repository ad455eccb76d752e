"""A SCIM 2.0 service read as a client: pages, whoever is disabled, and everything that may go wrong."""

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from discovery.connector import Position, PositionLostError, SourceError
from discovery.connectors.table import build
from discovery.pages import watched
from discovery.scim.patches import PATCH_SCHEMA, patched
from discovery.scim.resources import (
    ENTERPRISE,
    ScimClaims,
    ScimError,
    ScimOptions,
    checked,
    references,
)
from discovery.served_specimens import scim_server
from discovery.sources import ConfigurationError

TOKEN = "scim-token-that-stays-here"


def user(number, **more):
    return {
        "id": f"id{number}",
        "userName": f"u{number}",
        "displayName": f"User {number}",
        "active": True,
        "emails": [{"value": f"home{number}@x.example"}, {"value": f"u{number}@x.example", "type": "work"}],
        **more,
    }


USERS = [
    user(1, title="Lead", name={"givenName": "One"}),
    user(2, active=False),
    user(3, **{ENTERPRISE: {"manager": {"value": "id1"}, "department": "Space Travel"}}),
    {"id": "id4", "userName": "u4"},
]
GROUPS = [
    {
        "id": "g1",
        "displayName": "crew",
        "members": [{"value": "id1"}, {"value": "id3", "$ref": "../Users/id3"}],
    },
    {"id": "g2", "displayName": "everyone", "members": [{"value": "g1", "type": "Group"}]},
]


@pytest.fixture
def read(say, tmp_path, monkeypatch):
    monkeypatch.setenv("SCIM_TOKEN", TOKEN)

    def go(users=USERS, groups=GROUPS, change=lambda path, start, page: (200, page), **options):
        with scim_server(users, groups, TOKEN, change) as url:
            return say(tmp_path, "scim", {"url": url, "token": "env:SCIM_TOKEN", "page_size": 3, **options})

    return go


def test_users_accounts_and_groups_are_read_page_by_page(read):
    said = read()
    assert said.problems == []
    assert said.entities["person:u1"].values["jobTitle"] == "Lead"
    assert said.entities["person:u1"].values["email"] == "u1@x.example"
    disabled = {claim.id for claim in said.of("Account") if claim.values["disabled"]}
    assert disabled == {"account:acme/u2", "account:acme/u4"}  # who does not say has no access
    assert said.typed("MEMBER_OF") == {("person:u1", "group:crew"), ("person:u3", "group:crew")}
    assert said.typed("SUBGROUP_OF") == {("group:crew", "group:everyone")}
    assert said.typed("REPORTS_TO") == {("person:u3", "person:u1")}
    assert said.typed("WORKS_IN") == {("person:u3", "organizational_unit:space-travel")}
    assert TOKEN not in repr(said)


def test_people_and_groups_may_be_named_by_their_ids(read):
    said = read(user_key="id", group_key="id")
    assert said.typed("HAS_ACCOUNT") >= {("person:id1", "account:acme/id1")}
    assert ("person:id1", "group:g1") in said.typed("MEMBER_OF")


def test_what_did_not_change_is_not_read_again(make_organization, tmp_path, monkeypatch):
    """Where the service tells a version of each resource, or when it changed to less than a second."""
    monkeypatch.setenv("SCIM_TOKEN", TOKEN)
    versions = iter(range(100))
    users = [{**one, "meta": {"version": f'W/"{next(versions)}"'}} for one in USERS]
    groups = [{**one, "meta": {"lastModified": "2026-11-01T00:00:00.123Z"}} for one in GROUPS]
    with scim_server(users, groups, TOKEN) as url:
        declared = {"name": "s", "connector": "scim", "options": {"url": url, "token": "env:SCIM_TOKEN"}}
        organization = make_organization(tmp_path, declared)
        connector = build(organization, organization.source[0], {})
        [position] = [one for one in connector.read(url) if isinstance(one, Position)]
        assert list(connector.changes(url, position.text)) == []
        for change in (
            lambda: users[0].update(title="Captain", meta={"version": 'W/"new"'}),
            groups.pop,
            lambda: groups[0].update(meta={"lastModified": "2026-11-01T00:00:00.124Z"}),
        ):
            change()
            with pytest.raises(PositionLostError):
                list(connector.changes(url, position.text))
            [position] = [one for one in connector.read(url) if isinstance(one, Position)]
            assert list(connector.changes(url, position.text)) == []
        groups[0]["meta"] = {"lastModified": "2026-11-01T00:00:00Z"}  # another within that second is the same
        assert not [one for one in connector.read(url) if isinstance(one, Position)]
        with pytest.raises(PositionLostError):
            list(connector.changes(url, position.text))


def test_a_whole_reading_lists_once_and_what_changes_meanwhile_is_read_again(
    make_organization, tmp_path, monkeypatch
):
    monkeypatch.setenv("SCIM_TOKEN", TOKEN)
    users = [user(number, meta={"version": f'W/"{number}"'}) for number in range(1, 5)]
    groups = [{**one, "meta": {"version": 'W/"1"'}} for one in GROUPS]
    with scim_server(users, groups, TOKEN) as url:
        options = {"url": url, "token": "env:SCIM_TOKEN", "page_size": 2}
        organization = make_organization(tmp_path, {"name": "s", "connector": "scim", "options": options})
        connector = build(organization, organization.source[0], {})
        turned = []

        def then(page):
            turned.append(page)
            if page == "Users from 3":
                users[0] = user(1, title="Captain", meta={"version": 'W/"new"'})

        with watched(then):
            [position] = [one for one in connector.read(url) if isinstance(one, Position)]
        assert turned == ["Users from 1", "Users from 3", "Groups from 1"]
        with pytest.raises(PositionLostError):
            list(connector.changes(url, position.text))
        [position] = [one for one in connector.read(url) if isinstance(one, Position)]
        assert list(connector.changes(url, position.text)) == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (lambda path, start, page: (429, {}), "answered with 429"),
        (lambda path, start, page: (302, {}), "answered with 302"),
        (lambda path, start, page: (200, b"<html>"), "expected JSON"),
        (lambda path, start, page: (200, b"[" * 100_000), "expected JSON"),
        (lambda path, start, page: (200, {"Resources": []}), "expected totalResults"),
        (lambda path, start, page: (200, {**page, "Resources": []}), "ends at 0 of 4"),
    ],
)
def test_an_answer_that_is_no_list_fails_the_scope(read, changed, says):
    with pytest.raises(SourceError, match=says) as error:
        read(change=changed)
    assert TOKEN not in str(error.value)


def repeated(path, start, page):
    return 200, {**page, "Resources": USERS[:1]} if path.endswith("Users") and start > 1 else page


def shrinking(path, start, page):
    return 200, {**page, "totalResults": page["totalResults"] + 1} if start == 1 else page


@pytest.mark.parametrize(
    ("change", "says"), [(repeated, "a page was repeated"), (shrinking, "their number changed")]
)
def test_a_list_that_is_not_whole_is_a_problem(read, change, says):
    assert any(says in problem.message for problem in read(change=change).problems)


@pytest.mark.parametrize(
    ("users", "says"),
    [
        ([user(1), {"userName": "x"}], "a resource with an id"),
        ([user(1), {"id": "x"}], "userName: expected a value"),
        ([user(1), user(2, active="perhaps")], "expected true or false"),
        ([user(1), user(2, userName="u1")], "another resource as well"),
    ],
)
def test_a_user_that_cannot_be_read_is_a_problem_and_the_rest_goes_on(read, users, says):
    said = read(users=users, groups=[])
    assert any(says in problem.message for problem in said.problems)
    assert "person:u1" in said.entities


def test_a_member_who_is_not_there_is_a_problem(read):
    said = read(groups=[{"id": "g", "displayName": "g", "members": [{"value": "gone"}]}])
    assert "members names 'gone'" in said.problems[0].message
    assert said.typed("MEMBER_OF") == set()


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://scim.example/v2", "token": "env:X"},
        {"url": "https://ada:pw@scim.example", "token": "env:X"},
        {"url": "https://scim.example", "token": "the-token-itself"},
        {"url": "https://scim.example"},
    ],
)
def test_a_token_goes_over_tls_only_and_is_named_by_reference(say, tmp_path, options):
    with pytest.raises(ConfigurationError):
        say(tmp_path, "scim", options)


VALUES = st.recursive(
    st.sampled_from([None, True, 7, "", "ada", "id1", "\ud800", "False", "x" * 3_000, {}, []]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["value", "type", "givenName", "manager", "members"]), inner, max_size=2
        )
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(
    ["userName", "USERNAME", "active", "name", "emails", "members", "displayName", "externalId", "title"]
) | st.just(ENTERPRISE)
PATHS = st.sampled_from(
    [
        *(
            "",
            "active",
            "members",
            "name.givenName",
            "emails",
            'emails[type eq "work"].value',
            "a.b.c",
            "members[]",
        ),
        *(
            'members[value eq "id1"]',
            f"{ENTERPRISE}:manager",
            f"{ENTERPRISE}:manager.value",
            ENTERPRISE,
            "x[y]",
        ),
        *(
            'members[value eq "\\ud800"]',
            "urn:ietf:params:scim:schemas:core:2.0:User:userName",
            "emails.value",
        ),
    ]
)
OPERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["Add", "replace", "remove", "move", 7]),
        "path": PATHS | VALUES,
        "value": VALUES | st.dictionaries(NAMES, VALUES, max_size=2),
    },
)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@example(
    document={}, operations=[{"op": "remove", "path": "members", "value": [{"value": ["id1"]}]}], kind="Group"
)
@given(
    document=st.dictionaries(NAMES, VALUES, max_size=3),
    operations=st.lists(OPERATIONS | VALUES, max_size=3),
    kind=st.sampled_from(["User", "Group"]),
)
def test_whatever_a_provider_sends_is_kept_or_refused_as_the_standard_says(
    make_organization, tmp_path_factory, document, operations, kind
):
    """What is kept makes claims."""
    required = {"userName": "ada"} if kind == "User" else {"displayName": "crew"}
    organization = make_organization(tmp_path_factory.getbasetemp(), {"name": "s", "connector": "scim-push"})
    claims = ScimClaims(organization, organization.source[0], ScimOptions())
    for sent in (document, {**required, **document}):
        try:
            kept = checked(sent, kind, active=True)
            list(claims.of(kept, "id1", kind, {"id2": "person:bob"}.get))
            references(kept)
            request = {"schemas": [PATCH_SCHEMA], "Operations": operations}
            kept = checked(patched(kept, request), kind)
            list(claims.of(kept, "id1", kind, {"id2": "person:bob"}.get))
            references(kept)
            json.dumps(kept).encode()
        except ScimError as error:
            assert 0 < len(str(error)) < 2_000

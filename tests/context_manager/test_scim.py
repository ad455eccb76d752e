"""Identity providers push over SCIM: what they send becomes claims before it is answered, and a
deactivated account has no access from then on. The client reads what the server holds."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import web

from context_manager.scim_api import add_scim
from discovery.configuration import all_sources
from discovery.runner import Runner
from discovery.scim.resources import ENTERPRISE
from discovery.sources import OrganizationConfig
from graph.store import FactStore
from graph.system_reads import is_enabled
from ontologies.loader import load_authorization, load_shapes

TOKEN = "pushed-by-the-provider"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

# As Okta sends a new user, and Microsoft Entra one, by their public documentation.
OKTA = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
    "userName": "ada",
    "name": {"givenName": "Ada", "familyName": "Lovelace"},
    "emails": [{"primary": True, "value": "ada@acme.example", "type": "work"}],
    "displayName": "Ada Lovelace",
    "locale": "en-US",
    "externalId": "00ujl29u0le5T6Aj10h7",
    "groups": [],
    "password": "1mz050nq",
    "active": True,
}
ENTRA = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
    "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
    "userName": "grace",
    "active": True,
    "displayName": "Grace Hopper",
    "emails": [{"type": "work", "value": "grace@acme.example", "primary": True}],
    "meta": {"resourceType": "User"},
    "title": "Engineer",
    "roles": [],
    ENTERPRISE: {"employeeNumber": "17", "department": "Engineering"},
}


@pytest.fixture
def organization(tmp_path, monkeypatch):
    monkeypatch.setenv("SCIM_TOKEN", TOKEN)
    common = {"collection": "all", "handling": {}, "grants": ["HAS_ACCOUNT", "MEMBER_OF", "SUBGROUP_OF"]}
    return OrganizationConfig.model_validate(
        {
            "name": "Acme",
            "issuer": "acme",
            "administrator": "person:ada",
            "collection": [{"id": "all", "name": "All", "readers": ["group:everyone"]}],
            "source": [
                {"name": "idp", "connector": "scim-push", "options": {"token": "env:SCIM_TOKEN"}, **common},
                {"name": "other", "connector": "scim-push", "options": {"token": "file:absent"}, **common},
            ],
            "folder": tmp_path,
        }
    )


class Provider:
    """What pushes: an HTTP client of the service, with its token."""

    def __init__(self, session, url):
        self.session = session
        self.url = url

    async def send(self, method, path, body=None, token=TOKEN):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/scim+json"}
        async with self.session.request(method, f"{self.url}/{path}", json=body, headers=headers) as answer:
            return answer.status, await answer.json() if answer.status != 204 else None

    async def create(self, kind, document):
        status, created = await self.send("POST", kind, document)
        assert status == 201, created
        return created["id"]

    async def patch(self, path, *operations, status=200):
        said, body = await self.send("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})
        assert said == status, body
        return body


@asynccontextmanager
async def serving(organization, database):
    runner = Runner(organization, FactStore(database, load_shapes(), load_authorization()), database)
    app = web.Application()
    add_scim(app, runner)
    site_runner = web.AppRunner(app)
    await site_runner.setup()
    site = web.TCPSite(site_runner, "127.0.0.1", 0)
    await site.start()
    port = site_runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        try:
            yield Provider(session, f"http://127.0.0.1:{port}/scim/v2"), runner
        finally:
            await site_runner.cleanup()


@pytest.fixture
async def served(organization, neo4j):
    async with serving(organization, neo4j) as (provider, runner):
        await runner.run(all_sources(organization)[0])
        yield provider, runner


async def enabled(neo4j, name):
    return await is_enabled(neo4j, f"account:acme/{name}")


async def members(neo4j, group):
    records = await neo4j.read(
        "MATCH (p)-[:MEMBER_OF|SUBGROUP_OF]->(g:Group {id: $group}) RETURN p.id AS id ORDER BY id",
        group=group,
    )
    return [record["id"] for record in records]


async def test_pushed_users_and_groups_are_facts_before_the_answer(served, neo4j):
    provider, _ = served
    ada = await provider.create("Users", OKTA)
    grace = await provider.create("Users", ENTRA)
    [person] = await neo4j.read("MATCH (p:Person {id: 'person:grace'}) RETURN p {.*} AS p")
    said = {
        "name": "Grace Hopper",
        "jobTitle": "Engineer",
        "email": "grace@acme.example",
        "employeeNumber": "17",
    }
    assert said.items() <= person["p"].items()
    assert await enabled(neo4j, "grace")
    crew = await provider.create("Groups", {"displayName": "crew", "members": [{"value": ada}]})
    assert await members(neo4j, "group:crew") == ["person:ada"]
    await provider.patch(f"Groups/{crew}", {"op": "Add", "path": "members", "value": [{"value": grace}]})
    assert await members(neo4j, "group:crew") == ["person:ada", "person:grace"]
    whole = await provider.create("Groups", {"displayName": "everyone", "members": [{"value": crew}]})
    assert await members(neo4j, "group:everyone") == ["group:crew"]
    await provider.send("PUT", f"Groups/{whole}", {"displayName": "everyone"})
    assert await members(neo4j, "group:everyone") == []
    kept = await neo4j.read("MATCH (r:_ScimResource) RETURN r.document AS document")
    assert not [one for one in kept if OKTA["password"] in one["document"]]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "value": {"active": False}},  # Okta
        {"op": "Replace", "path": "active", "value": "False"},  # Microsoft Entra
        {"op": "Add", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": False},
    ],
)
async def test_a_deactivated_account_is_disabled_at_once_and_stays_so(served, neo4j, operation):
    provider, runner = served
    ada = await provider.create("Users", OKTA)
    assert await enabled(neo4j, "ada")
    await provider.patch(f"Users/{ada}", operation)
    assert not await enabled(neo4j, "ada")
    # Replaced without a word about it; and read anew.
    status, _ = await provider.send("PUT", f"Users/{ada}", {k: v for k, v in OKTA.items() if k != "active"})
    report = await runner.run(runner.organization.source_named("idp"))
    assert (status, report.outcome, report.scopes[0].retracted) == (200, "complete", 0)
    assert not await enabled(neo4j, "ada")
    await provider.patch(f"Users/{ada}", {"op": "remove", "path": "active"}, status=400)
    await provider.patch(f"Users/{ada}", {"op": "replace", "path": "active", "value": "maybe"}, status=400)
    assert not await enabled(neo4j, "ada")


async def test_a_deleted_user_is_in_no_group_also_when_somebody_is_named_so_again(served, neo4j):
    provider, _ = served
    ada = await provider.create("Users", OKTA)
    crew = await provider.create("Groups", {"displayName": "crew", "members": [{"value": ada}]})
    assert (await provider.send("DELETE", f"Users/{ada}"))[0] == 204
    assert not await enabled(neo4j, "ada")
    assert (await provider.send("GET", f"Groups/{crew}"))[1]["members"] == []
    await provider.create("Users", OKTA)
    assert await enabled(neo4j, "ada")
    assert await members(neo4j, "group:crew") == []
    assert (await provider.send("DELETE", f"Users/{ada}"))[0] == 404


async def test_a_renamed_user_keeps_memberships_and_loses_the_old_name(served, neo4j):
    provider, _ = served
    ada = await provider.create("Users", OKTA)
    await provider.create("Groups", {"displayName": "crew", "members": [{"value": ada}]})
    await provider.patch(f"Users/{ada}", {"op": "replace", "value": {"userName": "countess"}})
    assert await members(neo4j, "group:crew") == ["person:countess"]
    assert not await enabled(neo4j, "ada")
    assert await enabled(neo4j, "countess")


async def test_operations_come_in_the_forms_of_providers(served):
    provider, _ = served
    ada, grace = await provider.create("Users", OKTA), await provider.create("Users", ENTRA)
    path = f"Users/{ada}"
    await provider.patch(
        path,
        {"op": "Add", "value": {"name.givenName": "Augusta", f"{ENTERPRISE}:department": "Engines"}},
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "augusta@acme.example"},
        {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": grace},
        {"op": "Replace", "path": "Title", "value": "Countess"},
    )
    _, found = await provider.send("GET", path)
    assert (found["name"]["givenName"], found["title"]) == ("Augusta", "Countess")
    assert found["emails"][0]["value"] == "augusta@acme.example"
    assert found[ENTERPRISE] == {"department": "Engines", "manager": {"value": grace}}
    crew = await provider.create(
        "Groups", {"displayName": "crew", "members": [{"value": ada}, {"value": grace}]}
    )
    await provider.patch(f"Groups/{crew}", {"op": "remove", "path": f'members[value eq "{ada}"]'})
    await provider.patch(f"Groups/{crew}", {"op": "Remove", "path": "members", "value": [{"value": grace}]})
    assert (await provider.send("GET", f"Groups/{crew}"))[1]["members"] == []


async def test_a_provider_that_sends_more_than_is_kept_is_understood(served, neo4j):
    """As Okta and Microsoft Entra document what they send."""
    provider, _ = served
    ada, grace = await provider.create("Users", OKTA), await provider.create("Users", ENTRA)
    crew = await provider.create("Groups", {"displayName": "crew", "externalId": "g-1", "members": []})
    _, found = await provider.send("GET", 'Groups?filter=externalId eq "g-1"&startIndex=1&count=100')
    assert [one["id"] for one in found["Resources"]] == [crew]
    await provider.patch(
        f"Groups/{crew}",
        {"op": "add", "path": "members", "value": [{"value": ada, "display": "ada@acme.example"}]},
    )
    await provider.patch(f"Groups/{crew}", {"op": "replace", "value": {"id": crew, "displayName": "team"}})
    assert await members(neo4j, "group:team") == ["person:ada"]
    await provider.patch(
        f"Groups/{crew}",
        {"op": "remove", "path": f'members[value eq "{ada}"]'},
        {"op": "add", "path": "members", "value": [{"value": grace, "display": "Grace"}]},
    )
    assert await members(neo4j, "group:team") == ["person:grace"]
    await provider.patch(f"Groups/{crew}", {"op": "replace", "path": "members", "value": [{"value": ada}]})
    assert await members(neo4j, "group:team") == ["person:ada"]
    await provider.patch(
        f"Users/{grace}",
        {"op": "Add", "path": 'roles[primary eq "True"].value', "value": "Engineer"},
        {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+1 555 0100"},
        {"op": "Add", "path": 'addresses[type eq "work"].formatted', "value": "1 Main Street"},
        {"op": "Replace", "path": "preferredLanguage", "value": "en"},
        {"op": "Replace", "value": {"displayName": "Grace H.", "urn:acme:1.0:User:floor": "3"}},
        {"op": "Replace", "path": "active", "value": "True"},
    )
    _, said = await provider.send("GET", f"Users/{grace}")
    assert (said["displayName"], said["active"]) == ("Grace H.", True)
    assert (
        not {"roles", "phoneNumbers", "addresses", "preferredLanguage", "urn:acme:1.0:User:floor"}
        & said.keys()
    )
    whole = {**said, "groups": [{"value": crew}], "locale": "en-US", "title": "Admiral"}
    assert (await provider.send("PUT", f"Users/{grace}", whole))[0] == 200
    assert (await provider.send("GET", f"Users/{grace}"))[1]["title"] == "Admiral"
    for query, total, told in (
        ("startIndex=0&count=1", 2, 1),
        ("startIndex=-3&count=0", 2, 0),
        ("startIndex=3&count=100", 2, 0),
    ):
        _, page = await provider.send("GET", f"Users?{query}")
        assert (page["totalResults"], page["itemsPerPage"], len(page["Resources"])) == (total, told, told)


async def test_resources_are_found_by_name_and_page_by_page(served):
    provider, _ = served
    ids = [
        await provider.create("Users", {**OKTA, "userName": f"u{n}", "externalId": f"x{n}"}) for n in range(3)
    ]
    for wanted in ('userName eq "U1"', 'externalId eq "x1"', f'id eq "{ids[1]}"'):
        _, found = await provider.send("GET", f"Users?filter={wanted}")
        assert (found["totalResults"], found["Resources"][0]["id"]) == (1, ids[1])
    _, nobody = await provider.send("GET", 'Users?filter=userName eq "u9"')
    assert (nobody["totalResults"], nobody["Resources"]) == (0, [])
    _, page = await provider.send("GET", "Users?startIndex=2&count=1")
    assert (page["totalResults"], page["itemsPerPage"], page["Resources"][0]["id"]) == (3, 1, ids[1])
    crew = await provider.create("Groups", {"displayName": "crew", "members": [{"value": ids[0]}]})
    _, found = await provider.send("GET", 'Groups?filter=displayName eq "crew"&excludedAttributes=members')
    assert found["Resources"][0]["id"] == crew
    assert "members" not in found["Resources"][0]


@pytest.mark.parametrize(
    ("request_", "status", "kind"),
    [
        (("GET", 'Users?filter=userName sw "a"', None), 400, "invalidFilter"),
        (("GET", 'Users?filter=title eq "x"', None), 400, "invalidFilter"),
        (("GET", "Users?count=many", None), 400, "invalidValue"),
        (("GET", "Users/nobody", None), 404, None),
        (("POST", "Users", {"active": True}), 400, "invalidValue"),
        (("POST", "Users", {"userName": 7}), 400, "invalidValue"),
        (("POST", "Users", []), 400, "invalidSyntax"),
        (("POST", "Users", {"userName": "\ud800"}), 400, "invalidSyntax"),
        (("POST", "Users", OKTA), 409, "uniqueness"),
        (("POST", "Users", {**OKTA, "userName": "ADA"}), 409, "uniqueness"),
        (("POST", "Groups", {"displayName": "x", "members": [{"display": "y"}]}), 400, "invalidValue"),
        (("PUT", "Users/nobody", OKTA), 404, None),
        (("PATCH", "Users/nobody", {"Operations": []}), 404, None),
    ],
)
async def test_what_cannot_be_done_is_refused_as_the_standard_says(served, request_, status, kind):
    provider, _ = served
    await provider.create("Users", OKTA)
    said, error = await provider.send(*request_)
    assert (said, error.get("scimType"), error["status"]) == (status, kind, str(status))


async def test_without_the_sources_token_there_is_nothing(served, neo4j):
    provider, _ = served
    for token in ("", "wrong", TOKEN + "x"):
        for method, path in (("GET", "Users"), ("POST", "Users"), ("GET", "ServiceProviderConfig")):
            status, said = await provider.send(method, path, OKTA if method == "POST" else None, token=token)
            assert status == 401
            assert TOKEN not in str(said)
    assert await neo4j.read("MATCH (p:Person) RETURN p") == []


async def test_it_says_what_it_can(served):
    provider, _ = served
    _, config = await provider.send("GET", "ServiceProviderConfig")
    supported = {name for name, one in config.items() if isinstance(one, dict) and one.get("supported")}
    assert supported == {"patch", "filter"}, "no ETags, bulk or sorting"
    _, types = await provider.send("GET", "ResourceTypes")
    assert [one["endpoint"] for one in types["Resources"]] == ["/Users", "/Groups"]
    _, schemas = await provider.send("GET", "Schemas")
    assert ENTERPRISE in [one["id"] for one in schemas["Resources"]]


async def test_after_a_restore_grants_wait_until_all_was_pushed_again(served, neo4j):
    provider, runner = served
    ada = await provider.create("Users", OKTA)
    await neo4j.driver.execute_query("MATCH (m:_Meta) SET m.epochBegan = $now", now=datetime.now(UTC))
    report = await runner.run(runner.organization.source_named("idp"))
    assert report.outcome == "partial"
    assert "send all of them again" in report.problems[0].message
    await provider.send("PUT", f"Users/{ada}", OKTA)
    report = await runner.run(runner.organization.source_named("idp"))
    assert report.outcome == "complete"


async def test_a_push_that_failed_half_way_is_put_right_by_the_next(served, neo4j, monkeypatch):
    provider, _ = served
    ada = await provider.create("Users", OKTA)
    crew = await provider.create("Groups", {"displayName": "crew", "members": [{"value": ada}]})

    def broken(*_arguments):
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(FactStore, "crawl", broken)
        status, _ = await provider.send("PUT", f"Groups/{crew}", {"displayName": "crew"})
        assert status >= 500
    assert await members(neo4j, "group:crew") == ["person:ada"]
    await provider.create("Users", ENTRA)
    assert await members(neo4j, "group:crew") == []


async def test_the_client_reads_what_the_server_holds(served, organization, neo4j):
    provider, runner = served
    ids = [
        await provider.create("Users", {**OKTA, "userName": f"u{n}", "externalId": f"x{n}"}) for n in range(5)
    ]
    await provider.patch(f"Users/{ids[4]}", {"op": "replace", "value": {"active": False}})
    await provider.create("Groups", {"displayName": "crew", "members": [{"value": one} for one in ids]})
    pulled = organization.source[0].model_copy(
        update={
            "name": "pulled",
            "connector": "scim",
            "options": {"url": provider.url, "token": "env:SCIM_TOKEN", "page_size": 2},
        }
    )
    report = await runner.run(pulled)
    assert (report.outcome, report.error, report.problems) == ("complete", None, ())
    records = await neo4j.read(
        """MATCH (p:Person)-[r:MEMBER_OF]->(:Group {id: 'group:crew'}) WHERE 'pulled' IN r.sources
           RETURN count(p) AS count"""
    )
    assert records[0]["count"] == 5
    assert not await enabled(neo4j, "u4")

"""Access by hand through the running service: GraphQL and the commands, on the sample organization."""

import json
import os
import shutil
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import neo4j as driver
import pytest
from click.testing import Result
from typer.testing import CliRunner

from context_manager.cli import app
from context_manager.token_exchange import ACCESS_TOKEN, GRANT_TYPE
from graph.neo4j_server import Neo4jServer
from tests.inference.openai_server import OpenAIServer, completion, in_a_thread
from tests.sample_service_fixture import SAMPLE
from tests.service_process import Served, served

ADMINISTRATOR, BROKER, ENGINEER = "amara.okafor", "priya.raman", "carlos.ibarra"
AGENTS = (
    "\n"
    + "\n".join(
        f'[[agent]]\nid = "{id}"\nname = "{id}"\nmay_act_for = ["group:everyone"]\n'
        for id in ("helper", "clerk")
    )
    + "\n[[source]]\n"
)
CLERK = """
dn: uid=clerk,ou=People,dc=harborview,dc=example
objectClass: inetOrgPerson
uid: clerk
cn: Clerk
sn: Clerk
"""
KEPT = ("directory", "compensation", "policies", "mesh")
PRIVATE = '{ entities(className: "Compensation", first: 1) { totalCount items { id } } }'


@pytest.fixture(scope="module")
def engine() -> Iterator[OpenAIServer]:
    """Behind the node in Boston: it finds one rule in whatever it reads, that of lost laptops."""
    rule = {"kind": "duty", "assignee": "", "action": "reported", "target": "Lost ones", "place": ""}
    with in_a_thread() as server:
        said = {"rules": [{**rule, "sentence": 1, "until": "within the hour"}]}
        server.answers["/v1/chat/completions"] = completion(json.dumps(said))
        yield server


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, neo4j_server: Neo4jServer, engine: OpenAIServer
) -> Iterator[Served]:
    """The sample with an agent, its sources few, and a place where an emergency is thought of."""
    folder, data = tmp_path_factory.mktemp("organization") / "sample", tmp_path_factory.mktemp("served")
    shutil.copytree(SAMPLE, folder)
    text = (SAMPLE / "sources.toml").read_text(encoding="utf-8")
    kept = [part for part in text.split("\n[[source]]\n") if _is_kept(part)]
    text = kept[0] + AGENTS + "\n[[source]]\n".join(kept[1:])
    text = text.replace('extract = "wording"', 'extract = "model"')
    mesh = (SAMPLE / "mesh.yaml").read_text(encoding="utf-8")
    emergency = 'id = "hr-private"\nbreak_glass = { by = ["group:engineering"], longest = "1h" }'
    with (folder / "directory.ldif").open("a", encoding="utf-8") as directory:
        directory.write(CLERK)
    (folder / "sources.toml").write_text(text.replace('id = "hr-private"', emergency), encoding="utf-8")
    (folder / "policies" / "parking.md").write_text("# Parking\n\nStaff may park \x1b[2J bikes inside.\n")
    (folder / "mesh.yaml").write_text(mesh.replace("http://127.0.0.1:8000", engine.endpoint))
    with driver.GraphDatabase.driver(neo4j_server.uri, auth=neo4j_server.auth) as connection:
        connection.execute_query("MATCH (n) DETACH DELETE n")
    (data / "neo4j-password").write_text(neo4j_server.auth[1])
    settings = {
        "ORGRAPH_NEO4J_URI": neo4j_server.uri,
        "ORGRAPH_NEO4J_PASSWORD_FILE": str(data / "neo4j-password"),
        "ORGRAPH_VLLM": "false",
    }
    with served(data, folder / "sources.toml", **settings) as running:
        yield running


def _is_kept(part: str) -> bool:
    return not part.startswith("name =") or part.startswith(tuple(f'name = "{name}"' for name in KEPT))


def orgraph(service: Served, *arguments: str) -> Result:
    """The command, in this process: starting one for each takes its time."""
    environment = dict.fromkeys((name for name in os.environ if name.startswith("ORGRAPH_")), None)
    return CliRunner().invoke(app, arguments, env={**environment, "ORGRAPH_DATA_FOLDER": str(service.data)})


def said(service: Served, *arguments: str) -> Any:
    done = orgraph(service, *arguments, "--as", ADMINISTRATOR, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def sees_pay(service: Served, person: str) -> bool:
    return bool(service.query(person, PRIVATE)["data"]["entities"]["totalCount"])


def exchanged(service: Served, person: str, scope: str) -> str:
    form = {
        "grant_type": GRANT_TYPE,
        "subject_token": service.token(person),
        "subject_token_type": ACCESS_TOKEN,
        "actor_token": service.token("helper"),
        "actor_token_type": ACCESS_TOKEN,
        "scope": scope,
    }
    body = urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{service.url}/token", body)) as response:
        return str(json.load(response)["access_token"])


def test_a_grant_by_command_is_in_force_when_it_returns_and_gone_when_revoked(service: Served) -> None:
    assert not sees_pay(service, BROKER)
    would = said(service, "grant", "person:priya.raman", "hr-private", "--reason", "audit", "--dry-run")
    assert [effect["account"] for effect in would] == ["account:harborview/priya.raman"]
    assert not sees_pay(service, BROKER)
    made = said(service, "grant", "person:priya.raman", "hr-private", "--reason", "audit", "--until", "8h")
    assert (made["state"], made["reason"], made["by"]) == (
        "standing",
        "audit",
        "account:harborview/amara.okafor",
    )
    assert sees_pay(service, BROKER)
    assert said(service, "access", "--subject", "person:priya.raman")[-1]["id"] == made["id"]
    seen = service.query(BROKER, PRIVATE)["data"]["entities"]["items"][0]["id"]
    assert "account:harborview/priya.raman" in said(service, "who-can-see", seen)
    assert said(service, "revoke", made["id"], "--reason", "done")["state"] == "ended"
    assert not sees_pay(service, BROKER)


def test_a_denial_by_command_survives_a_crawl(service: Served) -> None:
    """The whole of human resources is denied, and stays so."""
    assert sees_pay(service, "kwame.asante")
    made = said(service, "deny", "group:hr", "hr-private", "--reason", "leak")
    assert not sees_pay(service, "kwame.asante")
    made_again = said(service, "grant", "group:hr", "hr-private", "--reason", "try")
    assert not sees_pay(service, "kwame.asante")
    said(service, "revoke", made["id"], "--reason", "over")
    assert sees_pay(service, "kwame.asante")
    ended = said(service, "revoke", "group:hr", "--all", "--reason", "over")
    assert [one["id"] for one in ended] == [made_again["id"]]
    assert sees_pay(service, "kwame.asante"), "as sources.toml says"


def test_a_disabled_account_sees_nothing_at_once(service: Served) -> None:
    count = '{ entities(className: "Person") { totalCount } }'
    assert service.query(BROKER, count)["data"]["entities"]["totalCount"] > 0
    said(service, "disable", BROKER, "--reason", "lost laptop")
    assert service.query(BROKER, count)["data"]["entities"]["totalCount"] == 0
    said(service, "enable", BROKER, "--reason", "found")
    assert service.query(BROKER, count)["data"]["entities"]["totalCount"] > 0


def test_who_may_not_decide_is_told_nothing(service: Served) -> None:
    for target in ("hr-private", "no-such-thing"):
        done = orgraph(
            service, "grant", "person:carlos.ibarra", target, "--reason", "please", "--as", ENGINEER
        )
        assert done.exit_code == 1
        assert "there is nothing of that name here, or it is not yours to decide" in done.stderr
    assert service.query(ENGINEER, "{ accessDecisions { id } breakGlassReviews { id } }")["data"] == {
        "accessDecisions": [],
        "breakGlassReviews": [],
    }


def test_an_emergency_shows_in_health_until_somebody_else_has_looked(service: Served) -> None:
    def part() -> tuple[bool, str]:
        status, health = service.get("/health/ready")
        [found] = [one for one in health["parts"] if one["name"] == "break glass"]
        assert status == 200
        return found["ok"], found["detail"]

    assert part() == (True, "no review is open")
    done = orgraph(
        service, "break-glass", "hr-private", "--reason", "payroll down", "--as", ENGINEER, "--json"
    )
    assert done.exit_code == 0, done.stderr
    taken = json.loads(done.stdout)
    assert sees_pay(service, ENGINEER)
    assert part() == (False, "a review is open")
    assert "break glass: account:harborview/carlos.ibarra took access" in service.log.read_text()
    reviews = service.query(ADMINISTRATOR, "{ breakGlassReviews { id by reason } }")["data"]
    assert [one["id"] for one in reviews["breakGlassReviews"]] == [taken["id"]]
    assert orgraph(service, "close-review", taken["id"], "fine", "--as", ENGINEER).exit_code == 1
    said(service, "close-review", taken["id"], "the pay run was late")
    assert part() == (True, "no review is open")
    said(service, "revoke", taken["id"], "--reason", "over")
    assert not sees_pay(service, ENGINEER)


def test_an_agent_does_what_its_scope_says_and_no_more(service: Served) -> None:
    token = exchanged(service, "kwame.asante", "read collection:staff-directory")
    status, answer = service.post(token, json.dumps({"query": PRIVATE}).encode())
    assert (status, answer["data"]["entities"]["totalCount"]) == (200, 0)
    people = '{ entities(className: "Person") { totalCount } }'
    _status, answer = service.post(token, json.dumps({"query": people}).encode())
    assert answer["data"]["entities"]["totalCount"] > 0
    for text in (
        '{ ask(question: "Who leads Sales?") { text } }',
        '{ search(text: "Sales") { id } }',
        "{ accessDecisions { id } }",
        'mutation { revokeAllAccess(subject: "group:hr", reason: "x") { id } }',
    ):
        _status, answer = service.post(token, json.dumps({"query": text}).encode())
        assert "the token is not for this: its scope lacks" in answer["errors"][0]["message"]


def test_an_agent_whose_own_account_is_disabled_does_nothing_more(service: Served) -> None:
    """Of one that the directory has an account of, with a token that the issuer made itself."""
    token = service.token("kwame.asante", agent="clerk")
    people = b'{"query": "{ entities(className: \\"Person\\") { totalCount } }"}'

    def acts() -> int:
        return service.post(token, people)[0]

    assert acts() == 200
    said(service, "disable", "account:harborview/clerk", "--reason", "left")
    assert acts() == 401
    said(service, "enable", "account:harborview/clerk", "--reason", "came back")
    assert acts() == 200


def test_an_agent_is_on_record_beside_the_person(service: Served) -> None:
    token = exchanged(service, "kwame.asante", "read ask")
    before = len(service.audit())
    service.post(token, b'{"query": "{ ask(question: \\"Who leads Account Management?\\") { text } }"}')
    asked = [one for one in service.audit()[before:] if one["kind"] == "intent"]
    assert [(one["account"], one["agent"]) for one in asked] == [
        ("account:harborview/kwame.asante", "helper")
    ]


def test_a_preview_of_the_edited_sources_needs_no_restart(service: Served) -> None:
    assert said(service, "preview-sources") == []


def test_what_changed_is_told_from_a_token_of_an_answer(service: Served) -> None:
    since = service.query(ADMINISTRATOR, "{ classes { name } }")["extensions"]["revision"]
    made = said(service, "grant", "person:priya.raman", "hr-private", "--reason", "audit")
    said(service, "revoke", made["id"], "--reason", "done")
    text = "query ($since: String!) { accessChanges(since: $since) { source subject relationship object change } }"
    changes = service.query(ADMINISTRATOR, text, since=since)["data"]["accessChanges"]
    about = {
        "source": "administration",
        "subject": "person:priya.raman",
        "relationship": "GRANTED_VIEW",
        "object": "collection:hr-private",
    }
    assert changes == [{**about, "change": "came"}, {**about, "change": "went"}]
    refused = service.query(ADMINISTRATOR, text, since="nonsense")
    assert "was not issued by this service" in refused["errors"][0]["message"]


def test_who_decides_is_said_once(service: Served) -> None:
    done = orgraph(service, "who-can-see", "person:x")
    assert done.exit_code == 1
    assert "say who decides" in done.stderr
    done = orgraph(service, "grant", "person:x", "y", "--reason", "z", "--until", "soon", "--as", BROKER)
    assert "--until soon: expected a time with its zone" in done.stderr


ONE = '{ entity(id: "person:priya.raman") { name sameAs neighbours { relationship entity { id } } } }'


def test_two_that_are_one_are_told_so_by_command_and_two_again_when_it_is_undone(service: Served) -> None:
    """Neither sees more for it, and an account of nobody's is linked once that was confirmed."""
    before = service.query(BROKER, ONE)["data"]["entity"]
    assert before["sameAs"] == []
    pair = "person:carlos.ibarra", "person:priya.raman"
    refused = orgraph(service, "identity", "merge", *pair, "--reason", "same badge", "--as", BROKER)
    assert refused.exit_code == 1
    assert "there is nothing of that name here, or it is not yours to decide" in refused.stderr
    would = orgraph(
        service, "identity", "merge", *pair, "--reason", "same badge", "--dry-run", "--as", ADMINISTRATOR
    )
    assert "Nobody's access changes." in would.stdout
    shown = said(service, "identity", "merge", *pair, "--reason", "same badge", "--dry-run")
    assert shown["together"]["name"] == "Carlos Ibarra"
    assert {f"account:harborview/{name}" for name in (BROKER, ENGINEER)} <= set(shown["told"])
    assert service.query(BROKER, ONE)["data"]["entity"] == before
    [made] = said(service, "identity", "merge", *pair, "--reason", "same badge")
    told = service.query(BROKER, ONE)["data"]["entity"]
    assert (told["name"], told["sameAs"]) == ("Carlos Ibarra", ["person:carlos.ibarra"])
    beside = {(one["relationship"], one["entity"]["id"]) for one in told["neighbours"]}
    assert {(one["relationship"], one["entity"]["id"]) for one in before["neighbours"]} <= beside
    assert ("HAS_ACCOUNT", "account:harborview/carlos.ibarra") in beside
    assert not sees_pay(service, BROKER)
    assert [one["id"] for one in said(service, "identity", "list", "--decided")] == [made["id"]]
    [ended] = said(service, "identity", "undo", made["id"], "--reason", "two badges")
    assert (ended["stands"], ended["endedReason"]) == (False, "two badges")
    assert service.query(BROKER, ONE)["data"]["entity"] == before
    again = orgraph(service, "identity", "undo", made["id"], "--reason", "again", "--as", ADMINISTRATOR)
    assert again.exit_code == 1
    assert said(service, "identity", "list") == []
    would = orgraph(
        service,
        "identity",
        "link",
        "person:priya.raman",
        "carlos.ibarra",
        "--reason",
        "x",
        "--as",
        ADMINISTRATOR,
    )
    assert "has a person already" in would.stderr


def test_a_person_is_erased_by_command_and_the_receipt_is_on_record(service: Served) -> None:
    owen, why = "person:owen.castellan", ("--reason", "asked for it")
    query = "query ($id: ID!) { entity(id: $id) { name } }"

    def name() -> Any:
        return (service.query(BROKER, query, id=owen)["data"]["entity"] or {}).get("name")

    refused = orgraph(service, "erase", owen, *why, "--as", ENGINEER)
    assert refused.exit_code == 1
    assert "there is nothing of that name here, or it is not yours to decide" in refused.stderr
    would = said(service, "erase", owen, *why, "--dry-run")
    assert would["erasure"] is None
    assert {one["place"] for one in would["found"]} >= {"entities", "relationships", "claims", "changes"}
    assert name() == "Owen Castellan"
    told = said(service, "erase", owen, *why)
    assert name() is None
    deadline = time.monotonic() + 60
    while not (ended := [one for one in said(service, "erasures") if one["ended"]]):
        assert time.monotonic() < deadline, "the service's own followers have followed by then"
        time.sleep(1)
    assert ended[-1]["erasure"] == told["erasure"]
    assert ended[-1]["remaining"] == []
    records = [record for record in service.audit() if "castellan" in json.dumps(record).lower()]
    assert {record["kind"] for record in records} <= {"administration_refused"}, "and nothing of the receipt"
    table = orgraph(service, "erasures", "--as", ADMINISTRATOR)
    assert table.exit_code == 0, table.stderr
    assert said(service, "readmit", owen, *why) == []


PROTECTED = "Protected health information must be processed in the United States"
REPORTED = "Lost ones must be reported within the hour"
REFUSED = "there is nothing of that name here, or it is not yours to decide"


def test_a_model_reads_what_was_crawled_at_the_start_as_soon_as_a_node_is_up(service: Served) -> None:
    """The start crawls before any node is known; the next crawl of policies is due in an hour."""
    deadline = time.monotonic() + 120
    while True:
        found = {one["statement"]: one for one in said(service, "review", "list", "--source", "policies")}
        if found[REPORTED]["extractor"] == "wording, smollm2":
            break
        assert time.monotonic() < deadline, found[REPORTED]
        time.sleep(0.5)
    assert found[REPORTED]["confidence"] == 0.85
    assert found[PROTECTED]["extractor"] == "wording", "a model's words must stand in the passage"
    read = [record for record in service.audit() if record["kind"] == "extraction"]
    assert {record["node"] for record in read} == {"mesh_node:boston-cpu"}
    assert {record["handling"]["clearance"] for record in read} == {0}


def test_what_policies_say_is_looked_through_and_decided_on_by_command(service: Served) -> None:
    waiting = {one["statement"]: one for one in said(service, "review", "list", "--source", "policies")}
    assert set(waiting) >= {PROTECTED, REPORTED, "A diagnosis must not be sent by e-mail"}
    assert not any("hr-private" in statement for statement in waiting), "an order in a text is no rule"
    shown = orgraph(service, "review", "list", "--as", ADMINISTRATOR).stdout
    assert f"{waiting[PROTECTED]['id']}  waits, tightens already\n" in shown
    assert f"{waiting[REPORTED]['id']}  waits\n    {REPORTED}\n    “Lost ones must be reported to" in shown
    assert "park \ufffd[2J bikes" in shown, "a text does not steer the terminal"
    [done] = said(service, "review", "accept", waiting[REPORTED]["id"], "--reason", "as it is")
    assert (done["decision"], done["by"]) == ("accepted", "account:harborview/amara.okafor")
    fact = service.query(BROKER, "query ($id: ID!) { entity(id: $id) { name } }", id=done["fact"])
    assert fact["data"]["entity"] == {"name": REPORTED}
    handled = '{ entities(className: "HandlingRule") { totalCount } }'
    before = service.query(ADMINISTRATOR, handled)["data"]["entities"]["totalCount"]
    said(service, "review", "reject", waiting[PROTECTED]["id"], "--reason", "said twice")
    assert service.query(ADMINISTRATOR, handled)["data"]["entities"]["totalCount"] == before - 1
    decided = orgraph(service, "review", "list", "--decided", "--as", ADMINISTRATOR).stdout
    assert "accepted by account:harborview/amara.okafor: as it is\n" in decided
    assert "rejected by account:harborview/amara.okafor: said twice\n" in decided
    left = [one["statement"] for one in said(service, "review", "list")]
    assert REPORTED not in left
    assert PROTECTED not in left


def test_what_was_extracted_is_for_who_may_decide_alone(service: Served) -> None:
    told = orgraph(service, "review", "list", "--as", BROKER)
    assert (told.exit_code, told.stdout) == (0, "Nothing.\n")
    [one, *_] = said(service, "review", "list")
    for id in (one["id"], "0" * 32):
        for verb in ("accept", "reject"):
            done = orgraph(service, "review", verb, id, "--reason", "please", "--as", ENGINEER)
            assert done.exit_code == 1
            assert REFUSED in done.stderr
    empty = orgraph(service, "review", "accept", one["id"], "--reason", " ", "--as", ADMINISTRATOR)
    assert empty.exit_code == 1
    assert "reason" in empty.stderr
    assert orgraph(service, "review", "list").exit_code == 1, "who asks is said"

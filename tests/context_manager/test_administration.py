"""Who may give access by hand, and take it; what is refused, and what is on record."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from context_manager import access_questions as questions
from context_manager import administration as decisions
from context_manager.access_desk import AccessDesk, AccessRefused
from context_manager.audit import AuditLog
from discovery.configuration import ConfigurationConnector, configuration_source
from discovery.runner import Runner
from discovery.sources import load_organization
from graph.access_effects import AccessEffect
from graph.access_entries import AccessEntry
from graph.administration import POLICY, Administration
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.epoch import begin_epoch
from graph.feed import current_revision
from graph.journal import Journal
from graph.merges import Merges
from graph.reads import Asker, Reader
from graph.store import FactStore
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes
from ontologies.authorization_model import to_dsl

SOURCES = """
name = "Acme"
issuer = "acme"
administrator = "person:root"
asker_handling = { jurisdictions = ["US"] }

[[collection]]
id = "all"
name = "All"
readers = ["group:everyone"]

[[collection]]
id = "hr"
name = "Human resources"
readers = ["group:hr"]
owners = ["person:hana", "person:lena"]

[[collection]]
id = "ward"
name = "Ward"
readers = ["group:ward"]
owners = ["person:hana"]
break_glass = { by = ["group:everyone"], longest = "2h" }

[[collection]]
id = "board"
name = "Board"
readers = ["person:hana", "person:tom"]
owners = ["person:hana", "person:tom"]
four_eyes = true

[[source]]
name = "directory"
connector = "ldif"
collection = "all"
grants = ["HAS_ACCOUNT", "MEMBER_OF"]
handling = { jurisdictions = ["US"] }
options = { path = "directory.ldif" }
"""
PEOPLE = {
    "root": (),
    "hana": ("hr", "ward"),
    "tom": (),
    "lena": (),
    "ada": (),
}
"""By name: groups beside everyone. Lena may grant what she cannot see."""
ROOT, HANA, TOM, LENA, ADA = (Asker(f"account:acme/{name}") for name in PEOPLE)
WHY = "audit of May"
HR, WARD, BOARD = "collection:hr", "collection:ward", "collection:board"


class Acme:
    """An organization with the desk where access is decided."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.folder = folder
        self.sources = folder / "sources.toml"
        self.sources.write_text(SOURCES)
        organization = load_organization(self.sources)
        self.store = FactStore(database, load_shapes(), load_authorization())
        policies = (configuration_source(organization).policy(), organization.source[0].policy(), POLICY)
        authorizer = Authorizer(database, load(), load_authorization(), policies)
        self.desk = AccessDesk(
            organization,
            lambda: load_organization(self.sources),
            Runner(organization, self.store, database).said,
            load(),
            load_authorization(),
            policies,
            Administration(self.store, Journal(folder / "administration.jsonl")),
            database,
            Reader(database, load(), authorizer),
            AuditLog(folder / "audit.jsonl"),
            Merges(self.store),
            self.store,
        )

    async def crawl(self) -> None:
        organization = self.desk.organization
        configuration = configuration_source(organization)
        claims = ConfigurationConnector(organization, configuration).read("sources.toml")
        await self._write(configuration.policy(), [one for one in claims if isinstance(one, Claim)])
        directory: list[Claim] = []
        for group in ("everyone", "hr", "ward"):
            directory.append(EntityClaim(f"group:{group}", "Group", "collection:all", {"name": group}, ""))
        for name, groups in PEOPLE.items():
            account = {"name": name, "issuer": "acme", "subject": name}
            directory += [
                EntityClaim(f"person:{name}", "Person", "collection:all", {"name": name}, ""),
                EntityClaim(f"account:acme/{name}", "Account", "collection:all", account, ""),
                RelationshipClaim(f"person:{name}", "HAS_ACCOUNT", f"account:acme/{name}", ""),
                *(
                    RelationshipClaim(f"person:{name}", "MEMBER_OF", f"group:{group}", "")
                    for group in ("everyone", *groups)
                ),
            ]
        await self._write(organization.source[0].policy(), directory)
        placing = SourcePolicy("files", frozenset(), frozenset({HR, WARD, BOARD}), 50, timedelta(days=1))
        files = [
            EntityClaim(f"document:{key}-{n}", "Document", f"collection:{key}", {"name": key}, "")
            for key in ("hr", "ward", "board")
            for n in range(2)
        ]
        await self._write(placing, files)

    async def _write(self, policy: SourcePolicy, claims: list[Claim]) -> None:
        async with self.store.crawl(policy, "all") as crawl:
            report = await crawl.write(claims)
            assert report.quarantined == ()
            await crawl.complete()

    async def sees(self, asker: Asker, key: str) -> bool:
        found, _revision = await self.desk.reader.run(asker, lambda view: view.present([f"document:{key}-0"]))
        return bool(found)

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]


@pytest.fixture
async def acme(neo4j: Database, tmp_path: Path) -> Acme:
    acme = Acme(neo4j, tmp_path)
    await acme.crawl()
    await acme.desk.administration.reconcile(restored=False)
    return acme


async def refusal(work: Awaitable[object]) -> str:
    with pytest.raises(AccessRefused) as refused:
        await work
    return str(refused.value)


async def grant(acme: Acme, asker: Asker, subject: str = "person:ada", to: str = HR) -> AccessEntry:
    return await decisions.grant(acme.desk, asker, subject, to, WHY, None)


async def deny(acme: Acme, asker: Asker, subject: str = "person:ada", to: str = HR) -> AccessEntry:
    return await decisions.deny(acme.desk, asker, subject, to, WHY, None)


async def test_an_owner_who_can_see_a_collection_grants_it_and_the_administrator_any(acme: Acme) -> None:
    assert not await acme.sees(ADA, "hr")
    await grant(acme, HANA)
    assert await acme.sees(ADA, "hr")
    await grant(acme, ROOT, to=WARD)
    assert await acme.sees(ADA, "ward")
    assert not await acme.sees(ROOT, "ward"), "granting gives the granter nothing"


async def test_denied_and_absent_are_refused_alike(acme: Acme) -> None:
    """What is not there, not theirs, not seen by them, or of somebody who is not there."""
    said = {
        await refusal(grant(acme, ADA)),
        await refusal(grant(acme, ADA, to="collection:nothing")),
        await refusal(grant(acme, ROOT, to="collection:nothing")),
        await refusal(grant(acme, LENA)),
        await refusal(grant(acme, HANA, subject="person:nobody")),
        await refusal(grant(acme, Asker("account:acme/nobody"))),
        await refusal(deny(acme, ADA)),
        await refusal(deny(acme, HANA, to="document:hr-0")),
        await refusal(decisions.take_back(acme.desk, ADA, "nothing", WHY)),
        await refusal(decisions.confirm(acme.desk, HANA, "nothing")),
        await refusal(decisions.disable(acme.desk, HANA, "account:acme/ada", WHY)),
        await refusal(decisions.disable(acme.desk, ROOT, "account:acme/nobody", WHY)),
        await refusal(decisions.enable(acme.desk, ROOT, "account:acme/ada", WHY)),
        await refusal(decisions.break_glass(acme.desk, ADA, HR, WHY, None)),
        await refusal(decisions.break_glass(acme.desk, ADA, "collection:nothing", WHY, None)),
        await refusal(questions.who_can_see(acme.desk, ADA, "document:hr-0")),
        await refusal(questions.who_can_see(acme.desk, ROOT, "document:nothing")),
        await refusal(questions.preview_decision(acme.desk, ADA, "grant", "group:everyone", HR)),
        await refusal(questions.preview_configuration(acme.desk, HANA)),
        await refusal(questions.changes_between(acme.desk, HANA, 0, 9, None)),
    }
    assert said == {"there is nothing of that name here, or it is not yours to decide"}
    assert [r["kind"] for r in acme.audit()] == ["administration_refused"] * 20


async def test_who_lacks_it_may_take_but_not_give(acme: Acme) -> None:
    """Lena has can_grant and no view: she denies, and takes back; she neither grants nor lifts."""
    denial = await deny(acme, LENA, "group:hr")
    assert not await acme.sees(HANA, "hr")
    await refusal(decisions.take_back(acme.desk, LENA, denial.id, WHY))
    await refusal(decisions.take_back(acme.desk, HANA, denial.id, WHY))
    await decisions.take_back(acme.desk, ROOT, denial.id, WHY)
    assert await acme.sees(HANA, "hr")
    granted = await grant(acme, HANA)
    await decisions.take_back(acme.desk, LENA, granted.id, WHY)
    assert not await acme.sees(ADA, "hr")


@pytest.mark.parametrize(
    ("reason", "until", "says"),
    [
        (" ", None, "reason: expected 1 to 500"),
        ("x" * 501, None, "reason: expected 1 to 500"),
        (WHY, datetime(2020, 1, 1, tzinfo=UTC), "until: expected a time to come"),
        (WHY, datetime(2999, 1, 1), "with a time zone"),
    ],
)
async def test_a_decision_says_why_and_ends_in_time_to_come(
    acme: Acme, reason: str, until: datetime | None, says: str
) -> None:
    assert says in await refusal(decisions.grant(acme.desk, HANA, "person:ada", HR, reason, until))


async def test_only_persons_and_groups_are_granted_anything(acme: Acme) -> None:
    for subject in ("account:acme/ada", "collection:all", "ada", ""):
        said = await refusal(grant(acme, HANA, subject))
        assert "expected the id of a person or group" in said


async def test_the_intent_is_on_record_before_and_the_outcome_after(acme: Acme) -> None:
    entry = await decisions.grant(acme.desk, replace(HANA, agent="helper"), "person:ada", HR, WHY, None)
    intent, closing = acme.audit()
    assert (intent["kind"], intent["action"]) == ("administration", "grant")
    assert (intent["account"], intent["agent"]) == ("account:acme/hana", "helper")
    assert intent["details"]["id"] == entry.id
    assert intent["details"]["reason"] == WHY
    assert (closing["kind"], closing["outcome"]) == ("administration_closing", "done")
    assert closing["operation"] == intent["operation"]


async def test_where_it_takes_two_a_grant_gives_nothing_before_the_second(acme: Acme) -> None:
    waiting = await grant(acme, HANA, to=BOARD)
    assert waiting.state(datetime.now(UTC)) == "pending"
    assert not await acme.sees(ADA, "board")
    for asker in (HANA, ADA, replace(TOM, agent="helper")):
        await refusal(decisions.confirm(acme.desk, asker, waiting.id))
    assert not await acme.sees(ADA, "board")
    await decisions.confirm(acme.desk, TOM, waiting.id)
    assert await acme.sees(ADA, "board")
    await refusal(decisions.confirm(acme.desk, TOM, waiting.id))


async def test_nobody_confirms_a_grant_to_themselves(acme: Acme) -> None:
    waiting = await grant(acme, HANA, "person:tom", BOARD)
    await refusal(decisions.confirm(acme.desk, TOM, waiting.id))


async def test_a_second_account_of_the_same_person_is_no_second_person(acme: Acme) -> None:
    other = {"name": "other", "issuer": "acme", "subject": "other"}
    directory = replace(acme.desk.organization.source[0].policy())
    async with acme.store.crawl(directory, "more") as crawl:
        await crawl.write(
            [
                EntityClaim("account:acme/other", "Account", "collection:all", other, ""),
                RelationshipClaim("person:hana", "HAS_ACCOUNT", "account:acme/other", ""),
            ]
        )
        await crawl.complete()
    waiting = await grant(acme, HANA, to=BOARD)
    await refusal(decisions.confirm(acme.desk, Asker("account:acme/other"), waiting.id))


async def test_where_it_takes_two_a_denial_stands_at_once_and_takes_two_to_lift(acme: Acme) -> None:
    denial = await deny(acme, HANA, "group:everyone", BOARD)
    assert not await acme.sees(TOM, "board")
    asked = await decisions.take_back(acme.desk, ROOT, denial.id, WHY)
    assert asked.ending_by == ROOT.account
    assert not await acme.sees(TOM, "board")
    await refusal(decisions.confirm(acme.desk, ROOT, denial.id))
    await refusal(decisions.confirm(acme.desk, TOM, denial.id))


async def test_all_grants_of_a_subject_are_taken_back_in_one_step_as_far_as_the_asker_may(acme: Acme) -> None:
    for to in (HR, WARD):
        await grant(acme, HANA, to=to)
    waiting = await grant(acme, HANA, to=BOARD)
    denial = await deny(acme, ROOT, to=HR)
    assert await decisions.take_back_all(acme.desk, ADA, "person:ada", WHY) == []
    assert await decisions.take_back_all(acme.desk, ADA, "person:nobody", WHY) == []
    taken = await decisions.take_back_all(acme.desk, LENA, "person:ada", WHY)
    assert [entry.object for entry in taken] == [HR]
    taken = await decisions.take_back_all(acme.desk, ROOT, "person:ada", WHY)
    assert {entry.object for entry in taken} == {WARD, BOARD}
    assert not await acme.sees(ADA, "ward")
    await refusal(decisions.confirm(acme.desk, TOM, waiting.id))
    [standing] = [
        e for e in await questions.decisions(acme.desk, ROOT) if e.state(datetime.now(UTC)) == "standing"
    ]
    assert standing.id == denial.id, "a denial gives nothing, and stays"


async def test_the_administrator_disables_an_account_and_no_crawl_lifts_it(acme: Acme) -> None:
    await decisions.disable(acme.desk, ROOT, HANA.account, WHY)
    assert not await acme.sees(HANA, "hr")
    await refusal(grant(acme, HANA))
    await acme.crawl()
    assert not await acme.sees(HANA, "hr")
    await decisions.enable(acme.desk, ROOT, HANA.account, WHY)
    assert await acme.sees(HANA, "hr")


async def test_the_administrator_does_not_lock_themselves_out(acme: Acme) -> None:
    await refusal(decisions.disable(acme.desk, ROOT, ROOT.account, WHY))


async def test_an_emergency_gives_access_for_a_time_with_an_alarm_and_a_review_by_another(
    acme: Acme, caplog: pytest.LogCaptureFixture
) -> None:
    entry = await decisions.break_glass(acme.desk, ADA, WARD, "patient in 4", None)
    assert await acme.sees(ADA, "ward")
    assert entry.until is not None
    assert timedelta(minutes=119) < entry.until - datetime.now(UTC) <= timedelta(hours=2)
    assert "account:acme/ada took access to collection:ward" in caplog.text
    [alarm] = [record for record in acme.audit() if record["kind"] == "break_glass"]
    assert (alarm["account"], alarm["details"]["reason"]) == ("account:acme/ada", "patient in 4")
    assert decisions.to_review(entry)
    for asker in (ADA, TOM, replace(HANA, agent="helper")):
        await refusal(decisions.close_review(acme.desk, asker, entry.id, "needed"))
    closed = await decisions.close_review(acme.desk, HANA, entry.id, "needed")
    assert not decisions.to_review(closed)
    await refusal(decisions.close_review(acme.desk, HANA, entry.id, "again"))
    assert await acme.sees(ADA, "ward"), "the review does not end it"
    await decisions.take_back(acme.desk, HANA, entry.id, "over")
    assert not await acme.sees(ADA, "ward")


async def test_an_emergency_is_bounded_and_no_way_around_a_denial_or_for_an_agent(acme: Acme) -> None:
    until = datetime.now(UTC) + timedelta(hours=3)
    said = await refusal(decisions.break_glass(acme.desk, ADA, WARD, WHY, until))
    assert "within 2:00:00" in said
    await refusal(decisions.break_glass(acme.desk, replace(ADA, agent="helper"), WARD, WHY, None))
    await deny(acme, HANA, to=WARD)
    await refusal(decisions.break_glass(acme.desk, ADA, WARD, WHY, None))


async def test_a_preview_tells_who_gains_and_who_loses_before_anything_is_done(acme: Acme) -> None:
    gained = await questions.preview_decision(acme.desk, HANA, "grant", "group:everyone", HR)
    # Two documents and the collection itself.
    others = [asker.account for asker in (ADA, LENA, ROOT, TOM)]
    assert list(gained) == [AccessEffect(account, 3, 0) for account in others]
    lost = await questions.preview_decision(acme.desk, ROOT, "denial", "group:hr", HR)
    assert list(lost) == [AccessEffect(HANA.account, 0, 3)]
    assert not await acme.sees(ADA, "hr")
    entry = await grant(acme, HANA)
    assert list(await questions.preview_ending(acme.desk, HANA, entry.id)) == [
        AccessEffect(ADA.account, 0, 3)
    ]


async def test_a_preview_of_the_sources_tells_what_an_edit_would_do(acme: Acme) -> None:
    assert list(await questions.preview_configuration(acme.desk, ROOT)) == []
    acme.sources.write_text(SOURCES.replace('["group:hr"]', '["person:ada"]'))
    found = await questions.preview_configuration(acme.desk, ROOT)
    assert list(found) == [AccessEffect(ADA.account, 3, 0), AccessEffect(HANA.account, 0, 3)]
    await grant(acme, ROOT, "group:hr")
    found = await questions.preview_configuration(acme.desk, ROOT)
    assert list(found) == [AccessEffect(ADA.account, 3, 0)], "Hana keeps what was granted by hand"


LISTS = """
[[source]]
name = "lists"
connector = "mapping"
collection = "all"
grants = ["MEMBER_OF"]
authority = ["group:hr", "group:ward"]
handling = { jurisdictions = ["US"] }
options = { path = "members.csv", mapping = "lists.toml" }
"""
MAPPING = """
[[rule]]
[[rule.relationship]]
type = "MEMBER_OF"
start = "person:{who}"
end = "group:{team}"
"""


async def test_a_preview_of_a_source_tells_what_its_mapping_would_do(acme: Acme) -> None:
    granted = 'grants = ["HAS_ACCOUNT", "MEMBER_OF"]'
    assert granted in SOURCES
    acme.sources.write_text(SOURCES.replace(granted, f'{granted}\nauthority = ["group:board"]') + LISTS)
    (acme.folder / "lists.toml").write_text(MAPPING)
    (acme.folder / "members.csv").write_text("who,team\nada,ward\n")
    lists = load_organization(acme.sources).source[1]
    runner = Runner(acme.desk.organization, acme.store, acme.desk.database)
    report = await runner.run(lists)
    assert report.error is None and [one.outcome for one in report.scopes] == ["complete"]
    desk = replace(acme.desk, policies=(*acme.desk.policies, lists.policy()))
    assert list(await questions.preview_source(desk, ROOT, "lists")) == []
    (acme.folder / "lists.toml").write_text(MAPPING.replace("{team}", "hr"))
    assert list(await questions.preview_source(desk, ROOT, "lists")) == [AccessEffect(ADA.account, 3, 3)]
    for nothing in (MAPPING.replace("MEMBER_OF", "MAY_READ"), MAPPING.replace("{team}", "board")):
        (acme.folder / "lists.toml").write_text(nothing)
        assert list(await questions.preview_source(desk, ROOT, "lists")) == [AccessEffect(ADA.account, 0, 3)]
    await refusal(questions.preview_source(desk, HANA, "lists"))
    assert "no source 'absent'" in await refusal(questions.preview_source(desk, ROOT, "absent"))
    (acme.folder / "members.csv").unlink()
    assert "cannot be read" in await refusal(questions.preview_source(desk, ROOT, "lists"))


async def test_a_preview_of_a_model_tells_who_would_gain_and_who_would_lose(acme: Acme) -> None:
    model = to_dsl(load_authorization())
    assert list(await questions.preview_model(acme.desk, ROOT, model)) == []
    # Whoever may grant a collection would see it, and nobody else would.
    [viewer] = [line for line in model.splitlines() if line.startswith("    define viewer: (")]
    owners = model.replace(viewer, "    define viewer: can_grant but not denied")
    found = {one.account: one for one in await questions.preview_model(acme.desk, ROOT, owners)}
    assert found[LENA.account].gains == 3 and found[ADA.account].gains == 0
    assert found[ADA.account].losses > 0 and HANA.account in found
    assert await acme.sees(HANA, "hr") and not await acme.sees(LENA, "hr")
    await refusal(questions.preview_model(acme.desk, HANA, owners))
    assert "no authorization model" in await refusal(questions.preview_model(acme.desk, ROOT, "model\n"))
    other = model + "\ntype wheel\n"
    assert "does not fit the ontology" in await refusal(questions.preview_model(acme.desk, ROOT, other))


async def test_who_can_see_an_entity_is_told_to_who_may_grant_it(acme: Acme) -> None:
    assert await questions.who_can_see(acme.desk, HANA, "document:hr-0") == [HANA.account]
    await grant(acme, HANA)
    assert await questions.who_can_see(acme.desk, ROOT, "document:hr-0") == [ADA.account, HANA.account]
    await decisions.disable(acme.desk, ROOT, ADA.account, WHY)
    assert await questions.who_can_see(acme.desk, LENA, "document:hr-0") == [HANA.account]


async def test_who_is_not_the_administrator_is_told_only_of_accounts_that_they_see(acme: Acme) -> None:
    """Hana is denied the place where all accounts are; they are as if there were none."""
    await deny(acme, ROOT, "group:hr", "collection:all")
    assert await questions.who_can_see(acme.desk, HANA, "document:hr-0") == []
    assert list(await questions.preview_decision(acme.desk, LENA, "denial", "person:hana", HR)) != []
    await refusal(questions.preview_decision(acme.desk, HANA, "grant", "group:everyone", HR))


async def test_what_changed_for_whom_is_told_between_two_revisions(acme: Acme) -> None:
    start = await current_revision(acme.desk.database)
    entry = await grant(acme, HANA)
    middle = await current_revision(acme.desk.database)
    await decisions.take_back(acme.desk, HANA, entry.id, WHY)
    await decisions.disable(acme.desk, ROOT, ADA.account, WHY)
    end = await current_revision(acme.desk.database)

    async def told(asker: Asker, after: int, until: int, at: str | None) -> list[tuple[str, str, str]]:
        found = await questions.changes_between(acme.desk, asker, after, until, at)
        return [(one.subject, one.relationship, one.change) for one in found]

    came, went = ("person:ada", "GRANTED_VIEW", "came"), ("person:ada", "GRANTED_VIEW", "went")
    disabled = ("organization:acme", "DISABLES", "came")
    assert await told(HANA, start, end, HR) == [came, went]
    assert await told(HANA, start, middle, HR) == [came]
    assert await told(ROOT, middle, end, None) == [went, disabled]
    assert await told(HANA, start, end, WARD) == []
    await begin_epoch(acme.desk.database, end + 3)
    await acme.crawl()
    for after, until in ((end + 1, end + 4), (start, end + 3)):
        assert "was lost when the database was restored" in await refusal(
            questions.changes_between(acme.desk, ROOT, after, until, None)
        )
    assert await told(ROOT, middle, end + 4, HR) == [went]


async def test_decisions_are_listed_to_who_may_decide_and_nobody_else(acme: Acme) -> None:
    mine, board = await grant(acme, HANA), await grant(acme, TOM, to=BOARD)
    await decisions.disable(acme.desk, ROOT, ADA.account, WHY)
    assert [e.id for e in await questions.decisions(acme.desk, LENA)] == [mine.id]
    assert [e.id for e in await questions.decisions(acme.desk, TOM)] == [board.id]
    assert await questions.decisions(acme.desk, ADA) == []
    assert len(await questions.decisions(acme.desk, ROOT)) == 3


async def test_grants_that_a_restore_suspended_count_again_when_the_administrator_vouches(acme: Acme) -> None:
    for asker in (HANA, replace(ROOT, agent="helper")):
        await refusal(decisions.vouch(acme.desk, asker, WHY))
    await decisions.vouch(acme.desk, ROOT, WHY)
    assert not await acme.desk.administration.suspended()

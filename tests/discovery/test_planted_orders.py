"""Text has no authority: whatever orders stand in what is crawled, access, handling and decisions stay as they
were, and no address in them is asked."""

import asyncio
import csv
import html
import io
import json
import zipfile
from pathlib import Path

import pytest
import yaml

from discovery.configuration import all_sources
from discovery.runner import Runner
from graph.extractions import extractions
from graph.store import FactStore
from ontologies import load
from ontologies.loader import load_authorization, load_shapes
from tests.discovery.test_proposing import KEY, POLICIES, RECORDS, RULE, handling

ORDERS = yaml.safe_load((Path(__file__).parent / "planted_orders.yaml").read_text("utf-8"))
MAPPING = """\
[[rule]]
each = ""
id = "person:{id}"
class = "Person"
values = { name = "name", description = "note" }
"""
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
BPMN = "http://www.omg.org/spec/BPMN/20100524/MODEL"
ACCESS = sorted(
    name for name, one in load().relationships.items() if one.access_bearing and name != "IN_COLLECTION"
)
OTHERS = {
    "people": {"connector": "mapping", "options": {"path": "people.csv", "mapping": "people.toml"}},
    "process": {"connector": "bpmn", "options": {"path": "process.bpmn"}},
    "workflow": {"connector": "github-actions", "options": {"path": "workflow.yml"}},
    "controls": {"connector": "oscal", "options": {"path": "controls.json"}},
    "api": {"connector": "openapi", "options": {"path": "api.json"}},
    "models": {"connector": "dbt", "options": {"path": "dbt.json"}},
}


def plant(folder: Path, texts: list[str]) -> None:
    """Into each kind of source, wherever it has text."""
    for name in ("policies", "records"):
        (folder / name).mkdir(exist_ok=True)
        paragraphs = "\n\n".join(texts)
        (folder / name / "text.md").write_text(f"# {texts[0]}\n\n{paragraphs}\n", "utf-8")
        told = "".join(f"<p title='{html.escape(one)}'>{html.escape(one)}</p>" for one in texts)
        (folder / name / "page.html").write_text(f"<h1>Page</h1>{told}", "utf-8")
        (folder / name / "word.docx").write_bytes(docx(texts))
    (folder / "policies" / "data.md").write_text(f"# Data policy\n\n{RULE}\n")
    (folder / "people.toml").write_text(MAPPING)
    rows = io.StringIO()
    csv.writer(rows).writerows([("id", "name", "note"), *((n, one, one) for n, one in enumerate(texts))])
    (folder / "people.csv").write_text(rows.getvalue(), "utf-8")
    tasks = "".join(f'<task id="t{n}" name="{html.escape(one)}"/>' for n, one in enumerate(texts))
    (folder / "process.bpmn").write_text(
        f'<definitions xmlns="{BPMN}"><process id="p" name="P">{tasks}</process></definitions>', "utf-8"
    )
    steps = [{"name": one, "run": "make"} for one in texts]
    (folder / "workflow.yml").write_text(json.dumps({"on": "push", "jobs": {"build": {"steps": steps}}}))
    controls = [
        {"id": f"a-{n}", "title": one[:80], "parts": [{"name": "statement", "prose": one}]}
        for n, one in enumerate(texts)
    ]
    (folder / "controls.json").write_text(
        json.dumps({"catalog": {"metadata": {"title": "C"}, "controls": controls}})
    )
    schemas = {f"S{n}": {"description": one, "properties": {}} for n, one in enumerate(texts)}
    (folder / "api.json").write_text(
        json.dumps({"openapi": "3.0.0", "info": {"title": "A"}, "components": {"schemas": schemas}})
    )
    nodes = {
        f"model.m.x{n}": {"resource_type": "model", "name": "x", "description": one}
        for n, one in enumerate(texts)
    }
    (folder / "dbt.json").write_text(json.dumps({"metadata": {"project_name": "m"}, "nodes": nodes}))


def docx(texts: list[str]) -> bytes:
    body = "".join(f"<w:p><w:r><w:t>{html.escape(one)}</w:t></w:r></w:p>" for one in texts)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(
            "word/document.xml", f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'
        )
    return data.getvalue()


async def standing(runner: Runner) -> dict[str, object]:
    """Who may what, what may be processed where, what somebody decided, and which rules there are."""
    read = runner.database.read
    access = await read(
        "MATCH (a)-[r]->(b) WHERE type(r) IN $types "
        "RETURN a.id + ' ' + type(r) + ' ' + b.id AS fact ORDER BY fact",
        types=ACCESS,
    )
    places = await read("MATCH ()-[:IN_COLLECTION]->(c) RETURN DISTINCT c.id AS id ORDER BY id")
    rules = await read("MATCH (n) WHERE n:Rule OR n:HandlingRule RETURN n.id AS id ORDER BY id")
    merged = await read("MATCH ()-[r:SAME_AS]->() RETURN count(r) AS n")
    [record] = await read(
        "MATCH (n:Document) WHERE n.id STARTS WITH 'document:records/text' RETURN n.id AS id"
    )
    waiting = await extractions(runner.database, "policies")
    return {
        "access": [one["fact"] for one in access],
        "places": [one["id"] for one in places],
        "rules": [one["id"] for one in rules],
        "merged": merged[0]["n"],
        "handling": await handling(runner, record["id"]),
        "decided": [one.decision for one in waiting if one.decision is not None],
    }


@pytest.fixture
async def never_asked():
    """The address of a server, and who came."""
    came: list[object] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer.get_extra_info("peername"))
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", came


async def test_orders_in_any_kind_of_source_change_what_is_cited_and_nothing_else(
    neo4j, make_organization, tmp_path, never_asked
):
    url, came = never_asked
    classified = {"classify": "values", "classification": RECORDS["classification"]}
    sources = [RECORDS | classified, POLICIES, *({"name": name, **one} for name, one in OTHERS.items())]
    organization = make_organization(tmp_path, *sources)
    runner = Runner(organization, FactStore(neo4j, load_shapes(), load_authorization()), neo4j)

    async def crawl() -> dict[str, object]:
        reports = await runner.run_all(all_sources(organization))
        assert {one.source: (one.outcome, one.error) for one in reports} == {
            one.name: ("complete", None) for one in all_sources(organization)
        }
        return await standing(runner)

    orders = [one.format(url=url) for one in ORDERS]
    plant(tmp_path, [f"Lunch is at noon in room {n}." for n in range(len(orders))])
    before = await crawl()
    assert before["handling"].jurisdictions == {"US"}
    assert before["rules"], f"{KEY} has its rule"
    plant(tmp_path, orders)
    assert await crawl() == before
    assert came == []
    [kept] = await neo4j.read(
        "MATCH (p:Passage) WHERE p.text CONTAINS 'MEMBER_OF group:hr' RETURN count(p) AS n"
    )
    assert kept["n"] > 0, "they are read as what they are: text"

"""What a person sees leaves as RDF, and comes back as what it was."""

import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyshacl import validate
from rdflib import RDF, Graph, Namespace, URIRef
from rdflib.compare import isomorphic

from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.database import Database
from graph.inferred import Reasoner
from graph.past import PRESENT, When
from graph.rdf import export as exporting
from graph.rdf.export import export
from graph.rdf.parsing import BadTriple, triples
from graph.rdf.reading import claims
from graph.rdf.staging import Staged, staging
from graph.rdf.terms import FORMATS
from graph.reads import Asker, Reader
from graph.reasoning import compile_rules
from graph.store import FactStore
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes
from ontologies.loader import modules_graph, shapes_graph

OG, OGP = Namespace("urn:orgraph:ontology:"), Namespace("urn:orgraph:provenance:")
PLACES = frozenset({"collection:all", "collection:hr", "collection:admin"})
GRANTS = frozenset({"MAY_VIEW", "MEMBER_OF", "HAS_ACCOUNT"})
CONFIGURATION = SourcePolicy("configuration", GRANTS, PLACES, 100, timedelta(days=1))
REGISTRY = SourcePolicy("registry", frozenset({"MEMBER_OF"}), PLACES, 50, timedelta(days=1))
RDFLIB = {"turtle": "turtle", "nt": "nt", "jsonld": "json-ld"}

REGISTER = """
@prefix og: <urn:orgraph:ontology:> . @prefix ogp: <urn:orgraph:provenance:> . @prefix e: <urn:orgraph:entity:> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> . @prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
<urn:orgraph:entity:person:a%2540b/%3Cx%3E> a og:Person ; og:name "Zoë \\"Z\\"\\n" ; og:accountName "z", "zoe" ;
    og:inCollection <urn:orgraph:entity:collection:all> ;
    og:memberOf <urn:orgraph:entity:group:crew> ; og:worksIn <urn:orgraph:entity:organizational_unit:t> ;
    og:hasCompensation <urn:orgraph:entity:compensation:z> .
<urn:orgraph:entity:compensation:z> a og:Compensation ; og:name "Pay" ; og:annualSalary 90000 ;
    og:inCollection <urn:orgraph:entity:collection:hr> .
<urn:orgraph:entity:group:crew> a og:Group ; og:name "Crew" ; og:inCollection <urn:orgraph:entity:collection:all> .
<urn:orgraph:entity:organizational_unit:t> a og:OrganizationalUnit ; og:name "Team" ;
    og:unitOf <urn:orgraph:entity:organizational_unit:d> ; og:url "https://x.example/t"^^xsd:anyURI ;
    og:inCollection <urn:orgraph:entity:collection:all> .
<urn:orgraph:entity:organizational_unit:d> a og:OrganizationalUnit ; og:name "Department" ;
    og:inCollection <urn:orgraph:entity:collection:all> .
<urn:orgraph:entity:document:d> a og:Document ; og:name "Terms" ; og:inCollection <urn:orgraph:entity:collection:all> ;
    og:effectiveFrom "2026-01-01T12:00:00.5+02:00"^^xsd:dateTime .
<urn:x:1> a ogp:Claim ; rdf:subject <urn:orgraph:entity:organizational_unit:t> ; rdf:predicate og:unitOf ;
    rdf:object <urn:orgraph:entity:organizational_unit:d> ; ogp:confidence 0.75 ;
    ogp:validFrom "2020-01-01T00:00:00Z"^^xsd:dateTime ; ogp:validTo "2999-01-01T00:00:00Z"^^xsd:dateTime .
"""


def entity(id: str, class_name: str, collection: str, **values: str) -> EntityClaim:
    return EntityClaim(id, class_name, f"collection:{collection}", {"name": id, **values}, "test")


def access() -> Sequence[Claim]:
    """Ada sees `all` and `hr`, Eve `all` alone; neither sees who they are, which is in `admin`."""
    found: list[Claim] = [entity(f"collection:{name}", "Collection", name) for name in ("all", "hr", "admin")]
    for login, seen in (("ada", ("all", "hr")), ("eve", ("all",))):
        person, account = f"person:{login}", f"account:acme/{login}"
        found += [
            entity(person, "Person", "admin"),
            entity(account, "Account", "admin", issuer="acme", subject=login),
            RelationshipClaim(person, "HAS_ACCOUNT", account, "test"),
            *(RelationshipClaim(person, "MAY_VIEW", f"collection:{name}", "test") for name in seen),
        ]
    return found


class Registry:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = FactStore(database, load_shapes(), load_authorization())
        self.reader = Reader(
            database, load(), Authorizer(database, load(), load_authorization(), [CONFIGURATION, REGISTRY])
        )

    async def bring(self, turtle: bytes) -> set[str]:
        """Read as the source `registry`, into what only the configuration has described; ids refused."""
        async with self.store.crawl(CONFIGURATION, "access") as crawl:
            assert (await crawl.write(access())).quarantined == ()
        with staging() as staged:
            staged.add(
                one
                for one in triples(io.BytesIO(turtle), "register.ttl", FORMATS["turtle"])
                if isinstance(one, Staged)
            )
            read = list(claims(staged, load(), lambda id: "collection:all"))
        assert [one for one in read if isinstance(one, BadTriple)] == []
        async with self.store.crawl(REGISTRY, "all") as crawl:
            report = await crawl.write(one for one in read if not isinstance(one, BadTriple))
        return {one.entity for one in report.quarantined}

    async def leave(self, login: str, format: str = "turtle", when: When = PRESENT) -> bytes:
        output = io.BytesIO()
        asker = Asker(f"account:acme/{login}")
        await export(self.reader, asker, load(), FORMATS[format], output, when)
        return output.getvalue()

    async def empty(self) -> None:
        async with self.database.driver.session() as session:
            await (await session.run("MATCH (n) DETACH DELETE n")).consume()
        await self.database.ensure_schema()


@pytest.fixture
async def registry(neo4j: Database, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setattr(exporting, "_PAGE", 3)
    registry = Registry(neo4j)
    assert await registry.bring(REGISTER.encode()) == set()
    return registry


def parsed(data: bytes, format: str = "turtle") -> Graph:
    return Graph().parse(data=data, format=RDFLIB[format])


def facts(graph: Graph) -> Graph:
    """Without claims, sources and collections."""
    described = {s for kind in (OGP.Claim, OGP.Source, OG.Collection) for s in graph.subjects(RDF.type, kind)}
    found = Graph()
    for triple in graph:
        if triple[0] not in described:
            found.add(triple)
    return found


async def test_what_came_in_goes_out_and_a_round_trip_is_isomorphic(registry: Registry) -> None:
    first = await registry.leave("ada")
    came = facts(parsed(REGISTER.encode()))
    went = facts(parsed(first))
    assert isomorphic(came, went), (came - went, went - came)
    await registry.empty()
    assert await registry.bring(first) == {"collection:all", "collection:hr"}  # the configuration's alone
    assert isomorphic(parsed(first), parsed(await registry.leave("ada")))


async def test_each_format_says_the_same(registry: Registry) -> None:
    turtle = parsed(await registry.leave("ada"))
    for format in ("nt", "jsonld"):
        assert isomorphic(turtle, parsed(await registry.leave("ada", format), format))


async def test_claims_say_whose_they_are_how_sure_and_when_they_hold(registry: Registry) -> None:
    graph = parsed(await registry.leave("ada"))
    [(confidence, begins, ends, source)] = graph.query(
        """
        PREFIX og: <urn:orgraph:ontology:> PREFIX ogp: <urn:orgraph:provenance:>
        PREFIX prov: <http://www.w3.org/ns/prov#> PREFIX rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#>
        SELECT ?confidence ?begins ?ends ?source WHERE {
            ?claim a ogp:Claim ; rdf:predicate og:unitOf ; ogp:confidence ?confidence ;
                ogp:validFrom ?begins ; ogp:validTo ?ends ; prov:wasAttributedTo ?source .
            ?source a ogp:Source }
        """
    )
    assert (float(confidence), source) == (0.75, URIRef("urn:orgraph:source:registry"))
    assert (begins.toPython().year, ends.toPython().year) == (2020, 2999)


async def test_the_export_meets_our_shapes_those_of_provenance_among_them(registry: Registry) -> None:
    graph = parsed(await registry.leave("ada"))
    conforms, _, report = validate(graph, shacl_graph=shapes_graph(), ont_graph=modules_graph())
    assert conforms, report
    claim = next(graph.subjects(RDF.type, OGP.Claim))
    graph.remove((claim, OGP.confidence, None))
    conforms, _, _ = validate(graph, shacl_graph=shapes_graph(), ont_graph=modules_graph())
    assert not conforms


async def test_what_a_person_may_not_see_is_as_if_it_were_not_there(registry: Registry) -> None:
    whole, part = await registry.leave("ada"), await registry.leave("eve")
    assert b"compensation" in whole
    for hidden in (b"compensation", b"Compensation", b"90000", b"collection:hr", b"admin", b"eve"):
        assert hidden not in part
    graph, seen = parsed(whole), parsed(part)
    assert not seen - graph
    assert await registry.leave("nobody") == b""


async def test_what_is_inferred_is_left_to_the_reader(registry: Registry) -> None:
    before = await registry.leave("ada")
    await Reasoner(registry.database, compile_rules(load())).build()
    [record] = await registry.database.read("MATCH ()-[r:PART_OF]->() RETURN count(r) AS count")
    assert record["count"] == 1
    assert isomorphic(parsed(before), parsed(await registry.leave("ada")))


@pytest.mark.parametrize("format", RDFLIB)
async def test_it_is_written_as_it_is_read(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    """By the time that a page is read, all but the last few kilobytes of those before it are written."""
    monkeypatch.setattr(exporting, "_PAGE", 50)
    async with registry.store.crawl(REGISTRY, "much") as crawl:
        many = [entity(f"document:{n:03}", "Document", "all", description="x" * 400) for n in range(400)]
        assert (await crawl.write(many)).quarantined == ()
    output, written = io.BytesIO(), []
    pages = exporting._pages

    async def watched(*arguments: Any) -> AsyncIterator[Any]:
        async for page in pages(*arguments):
            written.append(output.tell())
            yield page

    monkeypatch.setattr(exporting, "_pages", watched)
    count = await export(registry.reader, Asker("account:acme/ada"), load(), FORMATS[format], output)
    assert (count >= 400, len(written) >= 8) == (True, True)
    page = output.tell() / len(written)
    lag = [number * page - size for number, size in enumerate(written)]
    assert max(lag) < 2 * page, written


async def test_the_past_leaves_as_it_was_then(registry: Registry) -> None:
    then, before = datetime.now(UTC), parsed(await registry.leave("ada"))
    async with registry.store.crawl(REGISTRY, "all") as crawl:
        await crawl.complete()
    assert len(facts(parsed(await registry.leave("ada")))) == 0
    past = parsed(await registry.leave("ada", when=When(then)))
    assert isomorphic(before, past), (before - past, past - before)
    assert b"compensation" not in await registry.leave("eve", when=When(then))

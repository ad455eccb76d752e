"""What a person sees leaves as RDF, and comes back as what it was."""

import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
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
from graph.rdf.terms import FORMATS, entity_iri
from graph.reads import Asker, Reader
from graph.reasoning import compile_rules
from graph.store import FactStore
from graph.visibility import Authorizer
from ontologies import load, load_authorization, load_shapes
from ontologies.loader import modules_graph, shapes_graph

OG, OGP = Namespace("urn:orgraph:ontology:"), Namespace("urn:orgraph:provenance:")
PROV = Namespace("http://www.w3.org/ns/prov#")
PLACES = frozenset({"collection:all", "collection:hr", "collection:admin"})
GRANTS = frozenset({"MAY_VIEW", "MEMBER_OF", "HAS_ACCOUNT"})
CONFIGURATION = SourcePolicy("configuration", GRANTS, PLACES, 100, timedelta(days=1))
REGISTRY = SourcePolicy("registry", frozenset({"MEMBER_OF"}), PLACES, 50, timedelta(days=1))
OFFICE = SourcePolicy("office", frozenset(), PLACES, 90, timedelta(days=1))
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


ZOE = "person:a%40b/<x>"


def office(year: int) -> Sequence[Claim]:
    """What a second source says of the same: she is called otherwise, and paid otherwise."""
    bounds = (datetime(year, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC))
    named, paid = {"name": "Zoe", "accountName": ("zo", "zoe")}, {"name": "Pay", "annualSalary": 80_000}
    return (
        EntityClaim(ZOE, "Person", "collection:all", named, "office.csv:3", 0.5, *bounds),
        RelationshipClaim(ZOE, "WORKS_IN", "organizational_unit:t", "office.csv:4", 0.25, *bounds),
        EntityClaim("compensation:z", "Compensation", "collection:hr", paid, "payroll.csv:9"),
        RelationshipClaim(ZOE, "HAS_COMPENSATION", "compensation:z", "payroll.csv:10"),
    )


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
            database,
            load(),
            Authorizer(database, load(), load_authorization(), [CONFIGURATION, REGISTRY, OFFICE]),
        )

    async def bring(
        self, turtle: bytes, source: SourcePolicy = REGISTRY, attributed_to: str | None = None
    ) -> set[str]:
        """Read as the source, into what only the configuration has described; ids refused."""
        async with self.store.crawl(CONFIGURATION, "access") as crawl:
            assert (await crawl.write(access())).quarantined == ()
        with staging() as staged:
            staged.add(
                one
                for one in triples(io.BytesIO(turtle), "register.ttl", FORMATS["turtle"])
                if isinstance(one, Staged)
            )
            read = list(claims(staged, load(), lambda id: "collection:all", attributed_to))
        assert [one for one in read if isinstance(one, BadTriple)] == []
        async with self.store.crawl(source, "all") as crawl:
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
    described = {
        s
        for kind in (OGP.Claim, OGP.Saying, OGP.Source, OG.Collection)
        for s in graph.subjects(RDF.type, kind)
    }
    found = Graph()
    for triple in graph:
        if triple[0] not in described:
            found.add(triple)
    return found


def timeless(graph: Graph) -> Graph:
    """Without since when it is known, which begins anew wherever it is read in."""
    graph.remove((None, OGP.knownSince, None))
    return graph


async def test_what_came_in_goes_out_and_a_round_trip_is_isomorphic(registry: Registry) -> None:
    first = await registry.leave("ada")
    came = facts(parsed(REGISTER.encode()))
    went = facts(parsed(first))
    assert isomorphic(came, went), (came - went, went - came)
    await registry.empty()
    assert await registry.bring(first) == {"collection:all", "collection:hr"}  # the configuration's alone
    assert isomorphic(facts(parsed(first)), facts(parsed(await registry.leave("ada"))))


async def test_each_source_gets_its_own_claims_back_and_the_round_trip_is_isomorphic(
    registry: Registry,
) -> None:
    async with registry.store.crawl(OFFICE, "staff") as crawl:
        assert (await crawl.write(office(2020))).quarantined == ()
    first = await registry.leave("ada")
    for sources in ((REGISTRY, OFFICE), (OFFICE, REGISTRY)):
        await registry.empty()
        for _ in range(2):  # what refers to what the other brings stands once that is there
            for source in sources:
                await registry.bring(first, source, source.name)
        before, after = timeless(parsed(first)), timeless(parsed(await registry.leave("ada")))
        assert isomorphic(before, after), (set(before - after), set(after - before))


async def test_every_visible_claim_is_told_with_its_source_its_evidence_and_what_it_says(
    registry: Registry,
) -> None:
    async with registry.store.crawl(OFFICE, "staff") as crawl:
        assert (await crawl.write(office(2020))).quarantined == ()
    then, data = datetime.now(UTC), await registry.leave("ada")
    graph = parsed(data)
    zoe = entity_iri(ZOE).value

    def told(predicate: URIRef) -> dict[str, tuple[Any, ...]]:
        return {
            str(graph.value(claim, PROV.wasAttributedTo)): tuple(
                None if (found := graph.value(claim, term)) is None else found.toPython()
                for term in (OGP.evidence, OGP.confidence, OGP.trust, OGP.validFrom)
            )
            for claim in graph.subjects(RDF.subject, URIRef(zoe))
            if (claim, RDF.predicate, predicate) in graph and (claim, RDF.type, OGP.Claim) in graph
        }

    begins = datetime(2020, 1, 1, tzinfo=UTC)
    name = "urn:orgraph:source:"
    [line] = [n for n, text in enumerate(REGISTER.splitlines(), 1) if "a og:Person" in text]
    of_her = told(RDF.type)
    assert of_her.keys() == {f"{name}registry", f"{name}office"}
    assert of_her[f"{name}office"] == ("office.csv:3", Decimal("0.5"), 90, begins)
    assert of_her[f"{name}registry"] == (f"register.ttl:{line}", Decimal("1.0"), 50, None)
    assert told(OG.worksIn)[f"{name}office"] == ("office.csv:4", Decimal("0.25"), 90, begins)
    names = {
        (str(graph.value(claim, PROV.wasAttributedTo)), str(graph.value(saying, RDF.object)))
        for claim, saying in graph.subject_objects(OGP.says)
        if (saying, RDF.predicate, OG.name) in graph and (saying, RDF.subject, URIRef(zoe)) in graph
    }
    assert names == {(f"{name}office", "Zoe"), (f"{name}registry", 'Zoë "Z"\n')}
    assert str(graph.value(URIRef(zoe), OG.name)) == "Zoe", "the more trusted one is believed"
    [since] = {
        graph.value(claim, OGP.knownSince).toPython()
        for claim in graph.subjects(RDF.subject, URIRef(zoe))
        if (claim, RDF.predicate, RDF.type) in graph
    }
    assert since <= then
    conforms, _, report = validate(graph, shacl_graph=shapes_graph(), ont_graph=modules_graph())
    assert conforms, report

    hidden = await registry.leave("eve")
    assert b"office.csv:3" in hidden
    assert [one for one in (b"payroll", b"80000", b"90000", b"annualSalary") if one in hidden] == []
    assert not set(parsed(hidden)) - set(graph)
    async with registry.store.crawl(OFFICE, "staff") as crawl:
        assert (await crawl.write(office(2021))).quarantined == ()
        await crawl.complete()
    assert not isomorphic(graph, parsed(await registry.leave("ada")))
    assert isomorphic(graph, parsed(await registry.leave("ada", when=When(then))))


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
    parts = exporting._parts

    async def watched(*arguments: Any) -> AsyncIterator[Any]:
        async for part in parts(*arguments):
            written.append(output.tell())
            yield part

    monkeypatch.setattr(exporting, "_parts", watched)
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

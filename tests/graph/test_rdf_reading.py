"""Triples become claims; what is none is told with its line, and the rest goes on."""

import io
import json
import resource
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyoxigraph import RdfFormat, parse

from graph.claims import Claim, EntityClaim, RelationshipClaim
from graph.rdf.parsing import MAX_PROBLEMS, BadTriple, triples
from graph.rdf.reading import claims
from graph.rdf.staging import Staged, staging
from graph.rdf.terms import FORMATS
from ontologies import load

PREFIXES = """@prefix og: <urn:orgraph:ontology:> . @prefix ogp: <urn:orgraph:provenance:> . @prefix : <https://x.example/> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> . @prefix prov: <http://www.w3.org/ns/prov#> .
"""
RDF_TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
PERSON = "urn:orgraph:ontology:Person"
ADA = "person:https%3A//x.example/ada"


def read(
    text: str | bytes, format: RdfFormat = RdfFormat.TURTLE
) -> tuple[list[Claim], list[tuple[str, str]]]:
    """The claims, and (place, reason) of what is none."""
    data = text if isinstance(text, bytes) else text.encode()
    bad: list[BadTriple] = []

    def good() -> Iterator[Staged]:
        for one in triples(io.BytesIO(data), "file", format):
            if isinstance(one, BadTriple):
                bad.append(one)
            else:
                yield one

    with staging() as staged:
        staged.add(good())
        found = list(claims(staged, load(), lambda id: "collection:all"))
    bad += [one for one in found if isinstance(one, BadTriple)]
    return [one for one in found if not isinstance(one, BadTriple)], [(one.place, one.reason) for one in bad]


def test_the_triples_of_a_subject_come_together_however_they_were_scattered() -> None:
    found, bad = read(
        PREFIXES
        + """:ada og:worksIn :claims .
        :ada a og:Person, og:Agent ; og:name "Ada" .
        <urn:orgraph:entity:group:crew> a og:Group ; og:name "Crew" ; og:inCollection <urn:orgraph:entity:collection:hr> .
        :claims og:name "Claims" .
        :ada og:accountName "ada", "al" ; og:memberOf <urn:orgraph:entity:group:crew> .
        :claims a og:OrganizationalUnit ."""
    )
    assert bad == []
    unit = "organizational_unit:https%3A//x.example/claims"
    assert sorted(found, key=repr) == sorted(
        [
            EntityClaim(
                ADA, "Person", "collection:all", {"name": "Ada", "accountName": ("ada", "al")}, "file:4"
            ),
            EntityClaim(unit, "OrganizationalUnit", "collection:all", {"name": "Claims"}, "file:8"),
            EntityClaim("group:crew", "Group", "collection:hr", {"name": "Crew"}, "file:5"),
            RelationshipClaim(ADA, "WORKS_IN", unit, "file:3"),
            RelationshipClaim(ADA, "MEMBER_OF", "group:crew", "file:7"),
        ],
        key=repr,
    )


def test_what_is_said_of_a_fact_goes_with_its_claim() -> None:
    found, bad = read(
        PREFIXES
        + """:ada a og:Person ; og:name "Ada" ; og:reportsTo <urn:orgraph:entity:person:bob> .
        :c1 a ogp:Claim ; rdf:subject :ada ; rdf:predicate og:reportsTo ; rdf:object <urn:orgraph:entity:person:bob> ;
            ogp:confidence 0.5 ; ogp:validFrom "2026-01-01T00:00:00Z"^^<http://www.w3.org/2001/XMLSchema#dateTime> ;
            prov:wasAttributedTo :hr .
        :c2 a ogp:Claim ; rdf:subject :ada ; rdf:predicate rdf:type ; rdf:object og:Person ; ogp:confidence 0.25 .
        :hr a ogp:Source ."""
    )
    assert bad == []
    entity, relationship = found
    assert entity.confidence == 0.25
    assert (relationship.confidence, relationship.valid_from) == (0.5, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("triple", "reason"),
    [
        (":ada og:worksIn oops .", "oops is not a valid RDF object"),
        (':ada og:nick "a" .', "expected a property of the ontology, found urn:orgraph:ontology:nick"),
        (':ada og:name "Ada"@en .', "expected a literal of xsd:string, found 'Ada' of en"),
        (":ada og:email :mail .", "expected a literal as email, found <https://x.example/mail>"),
        (':ada og:worksIn "Claims" .', 'expected the IRI of an entity, found "Claims"'),
        (":ada og:worksIn :unknown .", "types of <https://x.example/unknown>, found none"),
        (":ada og:worksIn [] .", "expected an IRI, as nothing else is the same next time"),
        (":robot a og:Robot .", "types of <https://x.example/robot>, found urn:orgraph:ontology:Robot"),
        (":both a og:Person, og:Group .", "expected one class for <https://x.example/both>"),
        (":c a ogp:Claim ; rdf:subject :ada .", "expected one http://www.w3.org/1999/02/22-rdf-syntax-ns#predicate"),
        (":c a ogp:Claim ; rdf:subject :ada ; rdf:predicate og:leads ; rdf:object :x .", "expected the fact that is claimed"),
        (":c a ogp:Claim ; rdf:subject :ada ; rdf:predicate rdf:type ; rdf:object og:Person ; ogp:confidence 'high' .", "expected one confidence of xsd:decimal"),
        (":c a ogp:Claim ; rdf:subject :ada ; rdf:predicate rdf:type ; rdf:object og:Person ; ogp:trust 0.5 .", "expected one trust of xsd:integer"),
        (":s a ogp:Saying ; rdf:subject :ada ; rdf:predicate og:leads ; rdf:object :x .", "expected one value of a property of the ontology as a saying"),
        (":s a ogp:Saying ; rdf:subject :ada ; rdf:predicate og:disabled ; rdf:object 'yes' .", "disabled: expected a literal of xsd:boolean"),
    ],
)  # fmt: skip
def test_a_bad_triple_is_told_with_its_line_and_the_rest_goes_on(triple: str, reason: str) -> None:
    whole = ":ada a og:Person ; og:pronouns 'she' .\n{}\n<https://x.example/bob> a og:Person .\n"
    found, bad = read(PREFIXES + whole.format(triple))
    [(place, told)] = bad
    assert reason in told
    assert place == "file:4"
    assert {one.id for one in found if isinstance(one, EntityClaim)} == {
        ADA,
        "person:https%3A//x.example/bob",
    }


def test_n_triples_and_json_ld_are_read_alike() -> None:
    json = """{"@context": {"@vocab": "urn:orgraph:ontology:"},
      "@id": "https://x.example/ada", "@type": "Person", "name": "Ada", "reportsTo": {"@id": "urn:orgraph:entity:person:bob"}}"""
    lines = (
        "<https://x.example/ada> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <urn:orgraph:ontology:Person> .\n"
        '<https://x.example/ada> <urn:orgraph:ontology:name> "Ada" .\n'
        "<https://x.example/ada> <urn:orgraph:ontology:reportsTo> <urn:orgraph:entity:person:bob> .\n"
    )
    for text, format in ((json, "jsonld"), (lines, "nt")):
        found, bad = read(text, FORMATS[format])
        assert bad == []
        assert [(type(one), one.confidence) for one in found] == [
            (EntityClaim, 1.0),
            (RelationshipClaim, 1.0),
        ]


def test_a_context_of_another_document_is_not_fetched() -> None:
    found, bad = read(
        '{"@context": "https://x.example/context", "@id": "https://x.example/ada"}', FORMATS["jsonld"]
    )
    assert found == []
    assert "remote contexts" in bad[0][1]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"{", b"\x00" * 100, b"<" * 5000, b'{"@graph": ['])
def test_rubbish_ends_with_problems_and_never_in_a_crash(data: bytes, format: str) -> None:
    found, bad = read(data, FORMATS[format])
    assert found == []
    assert bool(bad) is (bool(data) or format == "jsonld")


def test_of_a_file_that_is_something_else_no_more_is_read_than_tells_so() -> None:
    _, bad = read("oops\n" * (3 * MAX_PROBLEMS), RdfFormat.N_TRIPLES)
    assert len(bad) == MAX_PROBLEMS + 1
    assert bad[-1][1] == f"expected fewer than {MAX_PROBLEMS} problems; the rest is not read"


def jsonld(nodes: int) -> Iterator[bytes]:
    """A document of persons, a line each."""
    yield b'{"@context": {"@vocab": "urn:orgraph:ontology:"}, "@graph": [\n'
    for left in reversed(range(nodes)):
        node = {"@id": f"https://x.example/{left}", "@type": "Person", "name": "x" * 200}
        yield json.dumps(node).encode() + (b",\n" if left else b"\n")
    yield b"]}\n"


def n_triples(nodes: int) -> Iterator[bytes]:
    for left in range(nodes):
        for said in (f"<{RDF_TYPE}> <{PERSON}>", f'<urn:orgraph:ontology:name> "{"x" * 200}"'):
            yield f"<https://x.example/{left}> {said} .\n".encode()


def turtle(nodes: int) -> Iterator[bytes]:
    yield PREFIXES.encode()
    for left in range(nodes):
        yield f':p{left} a og:Person ; og:name "{"x" * 200}" .\n'.encode()


class Endless(io.RawIOBase):
    """What is made as it is read."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self.lines = lines
        self.left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, into: bytearray) -> int:  # type: ignore[override]
        self.left = self.left or next(self.lines, b"")
        count = min(len(into), len(self.left))
        into[:count], self.left = self.left[:count], self.left[count:]
        return count


@pytest.mark.parametrize(("format", "made"), [("nt", n_triples), ("turtle", turtle), ("jsonld", jsonld)])
def test_a_file_is_read_in_bounded_memory(format: str, made: Callable[[int], Iterator[bytes]]) -> None:
    """Of the process, since the parser keeps its own books."""

    def peak(nodes: int) -> int:
        highest = before = resident()

        def good() -> Iterator[Staged]:
            nonlocal highest
            for at, one in enumerate(
                triples(io.BufferedReader(Endless(made(nodes))), "file", FORMATS[format])
            ):
                assert isinstance(one, Staged), one
                yield one
                highest = max(highest, resident()) if at % 1_000 == 0 else highest

        with staging() as staged:
            staged.add(good())
            assert sum(isinstance(one, EntityClaim) for one in claims(staged, load(), lambda _: "c")) == nodes
        return max(highest, resident()) - before

    peak(2_000)
    assert peak(40_000) < 12 << 20, "the text is of 11 MB, and its triples of many more"


def resident() -> int:
    """Bytes of memory that the process holds."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


CONTEXT = '"@context": {"@vocab": "urn:orgraph:ontology:"}'
ANN = '{"@id": "https://x.example/ann", "@type": "Person", "name": "A [\\"}{\\\\"}'
BEA = '{"@id": "https://x.example/bea", "name": "B", "@type": "Person", "reportsTo": {"@id": "https://x.example/ann"}}'


@pytest.mark.parametrize(
    "text",
    [
        f'{{{CONTEXT}, "@graph": [{ANN}, {BEA}]}}',
        f'{{{CONTEXT},\n "@graph"\n:[\n{ANN}\n,\n\n{BEA}\n]\n}}\n',
        f'{{"@graph": [{ANN}, {BEA}], {CONTEXT}}}',
        f"[{ANN[:1]}{CONTEXT}, {ANN[1:]}, {BEA[:1]}{CONTEXT}, {BEA[1:]}]",
        " \n" + f"{ANN[:1]}{CONTEXT}, {ANN[1:]}".replace('"name"', '"ownerOf": [], "name"', 1),
    ],
)  # fmt: skip
def test_a_document_of_json_ld_is_taken_apart_into_what_it_says(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is written, and wherever what is read of it ends."""
    whole = {str(quad.triple) for quad in parse(text.encode(), RdfFormat.JSON_LD)}
    assert whole
    for size in (1, 7, 64, 1 << 16):
        monkeypatch.setattr("graph.rdf.json_ld._CHUNK", size)
        found = list(triples(io.BytesIO(text.encode()), "file", RdfFormat.JSON_LD))
        assert all(isinstance(one, Staged) for one in found), found
        assert len(found) == len(whole)


def test_a_broken_node_of_json_ld_is_told_with_its_line_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = ",\n".join([ANN, '{"@id": "https://x.example/eve", "name" "E"}', '{"name": "nobody"}', BEA])
    found, bad = read(f'{{{CONTEXT}, "@graph": [\n{nodes}]}}', RdfFormat.JSON_LD)
    assert [(place, reason[:24]) for place, reason in bad] == [
        ("file:3", "expected JSON-LD: Parser"),
        ("file:4", "expected an IRI, as noth"),
    ]
    assert {one.id for one in found if isinstance(one, EntityClaim)} == {
        "person:https%3A//x.example/ann",
        "person:https%3A//x.example/bea",
    }
    for text in (
        f'{{{CONTEXT}, "@graph": [{ANN}',
        f'{{{CONTEXT}, "@graph": [{ANN}], "@id": "x:y"}}',
        f"[{ANN}] 7",
    ):
        _, bad = read(text, RdfFormat.JSON_LD)
        assert [reason[:16] for _, reason in bad] == ["expected JSON-LD"], text
    monkeypatch.setattr("graph.rdf.json_ld.LARGEST", 1_000)
    for text in (f'[{{"name": "{"x" * 200_000}"}}]', f'{{"@id": "x:y", "name": "{"x" * 200_000}"}}'):
        _, [(_, reason)] = read(text, RdfFormat.JSON_LD)
        assert "expected at most 1000 bytes of a node" in reason

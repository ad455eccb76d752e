"""Classifications that a crawl proposes: what was rejected stays away, what samples showed once stays.

A sample is not a reading of the whole column: a label that the next one does not show again would loosen
handling by chance, so it stands until a person rejects it, or its column is gone. Names and texts are read
whole, and what they no longer say is retracted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, LiteralString, TypeGuard

from discovery.connector import Item
from discovery.sources import SourceConfig
from graph.claims import Claim, EntityClaim, RelationshipClaim, subject
from graph.database import Database
from graph.extractions import Extraction, packed, propose, rejected, reviewed
from graph.facts import fact_of

CLASSIFIED_AS = "CLASSIFIED_AS"
#: The type of what is classified by samples.
_SAMPLED = "column:"
_EXTRACTOR = "names and samples"
_UNSHOWN = "a sample of it before; it stands until somebody decides"
_LIVE: LiteralString = """
    MATCH (n:Entity)-[r:CLASSIFIED_AS]->(c:Classification)
    WHERE $source IN r.sources AND (r.confidence < 1 OR $reviewed IN r.sources)
    """


@dataclass(slots=True)
class Proposed:
    """What one crawl proposes, next to what was proposed, and decided, before."""

    standing: Mapping[str, RelationshipClaim]
    """By fact: what samples showed before."""
    rejected: Mapping[str, str]
    """By fact: the basis on which it was rejected."""
    found: set[str] = field(default_factory=set)
    """Facts that the crawl proposed again, or anew."""
    kept: set[str] = field(default_factory=set)
    """Facts that stand although this crawl's samples did not show them."""
    changed: bool = False
    """Whether the crawl told anything at all."""
    scopes: list[Proposed] = field(default_factory=list)
    """Of each of the scopes, which are crawled side by side."""
    _there: set[str] = field(default_factory=set)
    """Of the entities that samples once told of, those that the crawl told."""
    _texts: dict[str, str] = field(default_factory=dict)
    """Of the passages of which something was rejected."""
    _starts: frozenset[str] = field(init=False)
    _decided: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self._starts = frozenset(one.start for one in self.standing.values())
        self._decided = frozenset(fact.partition(" ")[0] for fact in self.rejected)

    def of_scope(self) -> Proposed:
        """For the crawl of one scope, or another attempt at it."""
        one = Proposed(self.standing, self.rejected)
        self.scopes.append(one)
        return one

    def admitted(self, items: Iterable[Item]) -> list[Item]:
        """Without what was rejected on the same basis."""
        self.changed = True
        return [item for item in items if self._is_admitted(item)]

    def unshown(self) -> list[Claim]:
        """What stands on, though the crawl, which was whole, has not proposed it again."""
        claims = [
            claim
            for fact, claim in self.standing.items()
            if claim.start in self._there and fact not in self.found and fact not in self.rejected
        ]
        self.kept.update(map(fact_of, claims))
        return list(claims)

    def without_sampled(self, withdrawn: Sequence[Claim]) -> list[Claim]:
        """Of what a source takes back, what samples do not decide; a column that goes takes all with it."""
        gone = {claim.id for claim in withdrawn if isinstance(claim, EntityClaim)}
        left = [one for one in withdrawn if fact_of(one) not in self.standing or subject(one) in gone]
        self.kept.update(fact_of(one) for one in withdrawn if one not in left)
        return left

    def _is_admitted(self, item: Item) -> bool:
        if isinstance(item, EntityClaim):
            if item.id in self._starts:
                self._there.add(item.id)
            if item.id in self._decided and item.class_name == "Passage":
                self._texts[item.id] = digest(str(item.values["text"]))
        if not is_proposed(item):
            return True
        fact = fact_of(item)
        if self.rejected.get(fact) == self._texts.get(item.start, str(item.confidence)):
            return False
        self.found.add(fact)
        return True


def is_proposed(item: object) -> TypeGuard[RelationshipClaim]:
    """Whether it is a classification that is no declared one."""
    return isinstance(item, RelationshipClaim) and item.type == CLASSIFIED_AS and item.confidence < 1


async def proposed_before(database: Database, source: SourceConfig) -> Proposed:
    """What a crawl of the source has to keep to; nothing for one that proposes nothing."""
    if source.classify is None:
        return Proposed({}, {})
    records = await database.read(_LIVE + "RETURN n.id AS start, c.id AS end, r.confidence AS confidence",
                                  source=source.name, reviewed="")  # fmt: skip
    claims = [
        RelationshipClaim(row["start"], CLASSIFIED_AS, row["end"], _UNSHOWN, row["confidence"])
        for row in records
        if row["start"].startswith(_SAMPLED)
    ]
    return Proposed({fact_of(one): one for one in claims}, await rejected(database, source.name))


async def propose_classifications(database: Database, source: SourceConfig, proposed: Proposed) -> None:
    """Put what stands as proposed before people, and say of it whether samples still show it."""
    found = {fact for one in proposed.scopes for fact in one.found}
    kept = {fact for one in proposed.scopes for fact in one.kept}
    records = await database.read(
        _LIVE
        + """MATCH (n)-[:IN_COLLECTION]->(m)
        RETURN n.id AS start, n.name AS name, n.text AS text, c.id AS end, c.name AS label,
            r.confidence AS confidence, m.id AS place
        """,
        source=source.name,
        reviewed=reviewed(source.policy()).name,
    )
    rows = [_extraction(source.name, row, found, kept) for row in records]
    await propose(database, source.name, rows, "classifications")


def digest(text: str) -> str:
    """Of a text."""
    return sha256(text.encode(errors="replace")).hexdigest()[:16]


def _extraction(source: str, row: Mapping[str, Any], found: set[str], kept: set[str]) -> Extraction:
    claim = RelationshipClaim(row["start"], CLASSIFIED_AS, row["end"], row["start"], row["confidence"])
    fact = fact_of(claim)
    return Extraction(
        source=source,
        fact=fact,
        about=row["start"],
        collection=row["place"],
        statement=f"{row['name']} is classified as {row['label']}",
        quote="",
        evidence=row["start"],
        confidence=row["confidence"],
        extractor=_EXTRACTOR,
        digest=str(row["confidence"]) if row["text"] is None else digest(row["text"]),
        claims=packed([claim]),
        standing=packed([]),
        found=False if fact in kept else True if fact in found else None,
    )

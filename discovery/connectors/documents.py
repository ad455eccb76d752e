"""Documents, policies and plan summaries, cut into passages, from Markdown, HTML, Word and PDF files."""

from __future__ import annotations

import hashlib
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from discovery.connector import Change, Connector, Item, Position, Problem, only_if_unchanged
from discovery.connectors.handling_rules import handling_rules
from discovery.dates import effective_from
from discovery.docx import read_docx
from discovery.files import UnreadableError, listing, locate, read_bytes, read_text, search
from discovery.html import read_html
from discovery.markdown import read_markdown
from discovery.names import names_of
from discovery.options import Options, parse_options
from discovery.passages import Block, PassageText, cut
from discovery.patterns import Parts
from discovery.pdf import read_pdf
from discovery.slugs import slug
from discovery.sources import OrganizationConfig, SourceConfig
from discovery.text import mentions
from discovery.titles import documents_of, is_title, referred
from graph.claims import Claim, EntityClaim, RelationshipClaim, Value, entity_id

_CLASSES = {"document": "Document", "policy": "Policy", "plan_summary": "PlanSummary"}
#: Documents whose passages go to spaCy together.
_BATCH = 20
#: Bytes of a Markdown file. One that is written to be hard takes minutes to parse beyond.
_MAX_MARKDOWN = 1_000_000
_MAX_HTML = 10_000_000


class DocumentsOptions(Options):
    path: str
    """A folder."""
    glob: tuple[str, ...] = ("**/*.md", "**/*.html", "**/*.htm", "**/*.docx", "**/*.pdf")
    kind: Literal["document", "policy", "plan_summary"] = "document"
    mentions: bool = True
    """Whether names of known entities, and titles, are looked for; it takes most of the time."""


def connect(
    organization: OrganizationConfig, source: SourceConfig, known_names: Mapping[str, str]
) -> Connector:
    """`known_names`: ids of the entities that the text may mention, by their names."""
    return DocumentsConnector(organization, source, parse_options(DocumentsOptions, source), known_names)


@dataclass(frozen=True, slots=True)
class _Text:
    """A file as read, whatever its format."""

    title: str
    front_matter: Mapping[str, Any]
    passages: Sequence[PassageText]
    links: Sequence[str]
    problems: Sequence[Problem]


@dataclass(frozen=True)
class DocumentsConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: DocumentsOptions
    known_names: Mapping[str, str]

    def scopes(self) -> Sequence[str]:
        return (" ".join((self.options.path, *self.options.glob)),)

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        yield from only_if_unchanged(position, self._position())

    def _position(self) -> str:
        base = locate(self.organization, self.options.path)
        names = hashlib.sha256(repr(sorted(self._known().items())).encode(errors="replace")).hexdigest()
        return f"{self.options.digest()} {names} {listing(search(base, list(self.options.glob)))}"

    def _known(self) -> Mapping[str, str]:
        """Without its own documents, whose titles it reads anyway."""
        own = self._id("")
        known = self.known_names if self.options.mentions else {}
        return {name: id_ for name, id_ in known.items() if not id_.startswith(own)}

    def read(self, scope: str) -> Iterator[Item]:
        position = self._position()
        parts = Parts(self.organization, self.source)
        found = list(search(locate(self.organization, self.options.path), list(self.options.glob)))
        yield from (item for item in found if isinstance(item, Problem))
        files = [item for item in found if not isinstance(item, Problem)]
        names = frozenset(name for _, name in files)
        known, said = self._known(), _Said()
        yield from parts.classifications()
        for start in range(0, len(files), _BATCH):
            passages: list[EntityClaim] = []
            for path, name in files[start : start + _BATCH]:
                for claim in self._document(path, name, names, parts):
                    yield claim
                    if not isinstance(claim, EntityClaim):
                        continue
                    if claim.class_name == "Passage":
                        passages.append(claim)
                    if self.options.mentions:
                        said.add(claim)
            if known:
                yield from _mentions(passages, known)
        yield from said.references(known)
        yield Position(position)

    def _id(self, name: str) -> str:
        return entity_id(self.options.kind, f"{self.source.name}/{name}")

    def _document(self, path: Path, name: str, names: Set[str], parts: Parts) -> Iterator[Claim | Problem]:
        try:
            text = _read(path, name)
        except UnreadableError as error:
            yield Problem(name, str(error))
            return
        yield from text.problems
        document, collection = self._id(name), parts.collection(name)
        values: dict[str, Value] = {"name": text.title, "path": name}
        if (effective := effective_from(passage.text for passage in text.passages)) is not None:
            values["effectiveFrom"] = effective
        for key, value in _front_values(text.front_matter, name):
            if isinstance(value, Problem):
                yield value
            else:
                values[key] = value
        claim = EntityClaim(document, _CLASSES[self.options.kind], collection, values, f"{name}:1")
        yield claim
        yield from parts.classified(document, f"{name}:1", name)
        for target in sorted(_targets(name, text.links, names)):
            yield RelationshipClaim(document, "REFERS_TO", self._id(target), name)
        yield from self._passages(document, name, text, parts)
        if self.options.kind == "policy" and "handling" in text.front_matter:
            yield from handling_rules(text.front_matter["handling"], f"{self.source.name}/{name}", claim)

    def _passages(self, document: str, name: str, text: _Text, parts: Parts) -> Iterator[Claim]:
        collection, under = parts.collection(name), Counter[str]()
        for position, passage in enumerate(text.passages):
            # Counted under its own heading, so that an edit elsewhere leaves its id.
            section = slug(_section(passage))[:60] or "section"
            under[section] += 1
            id_ = entity_id("passage", f"{self.source.name}/{name}/{section}-{under[section]}")
            evidence = f"{name}:{passage.line}" if passage.page is None else f"{name} page {passage.page}"
            values: dict[str, Value] = {
                "name": " > ".join((text.title, *passage.heading)),
                "text": passage.text,
                "position": position,
            }
            if passage.heading:
                values["heading"] = " > ".join(passage.heading)
            if passage.page is not None:
                values["page"] = passage.page
            yield EntityClaim(id_, "Passage", collection, values, evidence)
            yield RelationshipClaim(document, "HAS_PASSAGE", id_, evidence)
            yield from parts.classified(id_, evidence, name, text=passage.text)


@dataclass
class _Said:
    """What the documents of a source are called, and what their passages may call others; told once all
    have been read, since a document may refer to one that is read after it."""

    titles: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """Ids, with their names."""
    places: list[tuple[str, str, str, Sequence[tuple[str, ...]]]] = field(default_factory=list)
    """Of a passage: its document, its id, its evidence, and what `referred` found in it."""

    def add(self, claim: EntityClaim) -> None:
        name = str(claim.values["name"])
        if claim.class_name in _CLASSES.values():
            self.titles.append((claim.id, {"name": name}))
        elif claim.class_name == "Passage" and (places := referred(str(claim.values["text"]))):
            self.places.append((self.titles[-1][0], claim.id, claim.evidence, places))

    def references(self, known: Mapping[str, str]) -> Iterator[Claim]:
        others = [(id_, {"name": name}) for name, id_ in known.items() if is_title(name)]
        titles = names_of([*self.titles, *others])
        for document, passage, evidence, places in self.places:
            for id_ in sorted(documents_of(places, titles) - {document}):
                yield RelationshipClaim(passage, "REFERS_TO", id_, evidence)


def _section(passage: PassageText) -> str:
    if passage.heading:
        return passage.heading[-1]
    return "introduction" if passage.page is None else f"page {passage.page}"


def _read(path: Path, name: str) -> _Text:
    stem = Path(name).stem.replace("-", " ").replace("_", " ")
    suffix = path.suffix.lower()
    if suffix == ".pdf":
        pdf = read_pdf(path, name)
        return _Text(pdf.title or stem, {}, tuple(cut(pdf.blocks)), (), pdf.problems)
    if suffix in (".html", ".htm"):
        html = read_html(read_text(path, _MAX_HTML))
        return _Text(
            html.title or stem, {}, tuple(cut(html.blocks)), html.links, _if_empty(html.blocks, name)
        )
    if suffix == ".docx":
        docx = read_docx(read_bytes(path))
        return _Text(docx.title or stem, {}, tuple(cut(docx.blocks)), (), _if_empty(docx.blocks, name))
    markdown = read_markdown(read_text(path, _MAX_MARKDOWN))
    return _Text(
        markdown.title or stem, markdown.front_matter, tuple(cut(markdown.blocks)), markdown.links, ()
    )


def _if_empty(blocks: Sequence[Block], name: str) -> Sequence[Problem]:
    """A page that broke off, or shows its text by a script, must not be taken for one without text."""
    return () if blocks else (Problem(name, "expected text, found none; save the document with its text"),)


def _front_values(front: Mapping[str, Any], name: str) -> Iterator[tuple[str, Value | Problem]]:
    for key in ("author", "description", "version"):
        if (value := front.get(key)) is not None:
            yield key, str(value)
    effective = front.get("effectiveFrom", front.get("effective_from"))
    if isinstance(effective, datetime):
        yield "effectiveFrom", effective if effective.tzinfo else effective.replace(tzinfo=UTC)
    elif isinstance(effective, date):
        yield "effectiveFrom", datetime(effective.year, effective.month, effective.day, tzinfo=UTC)
    elif effective is not None:
        message = f"effectiveFrom: expected a date such as 2026-01-31, found {effective!r}"
        yield "effectiveFrom", Problem(f"{name}:1", message)


def _targets(name: str, links: Sequence[str], names: Set[str]) -> Set[str]:
    """The source's files that the links lead to, relative to `name` or, from `/`, to the folder."""
    found = set()
    for link in links:
        try:
            address = urlsplit(link)
        except ValueError:
            continue
        if address.scheme or address.netloc or not address.path:
            continue
        path = posixpath.join("/", posixpath.dirname(name), unquote(address.path))
        target = posixpath.normpath(path).lstrip("/")
        candidates = (target, f"{target}.md", posixpath.join(target, "index.md"))
        found.update([c for c in candidates if c in names and c != name][:1])
    return found


def _mentions(passages: Sequence[EntityClaim], known: Mapping[str, str]) -> Iterator[Claim]:
    # With the headings that it stands under: they say whom a page is about.
    texts = [f"{passage.values['name']}\n{passage.values['text']}" for passage in passages]
    for passage, ids in zip(passages, mentions(texts, known), strict=True):
        for id_ in sorted(ids):
            yield RelationshipClaim(passage.id, "MENTIONS", id_, passage.evidence)

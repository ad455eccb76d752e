"""Documents, policies and plan summaries, cut into passages, from Markdown, HTML, Word and PDF files."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

from discovery.connector import Change, Connector, Item, Place, Places, Position, PositionLostError, Problem
from discovery.connectors.handling_rules import handling_rules
from discovery.dates import effective_from
from discovery.docx import read_docx
from discovery.files import UnreadableError, locate, noting, read_bytes, read_text, search, stamps
from discovery.folder_position import FolderPosition
from discovery.html import read_html
from discovery.markdown import read_markdown
from discovery.names import names_of
from discovery.options import Options, parse_options
from discovery.passages import Block, PassageText, cut
from discovery.patterns import Parts
from discovery.pdf import read_pdf
from discovery.places import known, placed, saying
from discovery.slugs import slug
from discovery.sources import OrganizationConfig, SourceConfig
from discovery.text import mentions
from discovery.titles import documents_of, is_title, referred
from graph.claims import Claim, EntityClaim, RelationshipClaim, Value, entity_id, subject
from graph.facts import fact_of

_CLASSES = {"document": "Document", "policy": "Policy", "plan_summary": "PlanSummary"}
#: Documents whose passages go to spaCy together.
_BATCH = 20
#: Bytes of a Markdown file. One that is written to be hard takes minutes to parse beyond.
_MAX_MARKDOWN = 1_000_000
_MAX_HTML = 10_000_000
#: Files that changed and are read alone, in one transaction; where there are more, all are read.
_FEW = 50
#: Whose links are not read.
_WITHOUT_LINKS = {".pdf", ".docx"}
#: What the key of a document's second handling rule ends in.
_FURTHER = re.compile(r"/\d+$")


class DocumentsOptions(Options):
    path: str
    """A folder."""
    glob: tuple[str, ...] = ("**/*.md", "**/*.html", "**/*.htm", "**/*.docx", "**/*.pdf")
    kind: Literal["document", "policy", "plan_summary"] = "document"
    mentions: bool = True
    """Whether names of known entities, and titles, are looked for; it takes most of the time."""


def connect(
    organization: OrganizationConfig,
    source: SourceConfig,
    known_names: Mapping[str, str],
    held: Callable[[str], Iterator[Claim]],
) -> Connector:
    """`known_names`: ids of the entities that the text may mention, by their names; `held`: what is claimed
    of a scope."""
    options = parse_options(DocumentsOptions, source)
    return DocumentsConnector(organization, source, options, known_names, held)


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
    held: Callable[[str], Iterator[Claim]]
    places: Mapping[str, Places] = field(default_factory=dict)

    def knowing(self, places: Mapping[str, Places]) -> Self:
        return replace(self, places=places)

    def scopes(self) -> Sequence[str]:
        return (" ".join((self.options.path, *self.options.glob)),)

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        """Reads the files that changed. What they said before, and what the others say, is as it is held."""
        found = self._found()
        now = self._position(found)
        if now.text() == position:
            return
        came, changed, went = now.since(FolderPosition.parsed(position))
        if len(came) + len(changed) + len(went) > _FEW:
            raise PositionLostError(f"{len(came) + len(changed) + len(went)} files changed")
        if (before := self.places.get(scope)) is None:
            raise PositionLostError("by which keys its files are known was not kept")
        places, listed = placed(found, before)
        if any(isinstance(item, Problem) for item in listed):
            raise PositionLostError("not all files can be read")
        files = {name: path for path, name in (item for item in listed if not isinstance(item, Problem))}
        gone = {self._id(before.files[name].key) for name in changed | went if name in before.files}
        with noting() as noted:
            change = self._change(scope, now, files, places, came | changed, gone, bool(came or went))
        told = saying(places, listed, noted)
        yield replace(change, places=told if change.position is None else Places(told.files))

    def _change(  # noqa: PLR0913, PLR0917  what changed, and of what
        self,
        scope: str,
        now: FolderPosition,
        files: Mapping[str, Path],
        places: Places,
        read: Set[str],
        was: Set[str],
        others: bool,
    ) -> Change:
        """`was`: ids of the documents that stood in what changed or went.
        `others`: whether links of files that did not change may lead elsewhere."""
        parts, said = Parts(self.organization, self.source), _Said()
        told: dict[str, Claim] = {}
        problems: list[Problem] = []
        keys = places.files
        texts = self._documents([(files[name], name) for name in sorted(read)], keys, parts, said)
        links = self._all_links(files, files.keys() - read, keys) if others else ()
        for item in chain(texts, links):
            if isinstance(item, Problem):
                problems.append(item)
            else:
                told.setdefault(fact_of(item), item)
        before: dict[str, Claim] = {}
        referred_before: dict[str, Claim] = {}
        links_before: dict[str, Claim] = {}
        again, standing = {self._id(keys[name].key) for name in read} | was, 0
        for claim in self.held(scope):
            standing += 1
            document = self._document_of(subject(claim))
            if document in again:
                before[fact_of(claim)] = claim
            elif isinstance(claim, EntityClaim):
                if self.options.mentions:
                    said.add(claim, document)
            elif claim.type == "REFERS_TO":
                kept = links_before if claim.start == document else referred_before
                kept[fact_of(claim)] = claim
        if others:
            before |= links_before
        told |= {fact_of(claim): claim for claim in said.references(self._known())}
        before |= referred_before
        if problems:
            return Change(None, tuple(told.values()), (), problems, standing)
        gone = [claim for fact, claim in before.items() if fact not in told]
        news = [claim for fact, claim in told.items() if before.get(fact) != claim]
        return Change(now.text(), news, gone, (), standing)

    def _found(self) -> list[tuple[Path, str] | Problem]:
        return list(search(locate(self.organization, self.options.path), list(self.options.glob)))

    def _position(self, found: Iterable[tuple[Path, str] | Problem]) -> FolderPosition:
        names = hashlib.sha256(repr(sorted(self._known().items())).encode(errors="replace")).hexdigest()
        return FolderPosition(f"{self.options.digest()} {names}", stamps(found))

    def _known(self) -> Mapping[str, str]:
        """Without its own documents, whose titles it reads anyway."""
        own = self._id("")
        known = self.known_names if self.options.mentions else {}
        return {name: id_ for name, id_ in known.items() if not id_.startswith(own)}

    def read(self, scope: str) -> Iterator[Item]:
        found = self._found()
        position = self._position(found)
        parts, said = Parts(self.organization, self.source), _Said()
        places, listed = placed(found, known(self.places, scope, self.scopes()))
        yield places
        yield from (item for item in listed if isinstance(item, Problem))
        files = [item for item in listed if not isinstance(item, Problem)]
        yield from parts.classifications()
        with noting() as noted:
            yield from self._documents(files, places.files, parts, said)
        yield from said.references(self._known())
        yield saying(places, listed, noted)
        yield Position(position.text())

    def _documents(
        self, files: Sequence[tuple[Path, str]], places: Mapping[str, Place], parts: Parts, said: _Said
    ) -> Iterator[Claim | Problem]:
        """What files say, but for whom their passages refer to by title: that `said` knows at the end."""
        known = self._known()
        for start in range(0, len(files), _BATCH):
            passages: list[EntityClaim] = []
            for path, name in files[start : start + _BATCH]:
                for claim in self._document(path, name, places, parts):
                    yield claim
                    if not isinstance(claim, EntityClaim):
                        continue
                    if claim.class_name == "Passage":
                        passages.append(claim)
                    if self.options.mentions:
                        said.add(claim, self._id(places[name].key))
            if known:
                yield from _mentions(passages, known)

    def _all_links(
        self, files: Mapping[str, Path], unchanged: Set[str], places: Mapping[str, Place]
    ) -> Iterator[Claim | Problem]:
        """What documents that did not change link to, among the files that there are now."""
        for name in sorted(unchanged):
            if files[name].suffix.lower() not in _WITHOUT_LINKS:
                try:
                    text = _read(files[name], name)
                except UnreadableError as error:
                    yield Problem(name, str(error))
                    continue
                yield from self._links(name, text.links, places)

    def _links(self, name: str, links: Sequence[str], places: Mapping[str, Place]) -> Iterator[Claim]:
        for target in sorted(_targets(name, links, places.keys())):
            start, end = self._id(places[name].key), self._id(places[target].key)
            yield RelationshipClaim(start, "REFERS_TO", end, name)

    def _document_of(self, id_: str) -> str:
        """The document that an entity of this source is of: itself, or what it is a part of."""
        kind, _, key = id_.partition(":")
        if kind == "passage":
            key = key.rpartition("/")[0]
        elif kind == "handling_rule":
            key = _FURTHER.sub("", key)
        return f"{self.options.kind}:{key}"

    def _id(self, key: str) -> str:
        return entity_id(self.options.kind, f"{self.source.name}/{key}")

    def _document(
        self, path: Path, name: str, places: Mapping[str, Place], parts: Parts
    ) -> Iterator[Claim | Problem]:
        try:
            text = _read(path, name)
        except UnreadableError as error:
            yield Problem(name, str(error))
            return
        yield from text.problems
        key = places[name].key
        document, collection = self._id(key), parts.collection(name)
        values: dict[str, Value] = {"name": text.title, "path": name}
        if (effective := effective_from(passage.text for passage in text.passages)) is not None:
            values["effectiveFrom"] = effective
        for property_, value in _front_values(text.front_matter, name):
            if isinstance(value, Problem):
                yield value
            else:
                values[property_] = value
        claim = EntityClaim(document, _CLASSES[self.options.kind], collection, values, f"{name}:1")
        yield claim
        yield from parts.classified(document, f"{name}:1", name)
        yield from self._links(name, text.links, places)
        yield from self._passages(document, name, key, text, parts)
        if self.options.kind == "policy" and "handling" in text.front_matter:
            yield from handling_rules(text.front_matter["handling"], f"{self.source.name}/{key}", claim)

    def _passages(self, document: str, name: str, key: str, text: _Text, parts: Parts) -> Iterator[Claim]:
        collection, under = parts.collection(name), Counter[str]()
        for position, passage in enumerate(text.passages):
            # Counted under its own heading, so that an edit elsewhere leaves its id.
            section = slug(_section(passage))[:60] or "section"
            under[section] += 1
            id_ = entity_id("passage", f"{self.source.name}/{key}/{section}-{under[section]}")
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

    def add(self, claim: EntityClaim, document: str) -> None:
        """Of a document, or a passage of it."""
        name = str(claim.values["name"])
        if claim.class_name in _CLASSES.values():
            self.titles.append((claim.id, {"name": name}))
        elif claim.class_name == "Passage" and (places := referred(str(claim.values["text"]))):
            self.places.append((document, claim.id, claim.evidence, places))

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

"""The documents of a mapped source and what they say; a document that changes is read again, and those
that looked something up that is now another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from discovery.connector import Problem
from discovery.mapping_file import LookupSpec, MappingFile
from discovery.mapping_rules import Reading, rows, text_at
from discovery.patterns import Parts, matches
from discovery.statements import Statements
from discovery.templates import Lookups, MissingLookupError, field_at
from graph.claims import Claim

Looked = tuple[str, str]
"""A lookup and a key in it."""
_Entry = tuple[str, str, bool]
"""Key, value, and whether the record is a preferred one."""


class Mapped:
    """What a source's documents say by its mapping."""

    def __init__(self, mapping: MappingFile, parts: Parts, external: Mapping[str, Mapping[str, Any]]) -> None:
        """`external`: documents of the lookups that have a path, by lookup and name."""
        self.statements = Statements()
        self._mapping = mapping
        self._parts = parts
        self._documents: dict[str, Any] = {}
        self._unread: dict[str, Problem] = {}
        self._entries: dict[str, dict[str, Sequence[_Entry | Problem]]] = defaultdict(dict)
        self._tables: dict[str, dict[str, str]] = {name: {} for name in mapping.lookup}
        self._looked: dict[str, frozenset[Looked]] = {}
        self._external = external
        self.statements.state("", parts.classifications())
        for lookup, documents in external.items():
            self._look_into(lookup, documents)

    def update(self, documents: Mapping[str, Any]) -> None:
        """These documents are now so: their content, a Problem for what cannot be read, None when gone."""
        for name, document in documents.items():
            self._documents.pop(name, None)
            self._unread.pop(name, None)
            read = self._gathered(name, document)
            if isinstance(read, Problem):
                self._unread[name] = read
            elif read is not None:
                self._documents[name] = self._present(read)
        changed: set[Looked] = set()
        for lookup, spec in self._mapping.lookup.items():
            rests_on_changed = any(used in spec.value.lookups() for used, _ in changed)
            names = self._documents.keys() | documents.keys() if rests_on_changed else documents.keys()
            if lookup not in self._external:
                read = {n: self._documents.get(n) for n in names if matches(spec.files, n)}
                changed |= self._look_into(lookup, read)
            elif rests_on_changed:
                changed |= self._look_into(lookup, self._external[lookup])
        again = {name for name, looked in self._looked.items() if not looked.isdisjoint(changed)}
        for name in sorted(again | documents.keys()):
            self._state(name)

    def _state(self, name: str) -> None:
        tables = _Recording(self._tables)
        self.statements.state(name, self._items(name, tables))
        self._looked[name] = frozenset(tables.looked)
        if name not in self._documents and name not in self._unread:
            del self._looked[name]

    def _items(self, name: str, tables: Lookups) -> Iterator[Claim | Problem]:
        if name in self._unread:
            yield self._unread[name]
        if name not in self._documents:
            return
        for entries in self._entries.values():
            yield from (entry for entry in entries.get(name, ()) if isinstance(entry, Problem))
        reading = Reading(self._parts, tables, {})
        for rule in self._mapping.rule:
            if matches(rule.files, name):
                for row in rows(self._documents[name], rule.each, name):
                    yield from [row] if isinstance(row, Problem) else reading.claims(rule, row)

    def _gathered(self, name: str, document: Any) -> Any:
        """A file's documents, and what those list that are lists themselves, under the field for that."""
        field = self._mapping.gather
        if field is None or document is None or isinstance(document, Problem):
            return document
        found: list[Any] = []
        for number, one in enumerate(document if isinstance(document, list) else [document], start=1):
            if not isinstance(one, Mapping) or field not in one:
                found += [] if one is None else [one]  # nothing stands after the last `---`
            elif isinstance(one[field], list):
                found += one[field]
            else:
                what = (
                    f"expected a list under {field!r} of document {number}, found {type(one[field]).__name__}"
                )
                return Problem(name, f"{what}; correct it")
        return {field: found}

    def _present(self, value: Any) -> Any:
        """The document without what stands for no value."""
        if isinstance(value, Mapping):
            return {k: self._present(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._present(item) for item in value]
        if isinstance(value, bool):
            return None if any(value is absent for absent in self._mapping.absent) else value
        return None if isinstance(value, str) and value.strip() in self._mapping.absent else value

    def _look_into(self, lookup: str, documents: Mapping[str, Any]) -> set[Looked]:
        """Make the lookup's table anew where these documents changed; what is another in it."""
        if not documents:
            return set()
        spec, entries = self._mapping.lookup[lookup], self._entries[lookup]
        for name, document in documents.items():
            entries.pop(name, None)
            if document is not None:
                entries[name] = list(self._entries_of(spec, name, document))
            if lookup in self._external:
                problems = (entry for entry in entries.get(name, ()) if isinstance(entry, Problem))
                self.statements.state(f"{name} for {lookup}", problems)
        before, after = self._tables[lookup], _table(entries)
        self._tables[lookup] = after
        return {(lookup, key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}

    def _entries_of(self, spec: LookupSpec, name: str, document: Any) -> Iterator[_Entry | Problem]:
        if isinstance(document, Problem):
            yield document
            return
        for row in rows(document, spec.each, name):
            if isinstance(row, Problem):
                yield row
                continue
            try:
                key = text_at(row.fields, spec.key)
                value = spec.value.render(row.fields, self._tables)
            except (MissingLookupError, ValueError) as error:
                yield Problem(row.place, f"{error}; correct the record")
                continue
            if key is not None and value is not None:
                preferred = spec.prefer is not None and field_at(row.fields, spec.prefer) is not None
                yield key, value, preferred


def _table(entries: Mapping[str, Sequence[_Entry | Problem]]) -> dict[str, str]:
    """Of equal keys the first preferred one counts, else the first."""
    table: dict[str, str] = {}
    preferred: set[str] = set()
    for name in sorted(entries):
        for entry in entries[name]:
            if isinstance(entry, Problem):
                continue
            key, value, better = entry
            if key not in table or (better and key not in preferred):
                table[key] = value
            if better:
                preferred.add(key)
    return table


class _Recording(Mapping[str, Mapping[str, str]]):
    """The lookups, remembering which keys were looked up in which."""

    def __init__(self, tables: Mapping[str, Mapping[str, str]]) -> None:
        self._tables = tables
        self.looked: set[Looked] = set()

    def __getitem__(self, lookup: str) -> Mapping[str, str]:
        return _RecordingTable(lookup, self._tables[lookup], self.looked)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


class _RecordingTable(Mapping[str, str]):
    def __init__(self, lookup: str, table: Mapping[str, str], looked: set[Looked]) -> None:
        self._lookup = lookup
        self._table = table
        self._looked = looked

    def __getitem__(self, key: str) -> str:
        self._looked.add((self._lookup, key))
        return self._table[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

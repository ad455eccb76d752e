"""Globs over the parts of a source (paths, tables, attributes), and what a part's rules decide."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from discovery.classification import best, by_name, by_values, in_text
from discovery.sources import OrganizationConfig, SourceConfig
from graph.claims import Claim, EntityClaim, RelationshipClaim, entity_id

#: Kinds of entities that classifications are proposed for.
_PROPOSED = ("column", "table", "file", "passage")


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    wild = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(wild.get(p, re.escape(p)) for p in pieces), re.IGNORECASE | re.DOTALL)


def matches(pattern: str, part: str) -> bool:
    """True when the glob matches all of `part`, whatever the case of letters.

    `*` and `?` stay within a path segment, `**` crosses segments, `**/` also matches none.
    """
    return _regex(pattern).fullmatch(part) is not None


@dataclass(frozen=True, slots=True)
class Parts:
    """Decides the collection and the classifications of the parts of one source."""

    organization: OrganizationConfig
    source: SourceConfig

    def collection(self, *parts: str) -> str:
        """Id of the collection of the first part, in the order given, that a placement rule matches.

        A part that lies within another (a column in a table) is given first, then what it lies in.
        """
        for part in parts:
            for rule in self.source.placement:
                if matches(rule.pattern, part):
                    return entity_id("collection", rule.collection)
        return entity_id("collection", self.source.collection)

    def classified(
        self, entity: str, evidence: str, *parts: str, values: Iterable[object] = (), text: str = ""
    ) -> Iterator[Claim]:
        """CLASSIFIED_AS for each classification whose rule matches one of the parts, and, where the source
        asks for them, for those that are proposed, with their confidence.

        `values`: a sample of a column's; `text`: a passage's. Neither is kept.
        """
        declared = {
            rule.classification
            for rule in self.source.classification
            if any(matches(rule.pattern, part) for part in parts)
        }
        found = dict.fromkeys(declared, 1.0)
        for label, confidence in self._proposed(entity, values, text).items():
            found.setdefault(label, confidence)
        for key, confidence in sorted(found.items()):
            end = entity_id("classification", key)
            yield RelationshipClaim(entity, "CLASSIFIED_AS", end, evidence, confidence)

    def _proposed(self, entity: str, values: Iterable[object], text: str) -> Mapping[str, float]:
        kind = entity.partition(":")[0]
        if self.source.classify is None or kind not in _PROPOSED:
            return {}
        named = {} if kind == "passage" else by_name(entity)
        if self.source.classify == "names":
            return named
        return best(named, by_values(values), in_text(text))

    def classifications(self) -> Iterator[Claim]:
        """The classifications that this source is the first in the configuration to declare.

        An entity is described in one collection only, so one source describes it for all.
        """
        for key in self.source.classifications():
            if self._declared_first(key):
                yield EntityClaim(
                    entity_id("classification", key),
                    "Classification",
                    entity_id("collection", self.source.collection),
                    {"name": key.replace("-", " ")},
                    f"sources.toml source {self.source.name}",
                )

    def _declared_first(self, key: str) -> bool:
        for source in self.organization.source:
            if key in source.classifications():
                return source.name == self.source.name
        return False

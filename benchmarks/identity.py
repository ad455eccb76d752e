"""Who is the same: the Rust project's people as their lists first knew them, against how they know them last.

    python -m benchmarks.identity

Reads `rust-team` in ORGRAPH_SHARED_DATA by deploy/rust-team, its commits one by one. The two descriptions of
each person are given to entity resolution as those of two sources, without the ids; GitHub's immutable ids
say which belong together. The last line is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from time import perf_counter

from benchmarks.replay import FIRST, at
from discovery.connector import Incremental, Position
from discovery.connectors.table import build
from discovery.resolution import Resolver
from discovery.sources import load_organization
from graph.claims import EntityClaim
from graph.proposals import Described
from ontologies import load
from ontologies.ontology import Ontology

Values = Mapping[str, tuple[str, ...]]
#: What is left of a description, so that each kind of evidence is measured without the stronger ones.
EVIDENCE: Mapping[str, Collection[str]] = {
    "all": ("email", "accountName", "name"),
    "name and account name": ("accountName", "name"),
    "name": ("name",),
}


def first_and_last(ontology: Ontology) -> tuple[dict[str, Values], dict[str, Values]]:
    """By GitHub id, how a person was first described, and how last."""
    organization = load_organization(Path(__file__).parents[1] / "deploy" / "rust-team" / "sources.toml")
    [source] = organization.source
    connector = build(organization, at(source, FIRST), {})
    [scope] = connector.scopes()
    items = list(connector.read(scope))
    [position] = [item.text for item in items if isinstance(item, Position)]
    head = build(organization, source, {})
    if not isinstance(head, Incremental):
        raise SystemExit("the connector tells no changes")
    items += [claim for change in head.changes(scope, position) for claim in change.claims]
    first: dict[str, Values] = {}
    last: dict[str, Values] = {}
    for item in items:
        if isinstance(item, EntityClaim) and item.class_name == "Person":
            values = {
                name: tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)
                for name, value in item.values.items()
                if ontology.values[name].identifies
            }
            first.setdefault(item.id, values)
            last[item.id] = values
    return first, last


def resolved(
    ontology: Ontology, first: Mapping[str, Values], last: Mapping[str, Values], names: Collection[str]
) -> tuple[set[tuple[str, str]], float]:
    """The pairs that are proposed, of an id of `first` with one of `last`; and in how many seconds."""
    described = {
        f"{id}@{when}": Described(
            f"{id}@{when}", frozenset({when}), {name: of[name] for name in names if name in of}
        )
        for when, people in (("first", first), ("last", last))
        for id, of in people.items()
    }
    begun = perf_counter()
    resolver = Resolver(ontology)
    resolver.update(described, described)
    found = list(resolver.proposals())
    took = perf_counter() - begun
    pairs = {tuple(sorted((one.one, one.other), key=lambda id: id.endswith("@last"))) for one in found}
    return {(one.partition("@")[0], other.partition("@")[0]) for one, other in pairs}, took


def main() -> None:
    ontology = load()
    first, last = first_and_last(ontology)
    changed = {id for id in first if first[id] != last[id]}
    renamed = {id for id in first if first[id].get("accountName") != last[id].get("accountName")}
    figures: dict[str, object] = {
        "people": len(first),
        "described otherwise": len(changed),
        "renamed": len(renamed),
    }
    for what, names in EVIDENCE.items():
        pairs, took = resolved(ontology, first, last, names)
        right = {one for one, other in pairs if one == other}
        figures[what] = {
            "proposed": len(pairs),
            "precision": round(len(right) / len(pairs), 4),
            "recall": round(len(right) / len(first), 4),
            "recall, described otherwise": round(len(right & changed) / len(changed), 4),
            "recall, renamed": round(len(right & renamed) / len(renamed), 4),
            "seconds": round(took, 2),
        }
        for one, other in sorted(pairs):
            if one != other:
                print(f"{what}: wrong: {one} {first[one]['name'][0]!r}, {other} {last[other]['name'][0]!r}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""Whom the pages of a handbook mean: its people and teams, against labels that were read beforehand.

    python -m benchmarks.mentions
    python -m benchmarks.mentions --quick      # every eighth page

Reads `handbook` in ORGRAPH_SHARED_DATA by deploy/handbook. The labels are in tests/handbook/mentions.yaml,
which says how they were made; the pages that are held out there were never tuned on. The last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from time import perf_counter

import yaml

from discovery.connectors.table import build
from discovery.names import names_of
from discovery.sources import OrganizationConfig, load_organization
from graph.claims import EntityClaim, RelationshipClaim

ROOT = Path(__file__).parents[1]
KINDS = {"people": "person:", "teams": "organizational_unit:"}


def known_names(organization: OrganizationConfig) -> Mapping[str, str]:
    """As a crawl knows them: of the people and teams that the other sources tell."""
    said = [
        (item.id, item.values)
        for name in ("people", "teams")
        for connector in [build(organization, organization.source_named(name), {})]
        for scope in connector.scopes()
        for item in connector.read(scope)
        if isinstance(item, EntityClaim) and item.class_name in {"Person", "OrganizationalUnit"}
    ]
    return names_of(said)


def found(organization: OrganizationConfig, step: int) -> dict[str, set[str]]:
    """By page, whom it is said to mean; of every so many pages."""
    source = organization.source_named("pages")
    connector = build(organization, source, known_names(organization))
    pages: dict[str, set[str]] = {}
    for scope in connector.scopes():
        for item in connector.read(scope):
            if isinstance(item, EntityClaim) and item.class_name == "Document":
                pages[str(item.values["path"])] = set()
            elif isinstance(item, RelationshipClaim) and item.type == "MENTIONS":
                path = item.evidence.rpartition(":")[0]
                pages[path].add(item.end)
    return {path: pages[path] for path in sorted(pages)[::step]}


def held_out(path: str) -> bool:
    return int(hashlib.sha256(path.encode()).hexdigest(), 16) % 3 == 0


def figures(
    pages: Mapping[str, Collection[str]],
    labels: Mapping[str, Collection[str]],
    doubtful: Mapping[str, Collection[str]],
) -> dict[str, object]:
    """Precision and recall over pairs of a page and whom it means."""
    told: dict[str, object] = {"pages": len(pages)}
    for kind, prefix in (("all", ""), *KINDS.items()):
        pairs = [
            {
                (path, id)
                for path in pages
                for id in of.get(path, ())
                if id.startswith(prefix or tuple(KINDS.values())) and id not in doubtful.get(path, ())
            }
            for of in (pages, labels)
        ]
        right = len(pairs[0] & pairs[1])
        told[kind] = {
            "precision": round(right / max(len(pairs[0]), 1), 3),
            "recall": round(right / max(len(pairs[1]), 1), 3),
            "pairs": len(pairs[1]),
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="every eighth page")
    parser.add_argument("--wrong", action="store_true", help="what is wrong, of pages that are tuned on")
    arguments = parser.parse_args()
    os.environ.setdefault("ORGRAPH_SHARED_DATA", str(ROOT.parent / "shared" / "data"))
    labelled = yaml.safe_load((ROOT / "tests" / "handbook" / "mentions.yaml").read_text(encoding="utf-8"))
    begun = perf_counter()
    pages = found(
        load_organization(ROOT / "deploy" / "handbook" / "sources.toml"), 8 if arguments.quick else 1
    )
    took = perf_counter() - begun
    labels, doubtful = labelled["pages"], labelled["doubtful"]
    result: dict[str, object] = {"seconds": round(took, 1)}
    for name, held in (("tuned on", False), ("held out", True)):
        some = {path: ids for path, ids in pages.items() if held_out(path) == held}
        result[name] = figures(some, labels, doubtful)
        for path, ids in some.items() if arguments.wrong and not held else ():
            meant = {id for id in ids if id.startswith(tuple(KINDS.values()))}
            for id in sorted(meant ^ set(labels.get(path, ()))):
                print("wrong" if id in meant else "missed", path, id)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

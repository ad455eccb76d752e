"""The visibility index in a file, so that a start loads it and follows the feed from there.

It holds what the graph is asked for otherwise, no more: whoever may change the file can grant access, as
they could with the keys beside it. It is made of numbers and names alone; nothing in it is run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
from pyroaring import BitMap

from graph.audiences import from_tree, to_tree
from graph.rebac.relation_tuples import TupleKey
from graph.visible_sets.index import Layer, Objects, Special, VisibilityIndex
from ontologies.authorization_model import AuthorizationModel
from ontologies.authorization_model.dsl_writer import to_dsl
from ontologies.ontology import Binding

_FORM = 1
_DIGEST_BYTES = 32


class SavedIndexError(Exception):
    """The saved index does not fit what is asked for; the message says in what."""


def meaning(model: AuthorizationModel, bindings: Mapping[str, Sequence[Binding]]) -> str:
    """A digest of all that decides what an index holds, beside the graph."""
    described = [[type_, [asdict(one) for one in found]] for type_, found in sorted(bindings.items())]
    return blake2b(orjson.dumps([_FORM, to_dsl(model), described])).hexdigest()


def save(index: VisibilityIndex, path: Path, epoch: str, means: str) -> None:
    """Durably, in one step: a crash leaves the one before."""
    head, blobs = _packed(index)
    start = orjson.dumps({"epoch": epoch, "means": means} | head)
    body = b"".join([len(start).to_bytes(8, "big"), start, *blobs])
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(blake2b(body, digest_size=_DIGEST_BYTES).digest())
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load_saved(path: Path, epoch: str, means: str) -> VisibilityIndex | None:
    """The index in the file; None where there is none. Raises SavedIndexError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    body = content[_DIGEST_BYTES:]
    if blake2b(body, digest_size=_DIGEST_BYTES).digest() != content[:_DIGEST_BYTES]:
        raise SavedIndexError("it is damaged")
    end = 8 + int.from_bytes(body[:8], "big")
    head = orjson.loads(body[8:end])
    if head["means"] != means:
        raise SavedIndexError("the authorization model or its bindings are others now")
    if head["epoch"] != epoch:
        raise SavedIndexError("it is of another epoch of the graph, or of another graph")
    return _unpacked(head, memoryview(body)[end:])


def _packed(index: VisibilityIndex) -> tuple[dict[str, Any], list[bytes]]:
    blobs: list[bytes] = []
    tables = []
    for ((kind, relation), member), users in index.tables.items():
        rows = []
        for user, objects in users.items():
            plain = []
            for layer, bitmap in objects.plain.items():
                blobs.append(bitmap.serialize())
                plain.append([layer, len(blobs[-1])])
            special = [
                [object, one.layer, asdict(one.key)]
                for object, found in objects.special.items()
                for one in found
            ]
            rows.append([user, plain, special])
        tables.append([kind, relation, member, rows])
    head = {
        "revision": index.revision,
        "names": index.names,
        "layers": [list(layer) for layer in index.layers],
        "intervals": [[number, *interval] for number, interval in index.intervals.of.items()],
        "bounds": index.intervals.bounds,
        "audiences": [[number, to_tree(expression)] for number, expression in index.expressions()],
        "nextAudience": index.next_audience,
        "tables": tables,
    }
    return head, blobs


def _unpacked(head: Mapping[str, Any], blobs: memoryview) -> VisibilityIndex:
    index = VisibilityIndex()
    for name in head["names"]:
        index.number(name)
    for layer in head["layers"]:
        index.layer(Layer(*layer))
    at = 0
    for kind, relation, member, rows in head["tables"]:
        table = (kind, relation), member
        for user, plain, special in rows:
            objects = index.tables[table][user] = Objects()
            for layer, length in plain:
                objects.plain[layer] = BitMap.deserialize(bytes(blobs[at : at + length]))
                at += length
            for object, layer, key in special:
                bounds = {name: _instant(key[name]) for name in ("valid_from", "valid_to")}
                objects.special.setdefault(object, []).append(Special(layer, TupleKey(**key | bounds)))
    for number, begin, end in head["intervals"]:
        index.intervals.of[number] = _instant(begin), _instant(end)
    index.intervals.bounds = [datetime.fromisoformat(bound) for bound in head["bounds"]]
    for number, tree in head["audiences"]:
        index.define(number, from_tree(tree))
    index.next_audience = head["nextAudience"]
    index.revision = head["revision"]
    return index


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

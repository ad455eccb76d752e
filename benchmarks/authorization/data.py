"""The model and the tuples that all servers are asked about, from a fixed seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graph.rebac.relation_tuples import TupleKey

MODEL = """
model
  schema 1.1
type user
type group
  relations
    define member: [user, group#member]
type folder
  relations
    define parent: [folder]
    define viewer: [user, group#member] or viewer from parent
type document
  relations
    define parent: [folder]
    define owner: [user]
    define viewer: [user, group#member] or owner or viewer from parent
    define denied: [user]
    define can_view: viewer but not denied
"""
#: The same in SpiceDB's language.
SCHEMA = """
definition user {}
definition group {
  relation member: user | group#member
}
definition folder {
  relation parent: folder
  relation granted: user | group#member
  permission viewer = granted + parent->viewer
}
definition document {
  relation parent: folder
  relation owner: user
  relation granted: user | group#member
  relation denied: user
  permission viewer = granted + owner + parent->viewer
  permission can_view = viewer - denied
}
"""
GROUP_DEPTH = 8
FOLDER_DEPTH = 10
#: Of the people who are asked about: one who sees half of all documents, others who do, one who sees five.
MANY, OTHERS, FEW = "user:many", [f"user:many-{number}" for number in range(3)], "user:few"


@dataclass(frozen=True)
class Size:
    people: int
    groups: int
    folders: int
    documents: int
    tuples: int


FULL = Size(10_000, 2_000, 10_000, 100_000, 1_000_000)
QUICK = Size(1_000, 200, 1_000, 10_000, 100_000)


def tuples(size: Size) -> list[TupleKey]:
    """Each once, as many as the size says, in no order.

    Half of the folders hang below one that the group of `MANY` and `OTHERS` may see.
    """
    choose = random.Random(6)  # noqa: S311  fixed, no secret
    found: dict[tuple[str, str, str], TupleKey] = {}
    for key in _structure(size, choose):
        found[key.object, key.relation, key.user] = key
    fill = _grants(size, choose)
    while len(found) < size.tuples:
        key = next(fill)
        found[key.object, key.relation, key.user] = key
    listed = list(found.values())
    choose.shuffle(listed)
    return listed


def _structure(size: Size, choose: random.Random) -> Iterator[TupleKey]:
    for group in range(size.groups):
        if group >= size.groups // GROUP_DEPTH:
            # One of the level above: the levels are equally many.
            above = choose.randrange(size.groups // GROUP_DEPTH) + _level(group, size.groups, GROUP_DEPTH)
            yield TupleKey(f"group:{group}#member", "member", f"group:{above}")
    for person in range(size.people):
        for group in choose.sample(range(size.groups), 8):
            yield TupleKey(f"user:{person}", "member", f"group:{group}")
    for folder in range(2, size.folders):
        width = size.folders // FOLDER_DEPTH
        # The first two are the roots of the halves.
        parent = folder % 2 if folder < width else _above(folder, width, choose)
        yield TupleKey(f"folder:{parent}", "parent", f"folder:{folder}")
        for group in choose.sample(range(size.groups), 2):
            yield TupleKey(f"group:{group}#member", "viewer", f"folder:{folder}")
    for document in range(size.documents):
        folder = choose.randrange(size.folders // 2) * 2 + document % 2
        yield TupleKey(f"folder:{folder}", "parent", f"document:{document}")
        yield TupleKey(f"user:{choose.randrange(size.people)}", "owner", f"document:{document}")
        if document % 10 == 0:
            yield TupleKey(f"user:{choose.randrange(size.people)}", "denied", f"document:{document}")
    for one in (MANY, *OTHERS):
        yield TupleKey(one, "member", "group:half")
    yield TupleKey("group:half#member", "viewer", "folder:0")
    for document in choose.sample(range(size.documents), 5):
        yield TupleKey(FEW, "viewer", f"document:{document}")


def _level(number: int, count: int, depth: int) -> int:
    width = count // depth
    return (min(number // width, depth - 1) - 1) * width


def _above(folder: int, width: int, choose: random.Random) -> int:
    """A folder of the level above, of the same half."""
    first = (min(folder // width, FOLDER_DEPTH - 1) - 1) * width
    parent = first + choose.randrange(width // 2) * 2 + folder % 2
    return max(parent, folder % 2)


def _grants(size: Size, choose: random.Random) -> Iterator[TupleKey]:
    """Documents shared with people and, one in ten, with groups."""
    while True:
        who = f"user:{choose.randrange(size.people)}"
        if choose.random() < 0.1:
            who = f"group:{choose.randrange(size.groups)}#member"
        yield TupleKey(who, "viewer", f"document:{choose.randrange(size.documents)}")


@dataclass(frozen=True)
class Question:
    user: str
    object: str


def questions(size: Size, keys: Sequence[TupleKey], count: int) -> list[Question]:
    """A half of random people and documents; the rest of people and what is shared with them somehow."""
    choose = random.Random(60)  # noqa: S311  the same at each run
    shared = [k for k in choose.sample(keys, min(len(keys), count * 4)) if k.object.startswith("document:")]
    asked = []
    while len(asked) < count:
        user = f"user:{choose.randrange(size.people)}"
        document = f"document:{choose.randrange(size.documents)}"
        if len(asked) % 2 and (key := shared[len(asked) % len(shared)]).user.startswith("user:"):
            user, document = key.user, key.object
        asked.append(Question(user, document))
    return asked

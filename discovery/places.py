"""By which keys a source's files are known: one that is moved, and says the same, keeps the key that it had.

A file was moved when its path is new, another is gone, and what it says is what the other said. What was
changed and moved at once is a new one: nothing tells it from one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import count, takewhile
from pathlib import Path, PurePosixPath

from discovery.connector import Item, Place, Places, Problem
from discovery.files import UnreadableError, digest, noting, read_bytes
from graph.claims import Claim

Found = tuple[Path, str] | Problem
"""As `discovery.files.find` and `search` yield it."""


def known(places: Mapping[str, Places], scope: str, listed: Collection[str]) -> Places:
    """What is known of a scope's files; of one that was never read, as under another filter, what is known of
    those of the source that are listed no longer."""
    if scope in places:
        return places[scope]
    others = [places[one] for one in sorted(places.keys() - set(listed))]
    return Places({name: place for one in others for name, place in one.files.items()})


def placed(found: Iterable[Found], before: Places) -> tuple[Places, list[Found]]:
    """The keys of the files that were found, and these; `saying` tells what they say, once they are read.

    None is read here, but for new ones where others are gone.
    """
    listed = list(found)
    there = {one[1] for one in listed if not isinstance(one, Problem)}
    unseen = {one.place for one in listed if isinstance(one, Problem)}
    known = {**before.gone, **before.files}
    # What lies where nothing can be seen may be there still.
    gone = {
        name
        for name in known.keys() - there
        if unseen.isdisjoint([name, *map(str, PurePosixPath(name).parents)])
    }
    came = {one[1]: one[0] for one in listed if not isinstance(one, Problem) and one[1] not in known}
    was = _moved(_contents(came) if gone else {}, gone, known)
    files: dict[str, Place] = {}
    taken = {place.key for place in known.values()}
    for name in sorted(there):
        if (former := known.get(was.get(name, name))) is not None:
            key = former.key
        else:
            key = next(one for one in _keys(name) if one not in taken)
            taken.add(key)
        files[name] = Place(key, "" if former is None else former.content)
    left = known.keys() - files.keys() - set(was.values())
    return Places(files, {name: known[name] for name in left}), listed


def read_each(
    found: Iterable[Found], before: Places, read: Callable[[Path, str, str], Iterator[Claim | Problem]]
) -> Iterator[Item]:
    """Their places, what `read` says of each by its path, name and key, and their places with what they said.

    A file of which it raises UnreadableError is a Problem.
    """
    places, listed = placed(found, before)
    yield places
    with noting() as noted:
        for one in listed:
            if isinstance(one, Problem):
                yield one
                continue
            path, name = one
            try:
                yield from read(path, name, places.files[name].key)
            except UnreadableError as error:
                yield Problem(name, str(error))
    yield saying(places, listed, noted)


def saying(places: Places, found: Iterable[Found], noted: Mapping[Path, str]) -> Places:
    """The same, once the files are read: `noted` (`discovery.files.noting`) has what they say.

    One that could not be read is not known again when it is moved.
    """
    contents = {one[1]: noted[one[0]] for one in found if not isinstance(one, Problem) and one[0] in noted}
    return replace(
        places,
        files={
            name: replace(place, content=contents.get(name, place.content))
            for name, place in places.files.items()
        },
    )


def _contents(files: Mapping[str, Path]) -> Mapping[str, str]:
    found = {}
    for name, path in files.items():
        with suppress(UnreadableError):  # told when it is to be read for what it says
            found[name] = digest(read_bytes(path))
    return found


def _moved(came: Mapping[str, str], gone: Collection[str], known: Mapping[str, Place]) -> Mapping[str, str]:
    """By the path of a file that was moved, the one that it had; of several that say the same, those whose
    paths end most alike."""
    at: dict[str, list[str]] = {}
    for name in gone:
        at.setdefault(known[name].content, []).append(name)
    pairs = [(-_alike(new, old), new, old) for new, content in came.items() for old in at.get(content, ())]
    was: dict[str, str] = {}
    for _, new, old in sorted(pairs):
        if new not in was and old not in was.values():
            was[new] = old
    return was


def _alike(one: str, other: str) -> int:
    """How many parts two paths have in common at their ends."""
    ends = zip(reversed(PurePosixPath(one).parts), reversed(PurePosixPath(other).parts), strict=False)
    return sum(1 for _ in takewhile(lambda parts: parts[0] == parts[1], ends))


def _keys(name: str) -> Iterator[str]:
    """The path itself, else with a number: the file that was there first was moved, and has kept it."""
    yield name
    path = PurePosixPath(name)
    for number in count(2):
        yield path.with_name(f"{path.stem}~{number}{path.suffix}").as_posix()


def packed(places: Places) -> str:
    """As text."""
    return json.dumps([_rows(places.files), _rows(places.gone)])


def unpacked(text: str) -> Places:
    """The inverse of `packed`."""
    files, gone = json.loads(text)
    return Places(
        {name: Place(*row) for name, row in files.items()}, {name: Place(*row) for name, row in gone.items()}
    )


def _rows(places: Mapping[str, Place]) -> Mapping[str, tuple[str, str]]:
    return {name: (place.key, place.content) for name, place in sorted(places.items())}

"""The position of a folder of files that tells which of them changed: a stamp of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass

from discovery.connector import PositionLostError


@dataclass(frozen=True, slots=True)
class FolderPosition:
    """What files there were, and a digest of all else that their claims follow from."""

    rest: str
    files: Mapping[str, str]
    """By name, as `discovery.files.stamps` has them."""

    def text(self) -> str:
        """Equal for equal positions."""
        return json.dumps([self.rest, dict(sorted(self.files.items()))])

    @staticmethod
    def parsed(text: str) -> FolderPosition:
        """The inverse of `text`. Raises PositionLostError for another kind of position."""
        try:
            match json.loads(text):
                case [str(rest), dict(files)]:
                    return FolderPosition(rest, files)
        except ValueError:
            pass
        raise PositionLostError("the position is of an earlier version")

    def since(self, before: FolderPosition) -> tuple[Set[str], Set[str], Set[str]]:
        """The files that came, changed and went.

        Raises PositionLostError where claims of files that did not change may follow otherwise.
        """
        if self.rest != before.rest:
            raise PositionLostError("what its claims follow from beside the files is another")
        came, went = self.files.keys() - before.files.keys(), before.files.keys() - self.files.keys()
        both = self.files.keys() & before.files.keys()
        return came, {name for name in both if self.files[name] != before.files[name]}, went

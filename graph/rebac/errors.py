"""What a question is refused with."""

from __future__ import annotations


class RebacError(ValueError):
    """A question that has no answer. `code` is the name of OpenFGA's error code, as `validation_error`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

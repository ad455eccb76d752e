"""Keys made of names."""

from __future__ import annotations

import re


def slug(text: str) -> str:
    """Lower-case words joined by `-`: `Office Management` -> `office-management`. Any script stays."""
    return re.sub(r"[\W_]+", "-", text.casefold()).strip("-")

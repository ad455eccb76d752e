"""ULIDs: 26 characters that sort by the millisecond they were made in (github.com/ulid/spec)."""

from __future__ import annotations

import re
import secrets
from datetime import datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 80
PATTERN = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def new_ulid(now: datetime) -> str:
    """A fresh one; two of the same millisecond differ, in no particular order."""
    return ulid_of(int(now.timestamp() * 1000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS))


def ulid_of(number: int) -> str:
    """The ULID whose 128 bits are the number."""
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))

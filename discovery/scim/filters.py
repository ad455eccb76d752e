"""The filters that identity providers send: one comparison with `eq` (RFC 7644, 3.4.2.2)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from discovery.scim.resources import CORE, ScimError

_EQUALS = re.compile(r'\s*([\w:.$-]+)\s+eq\s+("(?:[^"\\]|\\.)*"|true|false|\d+)\s*', re.IGNORECASE)
#: Compared without regard to case (RFC 7643, 4.1.1 and 4.1.2).
_ANY_CASE = {"username", "value", "type", "displayname"}


@dataclass(frozen=True, slots=True)
class Equals:
    """An attribute, in lower case and without the schema of the core, and what it is to be."""

    attribute: str
    value: str | bool | int

    def holds(self, resource: Mapping[str, Any]) -> bool:
        """Of an attribute of the resource itself."""
        found = next((v for k, v in resource.items() if k.lower() == self.attribute), None)
        if self.attribute in _ANY_CASE and isinstance(found, str) and isinstance(self.value, str):
            return found.casefold() == self.value.casefold()
        return type(found) is type(self.value) and found == self.value


def parse_filter(text: str) -> Equals:
    """Raises ScimError for any other filter: none is taken for one that everything passes."""
    match = _EQUALS.fullmatch(text)
    if match is None:
        raise ScimError("invalidFilter", f'expected a filter such as userName eq "ada", found {text!r:.200}')
    attribute = match[1]
    if attribute.lower().startswith(CORE.lower()):
        attribute = attribute.rpartition(":")[2]
    try:
        value = json.loads(match[2] if match[2].startswith('"') else match[2].lower())
    except ValueError as error:
        raise ScimError("invalidFilter", f"expected a value in JSON, found {match[2]!r:.200}") from error
    return Equals(attribute.lower(), value)

"""XML read as plain data, within bounds: no document types, no entities, no network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from discovery.files import UnreadableError

#: Elements within each other.
MAX_DEPTH = 100
#: Tags of a document, which takes much more memory than its text.
MAX_TAGS = 2_000_000


@dataclass(frozen=True, slots=True)
class XmlText:
    root: Element

    def fields(self) -> Any:
        """Nested fields: attributes as `@name`, child elements by their names without namespace.

        An element without attributes and children is its text, several of one name are a list; any
        other element is always in a list, with its own text as `_text`.
        """
        return _fields(self.root)


def load_xml(data: bytes) -> XmlText:
    """Raises UnreadableError for what is no XML, declares a document type, is too large or too deep."""
    if data.count(b"<") > MAX_TAGS:
        raise UnreadableError(f"expected at most {MAX_TAGS} tags, found more; split the file")
    try:
        root: Element = defusedxml.ElementTree.fromstring(data, forbid_dtd=True)
    except ParseError as error:
        raise UnreadableError(f"expected XML: {error}; export it again") from error
    except DefusedXmlException as error:
        raise UnreadableError("document types and entities are refused in XML; export it without") from error
    except (LookupError, ValueError) as error:
        raise UnreadableError(f"expected XML in a known encoding: {error}; export it as UTF-8") from error
    if any(depth > MAX_DEPTH for depth in _depths(root)):
        raise UnreadableError(f"expected at most {MAX_DEPTH} elements within each other; flatten it")
    return XmlText(root)


def _depths(root: Element) -> Iterator[int]:
    waiting = [(root, 1)]
    while waiting:
        element, depth = waiting.pop()
        yield depth
        waiting += [(child, depth + 1) for child in element]


def _fields(element: Element) -> dict[str, Any]:
    fields: dict[str, Any] = {f"@{_local(name)}": value for name, value in element.attrib.items()}
    if text := (element.text or "").strip():
        fields["_text"] = text
    several: set[str] = set()
    for child in element:
        if not isinstance(child.tag, str):
            continue  # a comment
        name = _local(child.tag)
        leaf = not child.attrib and len(child) == 0
        value: Any = (child.text or "").strip() if leaf else _fields(child)
        if name in several:
            fields[name].append(value)
        elif name in fields:
            several.add(name)
            fields[name] = [fields[name], value]
        elif leaf:
            fields[name] = value
        else:
            several.add(name)
            fields[name] = [value]
    return fields


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]

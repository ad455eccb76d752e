"""PATCH of a resource (RFC 7644, 3.5.2), in the forms that identity providers send."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from discovery.scim.filters import Equals, parse_filter
from discovery.scim.resources import CORE, ENTERPRISE, ScimError

PATCH_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_MAX_OPERATIONS = 1_000
_PATH = re.compile(r"([\w$-]+)(?:\[(.+)\])?(?:\.([\w$-]+))?", re.DOTALL)
_LISTS = {"members", "emails"}


def patched(document: Mapping[str, Any], request: object) -> dict[str, Any]:
    """The resource as the operations leave it, unchecked. Raises ScimError, and then nothing is changed."""
    schemas = request.get("schemas") if isinstance(request, Mapping) else None
    if not isinstance(request, Mapping) or not isinstance(schemas, list) or PATCH_SCHEMA not in schemas:
        raise ScimError("invalidSyntax", f"expected a request of the schema {PATCH_SCHEMA}")
    operations = next((v for k, v in request.items() if k.lower() == "operations"), None)
    if not isinstance(operations, list) or not 0 < len(operations) <= _MAX_OPERATIONS:
        raise ScimError("invalidSyntax", f"Operations: expected a list of 1 to {_MAX_OPERATIONS} operations")
    result = copy.deepcopy(dict(document))
    for operation in operations:
        _apply(result, operation)
    return result


def _apply(document: dict[str, Any], operation: object) -> None:
    if not isinstance(operation, Mapping) or not isinstance(operation.get("op"), str):
        raise ScimError("invalidSyntax", "Operations: expected an object with op, and a path or a value")
    op, path, value = operation["op"].lower(), operation.get("path"), operation.get("value")
    if op not in ("add", "replace", "remove"):
        raise ScimError(
            "invalidSyntax", f"op: expected add, replace or remove, found {operation['op']!r:.40}"
        )
    if path is not None and not isinstance(path, str):
        raise ScimError("invalidPath", "path: expected text")
    if path:
        _at(document, op, path, value)
    elif op == "remove":
        raise ScimError("noTarget", "remove: expected a path")
    elif not isinstance(value, Mapping):
        raise ScimError("invalidValue", f"{op} without a path: expected an object as value")
    else:
        for name, one in value.items():  # also `name.givenName`, as Microsoft Entra has it
            if name != "schemas":
                _at(document, op, str(name), one)


def _at(document: dict[str, Any], op: str, path: str, value: Any) -> None:
    target = document
    lower = path.lower()
    if lower == ENTERPRISE.lower():
        if op == "remove":
            document.pop(_name(document, ENTERPRISE), None)
            return
        if not isinstance(value, Mapping):
            raise ScimError("invalidValue", f"{path}: expected an object")
        for name, one in value.items():
            _at(document, op, f"{ENTERPRISE}:{name}", one)
        return
    if lower.startswith(f"{ENTERPRISE.lower()}:"):
        target = document.setdefault(_name(document, ENTERPRISE), {})
        path = path[len(ENTERPRISE) + 1 :]
    elif lower.startswith(CORE.lower()):
        path = path.rpartition(":")[2]
    elif lower.startswith("urn:"):
        return  # of an extension, of which nothing is kept
    match = _PATH.fullmatch(path)
    if match is None:
        raise ScimError("invalidPath", f"expected a path such as name.givenName, found {path!r:.200}")
    name, condition, sub = _name(target, match[1]), match[2], match[3]
    if condition is not None:
        items = [dict(one) for one in _items(target.get(name, []), name)]
        target[name] = _where(items, op, parse_filter(condition), sub, value)
    elif sub is not None:
        inner = target.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ScimError("invalidPath", f"{name} has no part {sub}; name one by a filter")
        _set(inner, op, _name(inner, sub), value)
    else:
        _set(target, op, name, value)


def _set(target: dict[str, Any], op: str, name: str, value: Any) -> None:
    before = target.get(name)
    if op == "remove":
        if name.lower() in _LISTS and value is not None:  # the items to remove, as Entra sends them
            gone = {id_ for one in _items(value, name) if isinstance(id_ := one.get("value"), str)}
            target[name] = [one for one in _items(before or [], name) if one.get("value") not in gone]
        else:
            target.pop(name, None)
    elif value is None:
        raise ScimError("invalidValue", f"{op} {name}: expected a value")
    elif op == "add" and name.lower() in _LISTS:
        have = _items(before or [], name)
        target[name] = have + [one for one in _items(value, name) if one not in have]
    elif isinstance(before, dict) and isinstance(value, Mapping):
        target[name] = {**before, **value}
    else:
        target[name] = value


def _where(
    items: list[dict[str, Any]], op: str, condition: Equals, sub: str | None, value: Any
) -> list[dict[str, Any]]:
    """The items as an operation on those that match leaves them."""
    chosen = [one for one in items if condition.holds(one)]
    if op == "remove":
        if sub is None:
            return [one for one in items if one not in chosen]
        for one in chosen:
            one.pop(_name(one, sub), None)
        return items
    if not chosen:
        if op == "replace" and sub is None:
            raise ScimError("noTarget", "nothing matches the filter of the path")
        chosen = [{condition.attribute: condition.value}]
        items = items + chosen
    for one in chosen:
        if sub is not None:
            one[_name(one, sub)] = value
        elif isinstance(value, Mapping):
            one.update(value)
        else:
            raise ScimError("invalidValue", "expected an object as value")
    return items


def _items(value: Any, name: str) -> list[Any]:
    items = value if isinstance(value, list) else [value]
    return [_item(one, name) for one in items]


def _item(one: Any, name: str) -> Mapping[str, Any]:
    if isinstance(one, str):
        return {"value": one}
    if not isinstance(one, Mapping):
        raise ScimError("invalidValue", f"{name}: expected a list of objects")
    return one


def _name(target: Mapping[str, Any], name: str) -> str:
    """The name as the resource has it: names are compared without regard to case."""
    return next((known for known in target if known.lower() == name.lower()), name)

"""What the SCIM service says of itself: RFC 7643, sections 5 to 7."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from discovery.scim.resources import CORE, ENTERPRISE

_PREFIX = "urn:ietf:params:scim:schemas:core:2.0:"


def _provider(root: str) -> dict[str, Any]:
    return {
        "schemas": [f"{_PREFIX}ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": 200},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": False},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": "The token that sources.toml refers to.",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{root}/ServiceProviderConfig"},
    }


def _resource_types(root: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, extensions in (("User", [{"schema": ENTERPRISE, "required": False}]), ("Group", [])):
        found.append(
            {
                "schemas": [f"{_PREFIX}ResourceType"],
                "id": name,
                "name": name,
                "endpoint": f"/{name}s",
                "schema": f"{CORE}{name}",
                "schemaExtensions": extensions,
                "meta": {"resourceType": "ResourceType", "location": f"{root}/ResourceTypes/{name}"},
            }
        )
    return found


def _schemas(root: str) -> list[dict[str, Any]]:
    """The attributes that are kept."""
    name = _attribute("name", "complex", parts=["formatted", "givenName", "familyName"])
    emails = _attribute("emails", "complex", multiValued=True, parts=["value", "type"])
    user = [
        _attribute("userName", required=True, uniqueness="server"),
        *(_attribute(text) for text in ("externalId", "displayName", "nickName", "title")),
        _attribute("active", "boolean"),
        name,
        emails,
    ]
    members = _attribute("members", "complex", multiValued=True, parts=["value"])
    group = [_attribute("displayName", required=True), _attribute("externalId"), members]
    manager = _attribute("manager", "complex", parts=["value"])
    enterprise = [_attribute("employeeNumber"), _attribute("department"), manager]
    return [
        {
            "schemas": [f"{_PREFIX}Schema"],
            "id": id_,
            "name": id_.rpartition(":")[2],
            "attributes": attributes,
            "meta": {"resourceType": "Schema", "location": f"{root}/Schemas/{id_}"},
        }
        for id_, attributes in ((f"{CORE}User", user), (f"{CORE}Group", group), (ENTERPRISE, enterprise))
    ]


def _attribute(name: str, kind: str = "string", parts: Sequence[str] = (), **more: object) -> dict[str, Any]:
    said = {
        "name": name,
        "type": kind,
        "multiValued": False,
        "required": False,
        "caseExact": False,
        "mutability": "readWrite",
        "returned": "default",
        "uniqueness": "none",
        **more,
    }
    return said | ({"subAttributes": [_attribute(part) for part in parts]} if parts else {})


DESCRIPTIONS: Mapping[str, Callable[[str], Any]] = {
    "ServiceProviderConfig": _provider,
    "ResourceTypes": _resource_types,
    "Schemas": _schemas,
}

"""Users and groups of SCIM (RFC 7643), strictly read, and the claims that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from discovery.connector import Problem
from discovery.options import Options
from discovery.patterns import Parts
from discovery.slugs import slug
from discovery.sources import OrganizationConfig, SourceConfig
from graph.claims import Claim, EntityClaim, RelationshipClaim, Value, entity_id

Kind = Literal["User", "Group"]
Document = Mapping[str, Any]
"""A resource as JSON, attributes by their names in the standard."""

CORE = "urn:ietf:params:scim:schemas:core:2.0:"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

Identified = Callable[[str], str | None]
"""The entity of a resource's id; None for one that is not there."""


class ScimError(Exception):
    """What is wrong with a resource or a request: `kind` as RFC 7644, table 9, names it."""

    def __init__(self, kind: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status


class ScimOptions(Options):
    user_key: Literal["userName", "externalId", "id"] = "userName"
    """What persons and accounts are named by: the `sub` of their tokens."""
    group_key: Literal["displayName", "externalId", "id"] = "displayName"


#: Attributes that are read and kept, and what they hold; all others, passwords among them, are dropped.
_USER: Mapping[str, type] = {
    "userName": str, "externalId": str, "active": bool, "displayName": str, "nickName": str, "title": str,
    "name": dict, "emails": list,
}  # fmt: skip
_GROUP: Mapping[str, type] = {"displayName": str, "externalId": str, "members": list}
_ENTERPRISE: Mapping[str, type] = {"employeeNumber": str, "department": str, "manager": dict}
_REQUIRED: Mapping[Kind, str] = {"User": "userName", "Group": "displayName"}


def checked(document: object, kind: Kind, active: bool | None = None) -> dict[str, Any]:
    """Those attributes of a resource that are kept. Raises ScimError for a value that is none of its kind.

    `active` is what a user is who does not say; None where they must. Names of attributes are compared
    without regard to case (RFC 7643, 2.1).
    """
    if not isinstance(document, Mapping):
        raise ScimError("invalidSyntax", f"expected a {kind} as a JSON object")
    found = _attributes(document, _USER if kind == "User" else _GROUP)
    if not found.get(_REQUIRED[kind]):
        raise ScimError("invalidValue", f"{_REQUIRED[kind]}: expected a value; every {kind} has one")
    if kind == "Group":
        found["members"] = _members(found.get("members", []))
        return found
    if "active" not in found:
        if active is None:
            raise ScimError("invalidValue", "active: expected true or false; it is not taken away")
        found["active"] = active
    extension = next((v for k, v in document.items() if k.lower() == ENTERPRISE.lower()), None)
    if isinstance(extension, Mapping) and (enterprise := _attributes(extension, _ENTERPRISE)):
        found[ENTERPRISE] = enterprise
    return found


def _attributes(document: Mapping[str, Any], known: Mapping[str, type]) -> dict[str, Any]:
    names = {name.lower(): name for name in known}
    found = {}
    for said, value in document.items():
        name = names.get(str(said).lower())
        if name is not None and value is not None:
            found[name] = _value(name, value, known[name])
    return found


def _value(name: str, value: Any, kind: type) -> Any:
    if kind is bool:
        return boolean(value, name)
    if name == "manager" and isinstance(value, str):
        return {"value": value}  # as some providers send it
    if kind is list and isinstance(value, Mapping):
        value = [value]
    listed = not isinstance(value, list) or all(isinstance(one, Mapping) for one in value)
    if not isinstance(value, kind) or not listed:
        raise ScimError("invalidValue", f"{name}: expected {_SAID[kind]}, found {type(value).__name__}")
    return value


_SAID: Mapping[type, str] = {str: "text", dict: "an object", list: "a list of objects"}


def boolean(value: object, name: str) -> bool:
    """Also as text: Microsoft Entra sends `"False"`. Raises ScimError for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ScimError("invalidValue", f"{name}: expected true or false, found {value!r:.80}")


def _members(members: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    found = {}
    for member in members:
        value = member.get("value")
        if not isinstance(value, str) or not value:
            raise ScimError("invalidValue", "members: expected the id of a resource as `value`")
        found[value] = {"value": value}
    return list(found.values())


def references(document: Document) -> list[str]:
    """Ids of the resources that a resource names."""
    manager = document.get(ENTERPRISE, {}).get("manager", {}).get("value")
    members = [member["value"] for member in document.get("members", ())]
    return [*members, *([manager] if isinstance(manager, str) and manager else [])]


def key_of(document: Document, id_: str, kind: Kind, options: ScimOptions) -> str:
    """What a resource is named by; empty where it lacks that."""
    attribute = options.user_key if kind == "User" else options.group_key
    return id_ if attribute == "id" else str(document.get(attribute) or "").strip()


def entity_of(document: Document, id_: str, kind: Kind, options: ScimOptions) -> str | None:
    """The person or group that a resource is; None where it lacks what it is to be named by."""
    key = key_of(document, id_, kind, options)
    return entity_id("person" if kind == "User" else "group", key) if key else None


@dataclass(frozen=True)
class ScimClaims:
    """Claims of the resources of one source."""

    organization: OrganizationConfig
    source: SourceConfig
    options: ScimOptions

    @property
    def parts(self) -> Parts:
        return Parts(self.organization, self.source)

    def of(
        self, document: Document, id_: str, kind: Kind, identified: Identified
    ) -> Iterator[Claim | Problem]:
        """Of one checked resource. Who is named and is not there has no relationship, and is a problem."""
        place = f"{kind}s/{id_}"
        entity = entity_of(document, id_, kind, self.options)
        if entity is None:
            attribute = self.options.user_key if kind == "User" else self.options.group_key
            yield Problem(
                place, f"expected {attribute}, by which it is to be named, found none; have it sent"
            )
        elif kind == "User":
            subject = key_of(document, id_, kind, self.options)
            yield from self._user(document, entity, subject, place, identified)
        else:
            yield from self._group(document, entity, place, identified)

    def _user(
        self, document: Document, person: str, subject: str, place: str, identified: Identified
    ) -> Iterator[Claim | Problem]:
        enterprise = document.get(ENTERPRISE, {})
        values: dict[str, Value] = {"name": _name(document), "accountName": document["userName"]}
        said = {
            "givenName": document.get("name", {}).get("givenName"),
            "familyName": document.get("name", {}).get("familyName"),
            "jobTitle": document.get("title"),
            "email": _email(document),
            "employeeNumber": enterprise.get("employeeNumber"),
        }
        values |= {key: value for key, value in said.items() if isinstance(value, str) and value.strip()}
        collection, issuer = self.parts.collection(), self.organization.issuer
        yield EntityClaim(person, "Person", collection, values, place)
        account = entity_id("account", f"{issuer}/{subject}")
        yield EntityClaim(
            account,
            "Account",
            collection,
            {"name": subject, "issuer": issuer, "subject": subject, "disabled": not document["active"]},
            place,
        )
        yield RelationshipClaim(person, "HAS_ACCOUNT", account, place)
        department = enterprise.get("department")
        if isinstance(department, str) and (key := slug(department)):
            unit = entity_id("organizational_unit", key)
            yield RelationshipClaim(person, "WORKS_IN", unit, place)
        if (manager := enterprise.get("manager", {}).get("value")) and isinstance(manager, str):
            boss = identified(manager)
            if boss is None or not boss.startswith("person:"):
                yield _unknown(place, "manager", manager)
            elif boss != person:
                yield RelationshipClaim(person, "REPORTS_TO", boss, place)

    def _group(
        self, document: Document, group: str, place: str, identified: Identified
    ) -> Iterator[Claim | Problem]:
        yield EntityClaim(group, "Group", self.parts.collection(), {"name": document["displayName"]}, place)
        for member in document["members"]:
            entity = identified(member["value"])
            if entity is None:
                yield _unknown(place, "members", member["value"])
            elif entity != group:
                kind = "MEMBER_OF" if entity.startswith("person:") else "SUBGROUP_OF"
                yield RelationshipClaim(entity, kind, group, place)


def _unknown(place: str, attribute: str, id_: str) -> Problem:
    return Problem(place, f"{attribute} names {id_[:80]!r}, expected a resource of this source; correct it")


def _name(document: Document) -> str:
    name = document.get("name", {})
    parts = " ".join(str(name[part]) for part in ("givenName", "familyName") if name.get(part))
    return str(document.get("displayName") or name.get("formatted") or parts or document["userName"])


def _email(document: Document) -> str | None:
    """The primary one, else the one for work, else the first."""
    emails = [one for one in document.get("emails", ()) if isinstance(one.get("value"), str)]
    ranked = sorted(emails, key=lambda one: (one.get("primary") is not True, one.get("type") != "work"))
    return ranked[0]["value"] if ranked else None

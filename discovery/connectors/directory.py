"""People, accounts, groups and units of a directory, from its entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from discovery.connector import Problem
from discovery.connectors.ldif_entries import Entry, normal_dn
from discovery.options import Options
from discovery.patterns import Parts, matches
from discovery.slugs import slug
from discovery.sources import ConfigurationError, OrganizationConfig, SourceConfig
from graph.claims import Claim, EntityClaim, RelationshipClaim, entity_id

Relate = Callable[[str], tuple[str, str, str]]
"""Start, type and end of the relationship that a referenced entity makes."""

_PERSON = {"inetorgperson", "user"}
_MACHINE = {"computer"}  # in Active Directory a kind of user
_GROUP = {"groupofnames", "groupofuniquenames", "group"}
_UNIT = {"organizationalunit"}
_ACCOUNT_DISABLED = 0x2  # of Active Directory's userAccountControl


class DirectoryOptions(Options):
    """Attribute names default to inetOrgPerson's (RFC 2798); several are tried in order."""

    people_base: str | None = None
    """Only people below this distinguished name."""
    user_id: str = "uid"
    name: str = "cn"
    given_name: str = "givenName"
    family_name: str = "sn"
    job_title: str = "title"
    email: str = "mail"
    employee_number: str = "employeeNumber"
    location: str = "l"
    description: str = "description"
    unit: tuple[str, ...] = ("ou", "departmentNumber")
    manager: str = "manager"
    owner: str = "owner"
    member: tuple[str, ...] = ("member", "uniqueMember")
    disabled: tuple[str, ...] = ("pwdAccountLockedTime", "loginDisabled")
    """An account is disabled where one of these is present and not FALSE."""
    home_phone: str = "homePhone"
    home_address: str = "homePostalAddress"
    date_of_birth: str = "dateOfBirth"

    def person_values(self) -> Mapping[str, str]:
        """Attribute of each value of a Person."""
        return {
            "givenName": self.given_name,
            "familyName": self.family_name,
            "jobTitle": self.job_title,
            "email": self.email,
            "employeeNumber": self.employee_number,
            "accountName": self.user_id,
            "location": self.location,
            "description": self.description,
        }

    def contact_values(self) -> Mapping[str, str]:
        """Attribute of each value of ContactDetails, read only where a placement rule matches it."""
        return {
            "homePhone": self.home_phone,
            "homeAddress": self.home_address,
            "dateOfBirth": self.date_of_birth,
        }

    def check(self, source: SourceConfig) -> None:
        """Raises ConfigurationError for a placement rule that matches no attribute of contact details."""
        contact = self.contact_values().values()
        for rule in source.placement:
            if not any(matches(rule.pattern, attribute) for attribute in contact):
                raise ConfigurationError(
                    f"source {source.name!r}: placement {rule.pattern!r} matches none of the attributes that "
                    f"can be placed apart from their person: {', '.join(contact)}"
                )
        try:
            normal_dn(self.people_base or "")
        except ValueError as error:
            raise ConfigurationError(f"source {source.name!r}: people_base: {error}") from error

    def attributes(self) -> frozenset[str]:
        """All that are read."""
        single = (*self.person_values().values(), *self.contact_values().values(), self.name, self.manager)
        several = (*self.unit, *self.member, *self.disabled)
        always = ("objectClass", "cn", "ou", "memberOf", "userAccountControl", self.owner)
        return frozenset((*single, *several, *always))


@dataclass(frozen=True)
class Directory:
    """All entries of a scope: references between them are distinguished names."""

    organization: OrganizationConfig
    source: SourceConfig
    options: DirectoryOptions
    entries: Sequence[Entry]

    def claims(self) -> Iterator[Claim | Problem]:
        seen: dict[str, Entry] = {}
        yield from self.parts.classifications()
        for entry in self.entries:
            entity = self.ids.get(entry.dn)
            if entity is None:
                yield from self._unidentified(entry)
            elif entity in seen:
                yield Problem(
                    entry.place,
                    f"{entity} is also the entry at {seen[entity].place}; keep one, or give one another name",
                )
            else:
                seen[entity] = entry
                yield from self._entity(entry, entity)
        for key, (name, entry) in self.named_units.items():
            unit = entity_id("organizational_unit", key)
            if unit not in seen:
                yield self._claim(entry, unit, "OrganizationalUnit", {"name": name})
                yield self._unit_of(entry, unit)

    @cached_property
    def parts(self) -> Parts:
        return Parts(self.organization, self.source)

    @cached_property
    def ids(self) -> Mapping[str, str]:
        """Entity id of each entry that describes one, by its distinguished name."""
        ids = {}
        for entry in self.entries:
            if _is_person(entry) and (key := entry.first(self.options.user_id)):
                if self._below_people_base(entry):
                    ids[entry.dn] = entity_id("person", key)
            elif entry.is_a(_GROUP) and (key := entry.first("cn")):
                ids[entry.dn] = entity_id("group", key)
            elif entry.is_a(_UNIT) and (key := slug(entry.first("ou") or "")) and self._is_unit(entry, key):
                ids[entry.dn] = entity_id("organizational_unit", key)
        return ids

    @cached_property
    def named_units(self) -> Mapping[str, tuple[str, Entry]]:
        """Name of each unit that people name, and the first who does, by the unit's key."""
        units: dict[str, tuple[str, Entry]] = {}
        for entry in self.entries:
            if _is_person(entry) and (name := self._unit_name(entry)) and slug(name):
                units.setdefault(slug(name), (name, entry))
        return units

    def _is_unit(self, entry: Entry, key: str) -> bool:
        """Containers such as ou=people are no units of the organization: nobody works in or leads them."""
        led = entry.first(self.options.manager) or entry.first(self.options.owner)
        return bool(led) or key in self.named_units

    def _unit_name(self, entry: Entry) -> str | None:
        return next((name for key in self.options.unit if (name := entry.first(key))), None)

    def _below_people_base(self, entry: Entry) -> bool:
        base = self.options.people_base
        return base is None or entry.dn.endswith("," + normal_dn(base))

    def _unidentified(self, entry: Entry) -> Iterator[Problem]:
        for is_one, attribute in (
            (_is_person(entry), self.options.user_id),
            (entry.is_a(_GROUP), "cn"),
        ):
            if is_one and not entry.first(attribute):
                yield Problem(
                    entry.place, f"expected the attribute {attribute} in {entry.dn!r}, found none; add it"
                )

    def _entity(self, entry: Entry, entity: str) -> Iterator[Claim | Problem]:
        for attribute in entry.undecodable:
            if attribute in map(str.lower, self.options.person_values().values()):
                yield Problem(
                    entry.place, f"expected UTF-8 in {attribute} of {entry.dn!r}; export it as UTF-8"
                )
        if _is_person(entry):
            yield from self._person(entry, entity)
        elif entry.is_a(_GROUP):
            yield from self._group(entry, entity)
        else:
            yield from self._unit(entry, entity)

    def _claim(self, entry: Entry, entity: str, class_name: str, values: Mapping[str, str | bool]) -> Claim:
        return EntityClaim(entity, class_name, self.parts.collection(), values, entry.place)

    def _person(self, entry: Entry, person: str) -> Iterator[Claim | Problem]:
        subject = entry.first(self.options.user_id) or ""
        name = entry.first(self.options.name) or subject
        values = {
            key: value
            for key, attribute in self.options.person_values().items()
            if (value := entry.first(attribute))
        }
        yield self._claim(entry, person, "Person", {"name": name, **values})
        issuer = self.organization.issuer
        account = entity_id("account", f"{issuer}/{subject}")
        disabled = _is_disabled(entry, self.options.disabled)
        yield self._claim(
            entry,
            account,
            "Account",
            {"name": subject, "issuer": issuer, "subject": subject, "disabled": disabled},
        )
        yield RelationshipClaim(person, "HAS_ACCOUNT", account, entry.place)
        if (unit_name := self._unit_name(entry)) and (key := slug(unit_name)):
            yield RelationshipClaim(person, "WORKS_IN", entity_id("organizational_unit", key), entry.place)
        yield from self._references(
            entry, self.options.manager, lambda m: (person, "REPORTS_TO", m), "person"
        )
        yield from self._memberships(entry, person)
        yield from self._contact_details(entry, person, name)

    def _memberships(self, entry: Entry, member: str) -> Iterator[Claim]:
        """What the member itself says; groups outside the scope are another source's."""
        type_name = "MEMBER_OF" if member.startswith("person:") else "SUBGROUP_OF"
        for value in entry.all("memberOf"):
            group = self._entity_at(value)
            if group.startswith("group:") and group != member:
                yield RelationshipClaim(member, type_name, group, entry.place)

    def _contact_details(self, entry: Entry, person: str, name: str) -> Iterator[Claim]:
        """Contact details are entities of their own, one for each collection that holds some."""
        values: dict[str, dict[str, str]] = {}
        for key, attribute in self.options.contact_values().items():
            placed = any(matches(rule.pattern, attribute) for rule in self.source.placement)
            if placed and (value := entry.first(attribute)):
                values.setdefault(self.parts.collection(attribute), {})[key] = value
        for collection, held in values.items():
            key = f"{person.partition(':')[2]}/{collection.partition(':')[2]}"
            details = f"contact_details:{key}"
            yield EntityClaim(
                details,
                "ContactDetails",
                collection,
                {"name": f"Contact details of {name}", **held},
                entry.place,
            )
            yield RelationshipClaim(person, "HAS_CONTACT_DETAILS", details, entry.place)
            attributes = [self.options.contact_values()[key] for key in held]
            yield from self.parts.classified(details, entry.place, *attributes)

    def _group(self, entry: Entry, group: str) -> Iterator[Claim | Problem]:
        values = {"name": entry.first("cn") or ""}
        if description := entry.first(self.options.description):
            values["description"] = description
        yield self._claim(entry, group, "Group", values)
        yield from self._memberships(entry, group)
        for attribute in self.options.member:
            yield from self._references(
                entry,
                attribute,
                lambda m: (m, "MEMBER_OF" if m.startswith("person:") else "SUBGROUP_OF", group),
                "person",
                "group",
            )
        for attribute in (self.options.manager, self.options.owner):
            yield from self._references(entry, attribute, lambda m: (m, "OWNS", group), "person", "group")

    def _unit(self, entry: Entry, unit: str) -> Iterator[Claim | Problem]:
        values = {"name": entry.first("ou") or ""}
        if description := entry.first(self.options.description):
            values["description"] = description
        yield self._claim(entry, unit, "OrganizationalUnit", values)
        yield self._unit_of(entry, unit)
        yield from self._references(entry, self.options.manager, lambda m: (m, "LEADS", unit), "person")
        yield from self._references(entry, self.options.owner, lambda m: (m, "OWNS", unit), "person", "group")

    def _unit_of(self, entry: Entry, unit: str) -> Claim:
        parent = self.ids.get(entry.parent_dn, "") if entry.is_a(_UNIT) else ""
        if not parent.startswith("organizational_unit:"):
            parent = entity_id("organization", self.organization.issuer)
        return RelationshipClaim(unit, "UNIT_OF", parent, entry.place)

    def _entity_at(self, dn: str) -> str:
        try:
            return self.ids.get(normal_dn(dn), "")
        except ValueError:
            return ""

    def _references(
        self, entry: Entry, attribute: str, relate: Relate, *types: str
    ) -> Iterator[Claim | Problem]:
        """One relationship for each distinguished name in the attribute that is of one of the types."""
        for value in entry.all(attribute):
            end = self._entity_at(value)
            if end.partition(":")[0] in types:
                start, relationship, other = relate(end)
                yield RelationshipClaim(start, relationship, other, entry.place)
            else:
                yield Problem(
                    entry.place,
                    f"{attribute} of {entry.dn!r} names {value!r}, expected the entry of a "
                    f"{' or '.join(types)} in this directory; correct or remove it",
                )


def _is_person(entry: Entry) -> bool:
    return entry.is_a(_PERSON) and not entry.is_a(_MACHINE)


def _is_disabled(entry: Entry, attributes: Sequence[str]) -> bool:
    control = entry.first("userAccountControl") or "0"
    if control.isdigit() and int(control) & _ACCOUNT_DISABLED:
        return True
    return any((entry.first(attribute) or "FALSE").upper() != "FALSE" for attribute in attributes)

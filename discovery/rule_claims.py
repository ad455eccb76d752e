"""What follows from a rule of a policy: the rule itself once somebody agreed, and stricter handling at once.

Handling follows from duties and prohibitions alone, and only where they can be put as a requirement: data
that must stay in a country, must not leave it, or must not go to a country or provider. What a rule makes
an exception of (`unless`, `without`) is excluded until a person says otherwise. It reaches what the source's
documents cover (`covers` in `sources.toml`); whatever else the text says waits for a person.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256

import pycountry

from discovery.extraction import ExtractedRule, Passage, plain
from graph.claims import Claim, EntityClaim, RelationshipClaim, Value, entity_id, subject

_CLASSES = {"duty": "Duty", "permission": "Permission", "prohibition": "Prohibition"}
_SAYS = {"duty": "must", "permission": "may", "prohibition": "must not"}
_SAYS_OF_ACTS = {"duty": "is required", "permission": "is permitted", "prohibition": "is prohibited"}
#: What is done with data on a machine.
_PROCESSING = re.compile(
    r"\b(?:process|stor|keep|kept|host|hold|held|transfer|transmi|send|sent|mov|export|leav|remain|stay|"
    r"handl|retain|retention|resid|shar|disclos|comput|analy)\w*",
    re.IGNORECASE,
)
_OUTSIDE = re.compile(r"^(?:outside|leav(?:e|ing)|from)\b", re.IGNORECASE)
_INSIDE = re.compile(r"^(?:in|within|inside)\b", re.IGNORECASE)
_TO = re.compile(r"^(?:in|within|inside|to)\b", re.IGNORECASE)
#: What somebody does who has the data, and not who gives it away.
_KEEPING = re.compile(
    r"^(?:process|stor|keep|kept|host|hold|held|handl|retain|retention|comput|analy)\w*", re.IGNORECASE
)
_LEAVES = re.compile(r"^leav", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Known:
    """What the words of rules may name."""

    keys: Collection[str]
    """Of classifications."""
    providers: Mapping[str, str] = field(default_factory=dict)
    """Ids of the other organizations, by their names in lower case."""


def claims_of(
    rule: ExtractedRule, passage: Passage, known: Known, evidence: str, confidence: float
) -> Sequence[Claim]:
    """The rule as an entity beside the policy, stated in the passage, with the classifications it governs."""
    key = f"{passage.id.partition(':')[2]}/{_digest(rule)}"
    id_ = entity_id(rule.kind, key)
    values = {"name": statement(rule), "quote": rule.quote, "action": rule.action}
    parts = {"assignee": rule.assignee, "target": rule.target, "place": rule.place, "timeLimit": rule.until}
    values |= {name: value for name, value in parts.items() if value}
    governed = named(rule.quote, known.keys)
    claims: list[Claim] = [
        EntityClaim(id_, _CLASSES[rule.kind], passage.collection, values, evidence, confidence),
        RelationshipClaim(id_, "STATED_IN", passage.id, evidence, confidence),
        *_governs(id_, governed, evidence, confidence),
    ]
    required = _requirement(rule, known.providers)
    if required and governed:
        handling = entity_id("handling_rule", key)
        required["name"] = f"Handling of {', '.join(governed)} by {passage.name}"
        claims += [
            EntityClaim(handling, "HandlingRule", passage.collection, required, evidence, confidence),
            RelationshipClaim(handling, "STATED_IN", passage.document, evidence, confidence),
            *_governs(handling, governed, evidence, confidence),
        ]
    return claims


def standing(claims: Sequence[Claim], covers: Collection[str]) -> Sequence[Claim]:
    """Those that stand before anybody agreed: requirements on what the documents cover, and no others."""
    covered = {entity_id("classification", key) for key in covers}
    handling = [one for one in claims if subject(one).startswith("handling_rule:")]
    reached = [
        one
        for one in handling
        if isinstance(one, RelationshipClaim) and one.type == "GOVERNS" and one.end in covered
    ]
    if not reached:
        return []
    others = [one for one in handling if not (isinstance(one, RelationshipClaim) and one.type == "GOVERNS")]
    return [*others, *reached]


def statement(rule: ExtractedRule) -> str:
    """In a sentence that can be read in a list."""
    by = rule.assignee and f"by {rule.assignee}"
    if rule.is_noun:
        words = [_act(rule), by, rule.place, _SAYS_OF_ACTS[rule.kind], rule.until]
    elif _is_passive(rule):
        words = [rule.target, _SAYS[rule.kind], "be", rule.action, by, rule.place, rule.until]
    else:
        leaves = plain(rule.place) == plain(f"{rule.action} {rule.target}")
        place = "" if leaves else rule.place
        words = [rule.assignee, _says(rule), rule.action, rule.target, place, rule.until]
    return " ".join(word for word in words if word)


def _act(rule: ExtractedRule) -> str:
    """The act and what it is done to: `Keeping invoices`, `Storage of invoices`."""
    if not rule.target:
        return rule.action
    directly = f"{rule.action} {rule.target}"
    return directly if plain(directly) in plain(rule.quote) else f"{rule.action} of {rule.target}"


def _says(rule: ExtractedRule) -> str:
    """As it is quoted before a verb in -ing: `are responsible for reviewing`."""
    said = rf"\b(?:is|are)\s+(?:\w+\s+){{0,2}}?(?:for|from)(?=\s+{re.escape(plain(rule.action))}\b)"
    found = re.search(said, plain(rule.quote)) if rule.action.casefold().endswith("ing") else None
    return found[0] if found else _SAYS[rule.kind]


def _is_passive(rule: ExtractedRule) -> bool:
    """Whether what is done to something is said after it: `diagnoses must be stored`."""
    action, target = re.escape(plain(rule.action)), re.escape(plain(rule.target))
    done = rf"{target}\b.*\bbe(?:en)?\s+(?:\w+\s+){{0,2}}?{action}\b"
    return bool(rule.target) and re.search(done, plain(rule.quote)) is not None


def named(text: str, keys: Collection[str]) -> Sequence[str]:
    """Those of some classifications that a text names, by the words of their keys."""
    words = re.sub(r"[\s_-]+", " ", text.casefold())
    return sorted(key for key in keys if re.search(rf"\b{re.escape(key.replace('-', ' '))}\b", words))


def jurisdictions(rule: ExtractedRule) -> frozenset[str]:
    """Codes of the countries that it keeps processing within; none where it asks for nothing of that kind."""
    words = f"{rule.action} {rule.place}"
    if rule.kind == "permission" or not rule.place or not _PROCESSING.search(words):
        return frozenset()
    within = _INSIDE.match(rule.place) if rule.kind == "duty" else _OUTSIDE.match(rule.place)
    leaves = rule.kind == "prohibition" and _LEAVES.match(rule.action) and not _INSIDE.match(rule.place)
    if within is None and not leaves:
        return frozenset()
    return frozenset(countries(rule.place))


def excluded_jurisdictions(rule: ExtractedRule) -> frozenset[str]:
    """Codes of the countries that it keeps processing out of."""
    words = f"{rule.action} {rule.place}"
    if rule.kind != "prohibition" or not _TO.match(rule.place) or not _PROCESSING.search(words):
        return frozenset()
    if _LEAVES.match(rule.action):  # for where else it may go
        return frozenset()
    return frozenset(countries(rule.place))


def excluded_owners(rule: ExtractedRule, providers: Mapping[str, str]) -> frozenset[str]:
    """Those of some organizations (ids by name in lower case) whose machines it keeps processing off."""
    if rule.kind != "prohibition" or not _PROCESSING.match(rule.action):
        return frozenset()
    named = {re.sub(r"^(?:to|by|with)\s+(?:the\s+)?", "", rule.place.casefold())}
    if _KEEPING.match(rule.action) and not rule.place:
        named.add(re.sub(r"^the\s+", "", rule.assignee.casefold()))
    return frozenset(providers[name] for name in named if name in providers)


def countries(place: str) -> Iterator[str]:
    """ISO 3166 codes, and EU, of what a place names, where all that it names is known; else nothing."""
    names = re.sub(
        r"^(?:(?:out|in)side(?:\s+of)?|in|within|leav(?:e|ing)|from|to)\s+", "", place.strip(), flags=re.I
    )
    found = []
    for name in re.split(r"\s+(?:or|and)\s+|,\s*", names):
        code = _codes().get(re.sub(r"^the\s+", "", name.strip(" ."), flags=re.I).casefold())
        if code is None:
            return
        found.append(code)
    yield from found


def _requirement(rule: ExtractedRule, providers: Mapping[str, str]) -> dict[str, Value]:
    """Of a handling rule, its values; none where the rule asks for nothing of that kind."""
    asked = {
        "jurisdiction": jurisdictions(rule),
        "excludedJurisdiction": excluded_jurisdictions(rule),
        "excludedOwner": excluded_owners(rule, providers),
    }
    return {name: tuple(sorted(found)) for name, found in asked.items() if found}


def _governs(id: str, keys: Sequence[str], evidence: str, confidence: float) -> Iterator[Claim]:
    for key in keys:
        yield RelationshipClaim(id, "GOVERNS", entity_id("classification", key), evidence, confidence)


@cache
def _codes() -> Mapping[str, str]:
    """Codes by the names of countries in lower case."""
    found = {"eu": "EU", "european union": "EU", "us": "US", "u.s": "US", "usa": "US", "uk": "GB"}
    for country in pycountry.countries:
        for name in ("name", "common_name", "official_name"):
            if hasattr(country, name):
                found[getattr(country, name).casefold()] = country.alpha_2
    return found


def _digest(rule: ExtractedRule) -> str:
    """Of what it says; not of who read it."""
    text = "\n".join((rule.kind, *rule.parts)).casefold()
    return sha256(text.encode()).hexdigest()[:12]

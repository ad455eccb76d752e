"""The organization's configuration of sources: `sources.toml`, read and checked."""

from __future__ import annotations

import tomllib
from datetime import UTC, timedelta
from itertools import combinations, product
from pathlib import Path
from typing import Annotated, Any, Literal

from apscheduler.triggers.cron import CronTrigger
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from discovery.classification import LABELS
from graph.claims import SourcePolicy, entity_id
from graph.handling import Handling
from graph.tuples import ADMINISTRATION, BY_HAND, CONFIGURATION, HAS_ACCOUNT, IDENTITY, NODES_BY_HAND
from ontologies.modules import organization_files

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
ReaderId = Annotated[str, Field(pattern=r"^(group|person):\S+$")]
PersonId = Annotated[str, Field(pattern=r"^person:\S+$")]
ObjectPattern = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*:([^\s:#*@]+\*?|\*)$")]

SecretReference = Annotated[str, Field(pattern=r"^(env:[A-Za-z_]\w*|file:.+|vault:[^/#]+/[^#]+#.+)$")]
"""`env:NAME`, an environment variable, `file:PATH`, a file beside sources.toml, or `vault:MOUNT/PATH#KEY`,
of Vault's key-value engine; never the secret."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _duration(text: object) -> object:
    if isinstance(text, str) and text[:-1].isdigit() and text[-1:] in _UNITS:
        return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
    raise ValueError(f"expected a duration such as '30s', '15m', '24h' or '7d', found {text!r}")


def _crontab(text: str) -> str:
    CronTrigger.from_crontab(text, UTC)  # raises ValueError, which says what is wrong
    return text


Duration = Annotated[timedelta, BeforeValidator(_duration)]


_RESERVED = {
    CONFIGURATION: "this file",
    ADMINISTRATION: "what is granted and denied by hand",
    IDENTITY: "what was decided of entities that are one",
    NODES_BY_HAND: "mesh nodes that are declared by hand",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HandlingTerms(_Strict):
    """Where what a source holds may be processed, where no rule says it more strictly."""

    jurisdictions: tuple[str, ...] | None = None
    residency: tuple[str, ...] | None = None
    certifications: tuple[str, ...] = ()
    clearance: int = 0
    silicon: tuple[str, ...] | None = None
    excluded_silicon: tuple[str, ...] = ()
    excluded_owners: tuple[str, ...] = ()
    purposes: tuple[str, ...] | None = None
    excluded_jurisdictions: tuple[str, ...] = ()

    def handling(self) -> Handling:
        return Handling(
            _any_or(self.jurisdictions),
            _any_or(self.residency),
            frozenset(self.certifications),
            self.clearance,
            _any_or(self.silicon),
            frozenset(self.excluded_silicon),
            frozenset(self.excluded_owners),
            _any_or(self.purposes),
            frozenset(self.excluded_jurisdictions),
        )


def _any_or(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


class BreakGlassConfig(_Strict):
    """Who may take access in an emergency, and for how long at most."""

    by: Annotated[tuple[ReaderId, ...], Field(min_length=1)]
    longest: Duration


class CollectionConfig(_Strict):
    """A place that access comes from."""

    id: Name
    name: str
    readers: tuple[ReaderId, ...] = ()
    """Ids of groups or persons who may view it (`group:hr`, `person:ada`)."""
    inherits: Name | None = None
    """A collection whose viewers also view this one."""
    owners: tuple[ReaderId, ...] = ()
    """Who may grant access to it by hand, and take it back; the administrator may everywhere."""
    four_eyes: bool = False
    """What is granted by hand counts once a second person has confirmed it."""
    break_glass: BreakGlassConfig | None = None
    """Without it nobody takes access in an emergency."""


class AgentConfig(_Strict):
    """A software agent that persons may be represented by."""

    id: Name
    """The subject of its own tokens."""
    name: str
    may_act_for: tuple[ReaderId, ...] = ()


class PlacementRule(_Strict):
    """Where the entities of a part of the source are placed; the first rule that matches decides."""

    pattern: str
    """A glob over what the connector calls a part: a path, a table name, an attribute."""
    collection: Name


class ClassificationRule(_Strict):
    """A declared classification of a part of the source."""

    pattern: str
    classification: Name
    """Key of a classification, as `protected-health-information`."""


class BrakeConfig(_Strict):
    """A crawl that would retract more of a scope is held until a person confirms it."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Of the scope's claims."""
    least: Annotated[int, Field(ge=0)] = 20
    """Claims; so few may always go."""

    def holds(self, gone: int, standing: int) -> bool:
        return gone > self.least and gone > self.share * standing


class SourceConfig(_Strict):
    """One source: the connector that reads it, when, with which rights, and how it is handled."""

    name: Name
    connector: str
    collection: Name
    """The collection of what no placement rule matches."""
    every: Duration = timedelta(hours=1)
    cron: Annotated[str, AfterValidator(_crontab)] | None = None
    """In place of `every`: minute, hour, day, month and day of the week, in UTC (`30 2 * * mon-fri`)."""
    watch: tuple[str, ...] = ()
    """Files and folders, beside the file, whose changes have it crawled at once."""
    webhook: SecretReference | None = None
    """What `POST /hooks/NAME` is proven by; without it there is none."""
    pages_per_second: Annotated[float, Field(ge=0.1)] | None = None
    """As many pages of the source are asked for at most."""
    max_age: Duration = timedelta(hours=24)
    """Grants of a source that completed no crawl for longer are suspended."""
    brake: BrakeConfig = BrakeConfig()
    trust: int = 50
    grants: tuple[str, ...] = ()
    """Access-bearing relationship types that it may claim."""
    issuers: tuple[Name, ...] = ()
    """Whose accounts it may say to be a person's, where several sources are granted HAS_ACCOUNT."""
    authority: tuple[ObjectPattern, ...] = ()
    """Of which groups and so on it says who has what of the other relationships that it is granted, where
    several sources are granted the same: ids, or how they begin (`group:finance`, `group:rust.*`)."""
    handling: HandlingTerms
    holding: HandlingTerms | None = None
    """Where the graph may keep it and the service embed it, where that is not the same as where it may be
    processed otherwise."""
    site: str = ""
    """Where the source's data lies; models at the same site are near to it."""
    placement: tuple[PlacementRule, ...] = ()
    classification: tuple[ClassificationRule, ...] = ()
    classify: Literal["names", "values"] | None = None
    """Whether classifications are proposed: by the names of columns and files, or also by values that are
    looked at where they are, and not kept."""
    extract: Literal["wording", "model"] | None = None
    """Whether rules are proposed that its policies state: by their wording, or also by a model that may
    process them."""
    covers: tuple[Name, ...] = ()
    """Keys of the classifications that its policies may speak of: a rule that is read out of a text can
    tighten the handling of these at once, and of nothing else."""
    options: dict[str, Any] = {}
    """The connector's own settings; paths are relative to the file."""

    def classifications(self) -> tuple[str, ...]:
        """Keys of all that it may classify something as."""
        proposed = LABELS if self.classify else ()
        return tuple(dict.fromkeys((*(rule.classification for rule in self.classification), *proposed)))

    def policy(self) -> SourcePolicy:
        collections = {self.collection, *(rule.collection for rule in self.placement)}
        return SourcePolicy(
            self.name,
            frozenset(self.grants),
            frozenset(entity_id("collection", key) for key in collections),
            self.trust,
            self.max_age,
            frozenset(self.issuers) or None,
            frozenset(self.authority) or None,
        )


class OrganizationConfig(_Strict):
    """`sources.toml`. `folder` is where it lies; connectors resolve their paths against it."""

    name: str
    issuer: Name
    """Namespace of the accounts that the directory asserts: `account:<issuer>/<subject>`."""
    administrator: PersonId
    """Id of the person who administers at first (`person:ada`)."""
    asker_handling: HandlingTerms = HandlingTerms()
    """Handling of a question, whoever asks it."""
    ontology: tuple[str, ...] = ()
    """The organization's own modules, shapes and bindings: files, folders or globs (docs/ontology.md)."""
    collection: Annotated[tuple[CollectionConfig, ...], Field(min_length=1)]
    """The first one also holds the organization itself."""
    agent: tuple[AgentConfig, ...] = ()
    source: tuple[SourceConfig, ...]
    folder: Path

    def ontology_files(self) -> tuple[Path, ...]:
        return organization_files(self.folder, self.ontology)

    @property
    def id(self) -> str:
        """Of the organization itself, as an entity."""
        return entity_id("organization", self.issuer)

    @property
    def collection_ids(self) -> frozenset[str]:
        return frozenset(entity_id("collection", one.id) for one in self.collection)

    def collection_with(self, id: str) -> CollectionConfig | None:
        """The collection with the id `collection:key`; None when none is declared so."""
        return next((one for one in self.collection if entity_id("collection", one.id) == id), None)

    def source_named(self, name: str) -> SourceConfig:
        for source in self.source:
            if source.name == name:
                return source
        known = ", ".join((CONFIGURATION, *(source.name for source in self.source)))
        raise ConfigurationError(f"no source is named {name!r}; the configured ones are: {known}")


class ConfigurationError(Exception):
    """The configuration cannot be used; the message names the file, the key and what to write."""


def load_organization(path: Path) -> OrganizationConfig:
    """Read `sources.toml`. Raises ConfigurationError naming each wrong key."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path}: there is no such file; name one in ORGRAPH_SOURCES") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: expected TOML in UTF-8: {error}") from error
    try:
        config = OrganizationConfig.model_validate({**raw, "folder": path.parent.resolve()})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)
        )
        raise ConfigurationError(f"{path}: {problems}") from error
    _check_references(path, config)
    return config


def _check_references(path: Path, config: OrganizationConfig) -> None:
    collections = [collection.id for collection in config.collection]
    names = [source.name for source in config.source]
    agents = [agent.id for agent in config.agent]
    for kind, values in (("collection", collections), ("source", names), ("agent", agents)):
        for value in values:
            if values.count(value) > 1:
                raise ConfigurationError(f"{path}: {kind} {value!r} is declared twice; keep one")
    for name, meaning in _RESERVED.items():
        if name in names:
            raise ConfigurationError(
                f"{path}: {name!r} is the name of {meaning} as a source; name the source otherwise"
            )
    _check_issuers(path, config)
    _check_authority(path, config)
    for source in config.source:
        if by_hand := sorted(BY_HAND.intersection(source.grants)):
            raise ConfigurationError(
                f"{path}: source {source.name!r} has {', '.join(by_hand)} among its grants, which is only "
                "claimed by hand; leave it out"
            )
        for key in (source.collection, *(rule.collection for rule in source.placement)):
            if key not in collections:
                raise ConfigurationError(
                    f"{path}: source {source.name!r} places entities in collection {key!r}, "
                    "which no [[collection]] declares; declare it or correct the name"
                )
    for collection in config.collection:
        if collection.inherits is not None and collection.inherits not in collections:
            raise ConfigurationError(
                f"{path}: collection {collection.id!r} inherits from {collection.inherits!r}, "
                "which no [[collection]] declares; declare it or correct the name"
            )


def _check_issuers(path: Path, config: OrganizationConfig) -> None:
    """Each issuer has one authoritative source."""
    granted = [source for source in config.source if HAS_ACCOUNT in source.grants]
    said: dict[str, str] = {}
    for source in granted:
        if len(granted) > 1 and not source.issuers:
            others = ", ".join(repr(one.name) for one in granted if one is not source)
            raise ConfigurationError(
                f"{path}: source {source.name!r} is granted {HAS_ACCOUNT} and so is {others}: name those "
                'whose accounts each is the authority of, as issuers = ["github"]'
            )
        for issuer in source.issuers:
            if (other := said.setdefault(issuer, source.name)) != source.name:
                raise ConfigurationError(
                    f"{path}: sources {other!r} and {source.name!r} both have {issuer!r} among their "
                    "issuers: leave it to the one that is the authority"
                )


def _check_authority(path: Path, config: OrganizationConfig) -> None:
    """Of each object, one source is the authority of a relationship that gives access."""
    for source, other in combinations(config.source, 2):
        shared = sorted(set(source.grants).intersection(other.grants) - {HAS_ACCOUNT})
        if not shared:
            continue
        for one in (source, other):
            if not one.authority:
                raise ConfigurationError(
                    f"{path}: sources {source.name!r} and {other.name!r} are both granted "
                    f"{', '.join(shared)}: name those of which {one.name!r} is the authority, as "
                    'authority = ["group:finance", "group:rust.*"]'
                )
        for own, others in product(source.authority, other.authority):
            if _overlap(own, others):
                raise ConfigurationError(
                    f"{path}: sources {source.name!r} and {other.name!r} are both granted "
                    f"{', '.join(shared)} and have {own!r} and {others!r} as their authority: leave what is "
                    "in both to one of them"
                )


def _overlap(one: str, other: str) -> bool:
    """Whether an id can be of both patterns."""
    first, second = one.removesuffix("*"), other.removesuffix("*")
    return (
        one == other
        or (one.endswith("*") and second.startswith(first))
        or (other.endswith("*") and first.startswith(second))
    )

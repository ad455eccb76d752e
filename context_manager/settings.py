"""Settings: environment `ORGRAPH_*` before `orgraph.toml` before the defaults."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

FILE = Path("orgraph.toml")
PREFIX = "ORGRAPH_"
ROOT = Path(__file__).resolve().parent.parent


class SettingsError(Exception):
    """A setting cannot be used; the message names it, where it came from and what was expected."""


class Settings(BaseSettings):
    """All settings of the service. Secrets are given by reference: as paths of files that hold them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, toml_file=FILE, extra="forbid", frozen=True)

    data_folder: Path = Path(".orgraph")
    """Folder of everything that the service keeps: the graph, keys, models, the audit log."""
    sources: Path = ROOT / "deploy" / "sample" / "sources.toml"
    """The organization and its sources."""
    host: str = "127.0.0.1"
    port: int = 8080

    neo4j_uri: str | None = None
    """An existing Neo4j; without one, the embedded one is started."""
    neo4j_port: int | None = None
    """Bolt port of the embedded one; without one, any that is free."""
    neo4j_user: str = "neo4j"
    neo4j_password_file: Path | None = None
    neo4j_database: str = "neo4j"
    neo4j_jurisdiction: str | None = None
    """Where Neo4j runs; what is not said of it is as said of this process (`node_*`)."""
    neo4j_region: str | None = None
    neo4j_certifications: tuple[str, ...] | None = None
    neo4j_clearance: int | None = None

    ray_address: str | None = Field(None, pattern=r"^(auto|[^:/]+:\d+)$")
    """Ray cluster whose workers read the sources (`auto`, `HOST:PORT`); without one, this process does."""
    retention_days: int = Field(400, ge=1)
    """How long changes and the records of crawls are kept."""

    vllm: bool = True
    """Start the managed vLLM node on CPU."""
    vllm_node: str = "mesh_node:boston-cpu"
    """Which of the declared mesh nodes it is."""
    vllm_port: int = 8000

    ask_deadline: float = Field(60.0, gt=0)
    """Seconds that models have for an answer; after them it is the facts themselves."""
    ungrounded: Literal["drop", "mark"] = "drop"
    """What becomes of a model's sentence that no fact says."""
    node_keys_file: Path | None = None
    """TOML: the API key of each other mesh node, by its id in quotes."""

    oidc_issuer: str | None = None
    """`iss` of the tokens to accept; without one, the local issuer mints and proves them."""
    oidc_audience: str = "orgraph"
    oidc_jwks_url: str | None = None
    """Where the issuer publishes its keys: HTTPS, or plain HTTP on loopback."""

    administrator: str | None = Field(None, pattern=r"^person:\S+$")
    """Id of the first administrator (`person:ada`); without one, the one that the sources name."""

    node_jurisdiction: str = "US"
    """Where this process itself runs: it holds the graph and computes embeddings."""
    node_region: str = "local"
    node_certifications: tuple[str, ...] = ()
    node_clearance: int = 0
    node_site: str = ""
    node_owners: tuple[str, ...] = ()
    """Ids of the agents whose machine it is."""
    node_purposes: tuple[str, ...] = ()
    """All that is done with what it holds."""

    locality_weight: float = Field(0.5, ge=0)
    """Seconds that a node at none of the facts' sites counts as slower."""
    affinity_weight: float = Field(2.0, ge=0)
    """How often what a node would have to read of a prompt counts again, since those behind wait for it."""
    price_weight: float = Field(0.2, ge=0)
    """Seconds that the dearest node counts as slower than one for nothing."""

    @field_validator("oidc_jwks_url")
    @classmethod
    def _nobody_between(cls, url: str | None) -> str | None:
        """Who can change the answer can prove to be anybody."""
        if url is None or _is_safe(url):
            return url
        raise ValueError("expected https://...; plain HTTP only to 127.0.0.1, ::1 or localhost")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    on_loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and on_loopback))


def load_settings() -> Settings:
    """Read the settings. Raises SettingsError naming each wrong or unknown one and its origin."""
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX)
        and name.removeprefix(PREFIX).lower() not in Settings.model_fields
        and name != "ORGRAPH_SHARED_DATA"  # read by the tests and by the handbook's sources.toml
    )
    if unknown:
        raise SettingsError(
            f"environment: there is no setting {', '.join(unknown)}; "
            f"the settings are {', '.join(PREFIX + name.upper() for name in Settings.model_fields)}"
        )
    try:
        return Settings()
    except ValidationError as error:
        origins = _origins()
        problems = "; ".join(
            f"{origins.get(str(e['loc'][0]), str(FILE))}: {'.'.join(map(str, e['loc']))}: {e['msg']}"
            for e in error.errors(include_url=False)
        )
        raise SettingsError(problems) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{FILE}: expected TOML: {error}") from error


def describe(settings: Settings) -> list[tuple[str, str, str]]:
    """(name, value, origin) of each setting, in the order of declaration."""
    origins = _origins()
    return [
        (name, "" if value is None else str(value), origins.get(name, "default")) for name, value in settings
    ]


def _origins() -> dict[str, str]:
    origins = {}
    if FILE.is_file():
        origins = {name: str(FILE) for name in tomllib.loads(FILE.read_text(encoding="utf-8"))}
    for name in Settings.model_fields:
        if (variable := PREFIX + name.upper()) in os.environ:
            origins[name] = f"environment {variable}"
    return origins

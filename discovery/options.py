"""A connector's own options: checked when it is built, unknown ones refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from discovery.sources import ConfigurationError, SourceConfig


class Options(BaseModel):
    """Base of each connector's options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def digest(self) -> str:
        """For a `Position`: other options may mean other claims."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def position(self, versions: Iterable[str | None]) -> str | None:
        """The text of a `Position`: of all that was listed, each with its version, under these options.

        None where one of them tells no version. It is of what was read: whatever changes meanwhile has
        another version when it is listed again.
        """
        said = list(versions)
        told = sorted(one for one in said if one is not None)
        if len(told) < len(said):
            return None
        digest = hashlib.sha256("\n".join(told).encode(errors="replace"))
        return f"{self.digest()} {digest.hexdigest()}"


AnyOptions = TypeVar("AnyOptions", bound=Options)


def parse_options(model: type[AnyOptions], source: SourceConfig) -> AnyOptions:
    """Raises ConfigurationError naming the source and each wrong option."""
    try:
        return model.model_validate(source.options)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)
        )
        known = ", ".join(model.model_fields)
        raise ConfigurationError(
            f"source {source.name!r} ({source.connector}): {problems}; its options are: {known}"
        ) from error

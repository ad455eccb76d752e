"""Secrets by reference: the configuration says where one is; the connector that needs it reads it."""

from __future__ import annotations

import os

from discovery.files import UnreadableError, locate, read_text
from discovery.sources import ConfigurationError, OrganizationConfig, SecretReference
from discovery.vault import read_from_vault

__all__ = ["SecretReference", "read_secret"]

_MAX_BYTES = 65_536


def read_secret(organization: OrganizationConfig, reference: str) -> str:
    """The secret, which must go nowhere but to its source. Raises ConfigurationError, which names the
    reference only."""
    kind, _, name = reference.partition(":")
    if kind == "env":
        if not os.environ.get(name):
            raise ConfigurationError(f"the environment variable {name} is not set; it should hold a secret")
        return os.environ[name]
    if kind == "vault":
        return read_from_vault(name)
    try:
        text = read_text(locate(organization, name), _MAX_BYTES).strip()
    except UnreadableError as error:
        raise ConfigurationError(f"the secret's file {name}: {error}") from error
    if not text:
        raise ConfigurationError(f"the secret's file {name} is empty; write the secret into it")
    return text

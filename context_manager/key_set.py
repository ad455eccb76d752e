"""The key set of an OIDC issuer, fetched and kept."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp

from context_manager.identity import KeySet, TokenRefused

_MAX_BYTES = 256 * 1024
_FRESH_AFTER_S = 30
"""How soon an unknown key makes it fetched again: forged tokens must not turn into a flood."""
_STALE_AFTER_S = 3600
_LIMIT_S = 10.0


class RemoteKeys:
    """Fetches the key set when it is needed, when it is old, and when a token names a key it lacks."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._keys: KeySet | None = None
        self._at = 0.0
        self._fetching = asyncio.Lock()

    async def __call__(self, fresh: bool) -> KeySet:
        """The key set. Raises TokenRefused when it cannot be had: nobody can be proven then."""
        async with self._fetching:
            age = time.monotonic() - self._at
            if self._keys is None or age > (_FRESH_AFTER_S if fresh else _STALE_AFTER_S):
                self._keys = await self._fetch()
                self._at = time.monotonic()
            return self._keys

    async def _fetch(self) -> KeySet:
        try:
            async with self._session.get(
                self._url, timeout=aiohttp.ClientTimeout(total=_LIMIT_S), allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise TokenRefused(f"{self._url} answered HTTP {response.status}; expected a key set")
                keys = json.loads(await _bounded(response.content, self._url))
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            raise TokenRefused(
                f"the key set at {self._url} cannot be read ({error or 'no answer'}); try again later"
            ) from error
        if not isinstance(keys, dict) or not isinstance(keys.get("keys"), list):
            raise TokenRefused(f"{self._url} answered no key set; correct ORGRAPH_OIDC_JWKS_URL")
        return keys


async def _bounded(content: aiohttp.StreamReader, url: str) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise TokenRefused(f"{url} answered more than {_MAX_BYTES:,} bytes; expected a key set")
    return bytes(body)

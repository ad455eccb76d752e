"""Whether each part of the service works: each is tried, none is believed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Part:
    """One part as just seen. `essential` means that without it the service is not ready."""

    name: str
    ok: bool
    essential: bool
    detail: str


Check = Callable[[], Awaitable[Sequence[Part]]]
"""Looks at a part (or several alike); raises when the part does not work."""


@dataclass(frozen=True, slots=True)
class Health:
    """The checks by the name of their part."""

    checks: tuple[tuple[str, Check], ...]

    async def parts(self) -> list[Part]:
        """Every part as it is now; a check that fails or hangs is a part that does not work."""
        found = await asyncio.gather(*(_look(name, check) for name, check in self.checks))
        return [part for parts in found for part in parts]


async def _look(name: str, check: Check) -> Sequence[Part]:
    try:
        async with asyncio.timeout(_LIMIT_S):
            return await check()
    except TimeoutError:
        return [Part(name, False, True, f"gave no answer in {_LIMIT_S:.0f} s")]
    except Exception as error:  # noqa: BLE001  whatever a part fails with is what is wrong with it
        return [Part(name, False, True, str(error) or type(error).__name__)]

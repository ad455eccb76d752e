"""What is kept of a reading is never from before a change, and no request waits for a renewal."""

from __future__ import annotations

import asyncio

import pytest

from context_manager.kept_readings import KeptReadings


class Source:
    """Says how often it was read, once it is let."""

    def __init__(self) -> None:
        self.reads = 0
        self.changes = 0
        self.open = asyncio.Event()
        self.open.set()
        self.fails = False
        self.kept = KeptReadings(self.read, lambda: self.changes)

    async def read(self, about: str) -> str:
        self.reads += 1
        said = f"{about} {self.reads}"
        await self.open.wait()
        if self.fails:
            raise ConnectionError(said)
        return said


@pytest.fixture
def source() -> Source:
    return Source()


async def test_who_asks_at_once_shares_a_reading_and_nobody_that_of_another(source: Source) -> None:
    source.open.clear()
    asked = [asyncio.create_task(source.kept.of(about)) for about in ("ada", "ada", "eve", "ada")]
    await asyncio.sleep(0)
    source.open.set()
    assert await asyncio.gather(*asked) == ["ada 1", "ada 1", "eve 2", "ada 1"]
    assert await source.kept.of("ada") == "ada 1"


async def test_a_change_is_seen_by_whoever_asks_after_it(source: Source) -> None:
    assert await source.kept.of("ada") == "ada 1"
    source.changes += 1
    assert await source.kept.of("ada") == "ada 2"
    source.open.clear()
    source.changes += 1
    first = asyncio.create_task(source.kept.of("ada"))
    await asyncio.sleep(0)
    source.changes += 1  # while it is read: whoever asks from now on has to read again
    second = asyncio.create_task(source.kept.of("ada"))
    await asyncio.sleep(0)
    source.open.set()
    assert (await first, await second) == ("ada 3", "ada 4")


async def test_a_renewal_goes_on_beside_the_requests_also_where_it_fails(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.kept = KeptReadings(source.read, lambda: source.changes, fresh_s=-1.0)
    assert await source.kept.of("ada") == "ada 1"
    source.open.clear()
    for _ in range(3):  # one renewal at a time, and nobody waits for it
        assert await source.kept.of("ada") == "ada 1"
        await asyncio.sleep(0)
    assert source.reads == 2
    source.fails = True
    source.open.set()
    for _ in range(5):
        assert await source.kept.of("ada") == "ada 1"
        await asyncio.sleep(0)
    assert source.reads > 3
    monkeypatch.setattr("context_manager.kept_readings._KEPT_S", 0.0)
    with pytest.raises(ConnectionError):
        await source.kept.of("ada")
    source.fails = False
    assert (await source.kept.of("ada")).startswith("ada ")

"""Fair shares by team: a newcomer always finds a slot, and who sends too much is told when to come back."""

import asyncio

import pytest

from inference.admission import Admission, Overloaded, Priority


class Holder:
    """Requests that hold their slots until they are let go."""

    def __init__(self, admission):
        self.admission, self.running, self.tasks = admission, [], []
        self.go = {}

    async def ask(self, team, priority=Priority.INTERACTIVE, name=None):
        name = name or team
        self.go[name] = asyncio.Event()
        task = asyncio.create_task(self._hold(team, priority, name))
        self.tasks.append(task)
        await asyncio.sleep(0)
        return task

    async def _hold(self, team, priority, name):
        async with self.admission.slot(team, priority):
            self.running.append(name)
            await self.go[name].wait()
            self.running.remove(name)

    async def let_go(self, name):
        self.go[name].set()
        for _ in range(4):
            await asyncio.sleep(0)


async def test_a_newcomer_runs_at_once_however_much_another_team_sends():
    held = Holder(Admission(slots=8))
    for i in range(50):
        await held.ask("greedy", name=f"greedy-{i}")
    assert len(held.running) == 4, "half: a share for one more team stays free"
    await held.ask("modest")
    assert "modest" in held.running


async def test_freed_slots_go_to_who_has_the_fewest_running():
    held = Holder(Admission(slots=2))
    await held.ask("a", name="a1")
    await held.ask("b", name="b1")
    await held.ask("a", name="a2")
    await held.ask("c", name="c1")
    assert held.running == ["a1", "b1"]
    await held.let_go("a1")
    assert sorted(held.running) == ["b1", "c1"] or sorted(held.running) == ["a2", "b1"]
    await held.let_go("b1")
    assert sorted(held.running) == ["a2", "c1"]


async def test_whoever_somebody_waits_for_comes_first_within_a_team():
    held = Holder(Admission(slots=2))
    await held.ask("a", name="first")
    await held.ask("a", Priority.BATCH, name="batch")
    await held.ask("a", name="person")
    await held.let_go("first")
    assert held.running == ["person"]


async def test_beyond_what_a_team_may_have_waiting_it_is_told_when_to_come_back():
    held = Holder(Admission(slots=2, waiting=(2, 4)))
    for i in range(3):
        await held.ask("a", name=f"a{i}")
    for i in range(4):
        await held.ask("a", Priority.BATCH, name=f"b{i}")
    with pytest.raises(Overloaded, match="2 requests of a wait already") as person:
        await (await held.ask("a"))
    with pytest.raises(Overloaded) as batch:
        await (await held.ask("a", Priority.BATCH))
    assert 1 <= person.value.retry_after < batch.value.retry_after
    await held.ask("b")
    assert "b" in held.running, "the others are not told so"


async def test_who_leaves_while_waiting_gives_its_place_up():
    held = Holder(Admission(slots=2))
    await held.ask("a", name="running")
    gone = await held.ask("a", name="gone")
    await held.ask("a", name="next")
    gone.cancel()
    await held.let_go("running")
    assert held.running == ["next"]


async def test_nobody_is_lost_and_no_slot_leaks_whoever_leaves_when():
    admission, done = Admission(slots=3), []

    async def one(i):
        async with admission.slot(f"team-{i % 4}", Priority(i % 2)):
            await asyncio.sleep(0.0005 * (i % 5))
        done.append(i)

    tasks = [asyncio.create_task(one(i)) for i in range(200)]
    await asyncio.sleep(0.001)
    for task in tasks[::3]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert set(range(200)) - set(done) <= set(range(0, 200, 3))
    assert (admission._running, dict(admission._teams)) == (0, {})


async def test_without_a_slot_nothing_could_ever_run():
    with pytest.raises(ValueError, match="slots is 0"):
        Admission(slots=0)

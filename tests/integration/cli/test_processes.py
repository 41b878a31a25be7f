"""Children under watch: real processes that die, hang, leave children behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from dispatcher.cli.processes import Child, Life, LifeEvent, Spec, Tiers
from dispatcher.cli.state import tail
from tests.commands import GUARD_S, gone


class Diary:
    """Remembers what was told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.events: list[LifeEvent] = []
        self._told = asyncio.Event()

    def __call__(self, event: LifeEvent) -> None:
        self.events.append(event)
        self._told.set()

    async def until(self, fits: Callable[[list[LifeEvent]], bool]) -> list[LifeEvent]:
        async with asyncio.timeout(GUARD_S):
            while not fits(self.events):
                self._told.clear()
                await self._told.wait()
        return self.events

    async def lives(self, life: Life, times: int = 1) -> LifeEvent:
        await self.until(lambda events: sum(event.life is life for event in events) >= times)
        return next(event for event in reversed(self.events) if event.life is life)


def shell(script: str, directory: Path, *, name: str = "it", grace_s: float = 5.0) -> Spec:
    return Spec(name=name, argv=lambda: ("sh", "-c", script), log_file=directory / f"{name}.log", grace_s=grace_s)


@asynccontextmanager
async def kept(*specs: Spec, diary: Diary, restart: bool = True) -> AsyncIterator[tuple[Tiers, list[Child]]]:
    """Children that wait for nothing between death and restart; each spec is a tier."""
    async with asyncio.TaskGroup() as tasks:
        tiers = Tiers(tasks)
        children = [Child(spec, tell=diary, restart=restart, wait_s=lambda _deaths: 0.0) for spec in specs]
        for child in children:
            tiers.start(child)
        try:
            yield tiers, children
        finally:
            await tiers.stop()


async def test_a_child_that_can_t_work_is_not_started_again(tmp_path: Path) -> None:
    """It says so by its exit status, and its last words are told once."""
    diary = Diary()
    async with kept(shell("echo no key; exit 78", tmp_path), diary=diary) as (_, [child]):
        died = await diary.lives(Life.DIED)
        await child.stop()

    assert (child.starts, died.log) == (1, ("no key",))
    assert "is not started again: mend that" in died.outlook


async def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    """SIGKILL, then a new process with another number."""
    diary = Diary()
    async with kept(shell("exec sleep 1000", tmp_path), diary=diary) as (_, [child]):
        await diary.lives(Life.RUNNING)
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await diary.lives(Life.RUNNING, times=2)

        assert child.pid not in {None, first}


async def test_the_news_of_a_death_hold_the_end_of_the_log(tmp_path: Path) -> None:
    """Whoever reads it knows why, without opening a file."""
    diary = Diary()
    async with kept(shell("echo starting; echo boom >&2; exit 3", tmp_path), diary=diary, restart=False):
        event = await diary.lives(Life.DIED)

        assert (
            event.name,
            event.detail,
            event.outlook,
            event.log,
        ) == ("it", "exit status 3", "is not started again (DROVER_RESTART)", ("starting", "boom"))


async def test_an_end_in_good_order_is_no_death(tmp_path: Path) -> None:
    """Somebody else asked it to stop and it did, with status 0: it is started again, and nothing counts up, however often."""
    diary = Diary()
    async with kept(shell("exit 0", tmp_path), diary=diary):
        event = await diary.lives(Life.ENDED, times=5)

    assert ({Life.DIED, Life.KEEPS_DYING} & {told.life for told in diary.events}, event.detail) == (
        set(),
        "in good order",
    )


async def test_a_child_that_keeps_dying_is_called_that(tmp_path: Path) -> None:
    """From the fourth death in a row on."""
    diary = Diary()
    async with kept(shell("exit 1", tmp_path), diary=diary):
        event = await diary.lives(Life.KEEPS_DYING)

    died = [told.life for told in diary.events[: diary.events.index(event)]].count(Life.DIED)
    assert (died, "4 times in a row" in event.detail) == (3, True)


async def test_a_program_that_is_missing_counts_as_a_death(tmp_path: Path) -> None:
    """It is told, and does not break the supervisor."""
    diary = Diary()
    missing = Spec(name="it", argv=lambda: (str(tmp_path / "nothing"),), log_file=tmp_path / "it.log")
    async with kept(missing, diary=diary, restart=False):
        event = await diary.lives(Life.DIED)

        assert event.detail.startswith("can't be started (No such file or directory)")


async def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    """Nobody holds up the end."""
    diary = Diary()
    script = "trap '' TERM; echo deaf; while :; do sleep 1000; done"
    async with kept(shell(script, tmp_path, grace_s=0.2), diary=diary) as (tiers, [child]):
        await diary.lives(Life.RUNNING)
        await _logged(tmp_path / "it.log", "deaf")
        assert child.pid is not None
        process = psutil.Process(child.pid)
        await tiers.stop()
        await gone(process)

    assert Life.STOPPED is diary.events[-1].life


async def test_what_a_child_started_dies_with_it(tmp_path: Path) -> None:
    """The whole process group goes, also when the child ends by itself."""
    diary = Diary()
    async with kept(shell("sleep 1000 & echo $!; wait", tmp_path), diary=diary) as (_, [child]):
        grandchild = psutil.Process(int(await _logged(tmp_path / "it.log", "")))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await gone(grandchild)


async def test_the_last_tier_stops_first(tmp_path: Path) -> None:
    """What others lean on goes after them."""
    diary = Diary()
    names = ("nats", "dispatcher", "agent")
    specs = [shell("exec sleep 1000", tmp_path, name=name) for name in names]
    async with kept(*specs, diary=diary):
        await diary.lives(Life.RUNNING, times=3)

    assert [event.name for event in diary.events if event.life is Life.STOPPED] == ["agent", "dispatcher", "nats"]


async def test_a_stop_does_not_wait_for_a_restart(tmp_path: Path) -> None:
    """A child that is between death and restart is over at once."""
    diary = Diary()
    async with asyncio.TaskGroup() as tasks:
        child = Child(shell("exit 1", tmp_path), tell=diary, wait_s=lambda _deaths: 1000.0)
        tasks.create_task(child.run())
        await diary.lives(Life.DIED)
        await child.stop()

    assert [event.life for event in diary.events] == [Life.STARTING, Life.RUNNING, Life.DIED, Life.STOPPED]


async def _logged(path: Path, text: str) -> str:
    async with asyncio.timeout(GUARD_S):
        while True:
            if found := [line for line in tail(path, 50) if text in line]:
                return found[0]
            await asyncio.sleep(0.01)

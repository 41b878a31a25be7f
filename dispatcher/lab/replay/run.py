"""Carries a replay out: a fleet is started, warmed up, asked at the recorded moments, and stopped, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic, time

from common.bus.nats import NatsBus, connect_nats
from common.bus.options import options_from
from common.client import Drover
from common.errors import FleetError, NoDevice
from common.messages import Heartbeat
from common.subjects import Subjects
from dispatcher.cli import board as boards
from dispatcher.cli.connect import ShellSettings
from dispatcher.fleet import canonical
from dispatcher.lab.bench.house import Simulated, house
from dispatcher.lab.bench.rows import BenchRow, Heard, answered, begun, failed
from dispatcher.lab.bench.target import over_nats
from dispatcher.lab.bench.warming import warm_up
from dispatcher.lab.replay.outcome import Lap, Played, metered
from dispatcher.lab.replay.plan import Arm, Due, Timetable, messages, request
from dispatcher.lab.replay.reckoning import Board

DRAIN_S = 180.0
"""Wall seconds that answers may take after the last job has arrived."""

HEARD_S = 20.0
"""All devices have sent a heartbeat by then: each sends one a second."""

Tell = Callable[[Sequence[BenchRow]], None]


async def play(arm: Arm, table: Timetable, speed: float, settings: ShellSettings, tell: Tell) -> Lap:
    """Replay all jobs on a fleet of its own. Raises `ConfigError` when it does not come up."""
    wanted = Simulated(devices=arm.devices, time_factor=speed)
    began_s = monotonic()
    async with house(wanted) as addresses:
        async with over_nats(settings, addresses.nats_url) as target:
            await warm_up(target)
        async with _connected(settings, addresses.nats_url) as bus:
            beats = await _heard(bus, Subjects(settings.bus.prefix), arm.devices.count(",") + 1)
            async with _producers(bus, settings, table) as producers:
                played = await _Lap(arm, speed, producers, beats, tell).run(table)
    return metered(
        Lap(
            arm=arm,
            played=tuple(sorted(played, key=lambda one: one.due.number)),
            unfinished=len(table.due) - len(played),
            boards=_boards(beats),
            models=_models(beats),
            devices=frozenset(beat.device for beat in beats),
            simulated=all(beat.simulated for beat in beats),
            wall_s=monotonic() - began_s,
        )
    )


class _Lap:
    """One run over the timetable."""

    def __init__(
        self, arm: Arm, speed: float, producers: Mapping[str, Drover], beats: Sequence[Heartbeat], tell: Tell
    ) -> None:
        self._arm = arm
        self._speed = speed
        self._producers = producers
        self._models = _models(beats)
        self._devices = frozenset(beat.device for beat in beats)
        self._tell = tell
        self._played: list[Played] = []
        self._start_s = 0.0
        self._epoch_s = time() - monotonic()

    async def run(self, table: Timetable) -> list[Played]:
        """Ask everything when it is due; what has no answer in time is given up."""
        self._start_s = monotonic()
        try:
            async with asyncio.timeout(table.span_s / self._speed + DRAIN_S), asyncio.TaskGroup() as tasks:
                for due in table.due:
                    await asyncio.sleep(max(0.0, self._due_s(due) - monotonic()))
                    tasks.create_task(self._ask(due))
        except TimeoutError:
            pass  # what is missing is counted
        return self._played

    def _due_s(self, due: Due) -> float:
        return self._start_s + due.at_s / self._speed

    async def _ask(self, due: Due) -> None:
        """Put one job; the clock runs from when it was due, since whoever asked would have waited."""
        due_s, now_s = self._due_s(due), monotonic()
        row = BenchRow(strategy=self._arm.name, query_id=due.job.name, time_factor=self._speed)
        row = begun(row, lag_s=now_s - due_s, unix_s=self._epoch_s + now_s)
        try:
            answer = await self._producers[due.job.tenant].ask(
                messages(due), **request(due, self._arm, self._models, self._devices)
            )
        except FleetError as error:
            row = failed(row, error, monotonic() - due_s)
        else:
            heard = Heard(
                text="",
                finish=answer.finish,
                prompt_tokens=answer.usage.prompt_tokens,
                completion_tokens=answer.usage.completion_tokens,
                route=answer.route,
                why={},
            )
            row = answered(row, heard, monotonic() - due_s)
        self._played.append(Played(due=due, row=row, ended_s=(monotonic() - self._start_s) * self._speed))
        self._tell([row])


@asynccontextmanager
async def _connected(settings: ShellSettings, url: str) -> AsyncIterator[NatsBus]:
    section = settings.bus.model_copy(update={"url": url})
    async with connect_nats(options_from(section, name="drover-replay")) as bus:
        yield bus


@asynccontextmanager
async def _producers(bus: NatsBus, settings: ShellSettings, table: Timetable) -> AsyncIterator[Mapping[str, Drover]]:
    """Give a producer for each tenant, so that their shares of the fleet are what they were."""
    async with AsyncExitStack() as doors:
        yield {
            tenant: await doors.enter_async_context(Drover.over(bus, tenant=tenant, prefix=settings.bus.prefix))
            for tenant in sorted({due.job.tenant for due in table.due})
        }


async def _heard(bus: NatsBus, subjects: Subjects, count: int) -> list[Heartbeat]:
    """Listen until each device has told of itself. Raises `NoDevice`."""
    board = boards.Board()
    news = asyncio.Event()
    board.on_change(lambda _: news.set())
    async with boards.follow(bus, board, subjects):
        try:
            async with asyncio.timeout(HEARD_S):
                while len(board.beats()) < count:
                    news.clear()
                    await news.wait()
        except TimeoutError:
            raise NoDevice(f"of {count} simulated devices {len(board.beats())} sent a heartbeat: try again") from None
    return board.beats()


def _boards(beats: Sequence[Heartbeat]) -> dict[str, Board]:
    return {
        beat.device: Board(idle_w=beat.idle_w, busy_w=beat.busy_w)
        for beat in beats
        if beat.idle_w is not None and beat.busy_w is not None
    }


def _models(beats: Sequence[Heartbeat]) -> frozenset[str]:
    return frozenset(canonical(model.name) for beat in beats for model in beat.models)

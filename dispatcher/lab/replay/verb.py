"""`drover lab replay`: records in, a table and files out; it sees to it that every fleet it starts is stopped."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from common import codec
from common.errors import BadRequest, ConfigError
from dispatcher.cli.batch_view import LOG_WIDTH
from dispatcher.cli.connect import shell_settings
from dispatcher.cli.running import say
from dispatcher.lab.bench.view import progress
from dispatcher.lab.replay import plan
from dispatcher.lab.replay.caveats import notes, of_idle, of_records
from dispatcher.lab.replay.files import figures, write
from dispatcher.lab.replay.outcome import Lap, Price, happened, outcome, price_of
from dispatcher.lab.replay.records import Choice, chosen, sped
from dispatcher.lab.replay.run import play
from dispatcher.lab.replay.source import Wanted, records
from dispatcher.lab.replay.view import table


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the command line asks for. `recorded_speed` is how much faster than life the fleet ran that the records are of."""

    wanted: Wanted
    fleets: tuple[str, ...]
    strategies: tuple[str, ...] = ()
    speed: float = 20.0
    recorded_speed: float = 1.0
    limit: int = 200
    price: Price | None = None
    out: Path | None = None
    plot: bool = False
    as_json: bool = False


async def replay(order: Order) -> int:
    """Re-run the jobs on each fleet with each strategy; gives 1 when a job got no answer.

    Raises `FleetError` for what can't be replayed: no records, no such board, a time compressed too far.
    """
    if order.plot and find_spec("matplotlib") is None:
        raise ConfigError("--plot needs matplotlib: install the extra lab of Drover's wheel")
    arms = plan.arms(order.fleets, order.strategies)
    settings = shell_settings()
    choice = chosen(
        sped(await records(order.wanted, settings, limit=order.limit), order.recorded_speed), limit=order.limit
    )
    if not choice.jobs:
        left = "; ".join(f"{count} {reason}" for reason, count in choice.left_out)
        raise BadRequest(f"there is no record that can be replayed{f': {left}' if left else ''}")
    timetable = plan.timetable(choice.jobs)
    plan.require_sane(timetable, order.speed)
    say(_announced(choice, timetable, arms, order))
    laps: list[Lap] = []
    with progress(len(choice.jobs) * len(arms), 0) as tell:
        for arm in arms:
            laps += [await play(arm, timetable, order.speed, settings, tell)]
    return _told(order, choice, timetable, laps)


def _announced(choice: Choice, timetable: plan.Timetable, arms: Sequence[plan.Arm], order: Order) -> str:
    lap_s = timetable.span_s / order.speed
    return (
        f"{len(choice.jobs)} jobs of {timetable.span_s / 60:.0f} minutes, {order.speed:g} times faster than life: "
        f"{len(arms)} runs of {lap_s:.0f} s and what starting a fleet takes, each on a simulated fleet of its own"
    )


def _told(order: Order, choice: Choice, timetable: plan.Timetable, laps: Sequence[Lap]) -> int:
    price = order.price or price_of(choice.jobs)
    outcomes = [happened(choice.jobs), *(outcome(lap, price) for lap in laps)]
    said = [
        *notes(laps, timetable, choice.left_out, order.speed),
        *of_records(choice.jobs, order.recorded_speed),
        *of_idle(outcomes, timetable.recorded_s),
    ]
    told = figures(outcomes, said)
    if order.as_json:
        sys.stdout.write(f"{codec.encode_pretty(told)}\n")
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
        console.print(table(outcomes, said, console.width))
    if order.out is not None:
        settings = {
            "fleets": "; ".join(order.fleets),
            "speed": f"{order.speed:g} times faster than life",
            "recorded span": f"{timetable.recorded_s / 60:.0f} minutes",
        }
        files = write(order.out, told, laps, outcomes, choice.jobs, plot=order.plot, settings=settings)
        say(f"written: {', '.join(str(path) for path in files)}")
    return 0 if all(one.answered == one.jobs for one in outcomes) else 1

"""From the words of the command line to an order, and to an exit status; what the words are, the command line knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.errors import BadRequest, FleetError
from dispatcher.cli import running
from dispatcher.lab.bench import order as orders
from dispatcher.lab.bench import plan as plans
from dispatcher.lab.bench import sets
from dispatcher.lab.bench.house import Simulated
from dispatcher.lab.bench.surroundings import require_settings
from dispatcher.lab.bench.verb import bench

TIME_FACTOR = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The options of `drover bench`, as they were given."""

    query_set: list[str]
    strategies: list[str]
    thresholds: list[str]
    cache_modes: list[str]
    output_csv: Path | None
    output_per_query_csv: Path | None
    url: str | None
    devices: str
    settings: list[str]
    time_factor: float | None
    concurrency: int
    arrival: str
    rate: float | None
    repeat: int
    seed: int
    limit: int | None
    max_tokens: int | None
    timeout_s: float | None
    warm_up: bool | None
    fresh: bool
    report: bool


def carry_out(given: Given) -> int:
    """Measure what is asked for; gives the exit status, with a line about what is wrong."""
    try:
        order = ordered(given)
    except FleetError as error:
        return running.fail(error)
    return running.run(bench(order))


def ordered(given: Given) -> orders.BenchOrder:
    """Give the order. Raises `BadRequest` for what there is not, or what does not belong together."""
    if given.url is not None and given.settings:
        raise BadRequest("--setting belongs to a simulated fleet: one behind --url has its own")
    return orders.BenchOrder(
        plan=_plan(given),
        outputs=orders.outputs(given.query_set, given.output_csv, given.output_per_query_csv, report=given.report),
        simulated=Simulated(
            devices=given.devices,
            time_factor=given.time_factor or (TIME_FACTOR if given.url is None else 1.0),
            settings=require_settings(given.settings),
        ),
        url=None if given.url is None else orders.require_url(given.url),
        fresh=given.fresh,
        warm_up=given.url is None if given.warm_up is None else given.warm_up,
    )


def _plan(given: Given) -> plans.BenchPlan:
    load = plans.Load(arrival=plans.Arrival(given.arrival), concurrency=given.concurrency, rate=given.rate)
    return plans.BenchPlan(
        arms=plans.arms(given.strategies, given.thresholds, plans.cache_modes(given.cache_modes)),
        asked=sets.load(given.query_set, given.limit),
        load=plans.require_load(load),
        repeat=given.repeat,
        seed=given.seed,
        max_tokens=given.max_tokens,
        timeout_s=given.timeout_s,
    )

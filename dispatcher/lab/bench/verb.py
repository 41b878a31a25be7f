"""`drover bench`: an order in, files out; it opens the fleet, has it measured, and sees to it that nothing is lost on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from importlib.util import find_spec
from time import monotonic
from urllib.parse import urlsplit

from common.errors import BusError, CapacityError, ConfigError, FleetError, GarbledReply
from dispatcher.cli.connect import ShellSettings, shell_settings
from dispatcher.cli.running import say
from dispatcher.lab.bench.house import house, require_devices
from dispatcher.lab.bench.http_target import over_http
from dispatcher.lab.bench.order import BenchOrder, of_this, settings_of, shown
from dispatcher.lab.bench.report import write
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.run import Bench
from dispatcher.lab.bench.store import BenchStore, open_store
from dispatcher.lab.bench.target import Target, over_nats
from dispatcher.lab.bench.view import progress


async def bench(order: BenchOrder) -> int:
    """Measure what is not in the per-query CSV yet; write all files, also when interrupted. Gives 1 when a question got no answer.

    Raises `FleetError` for what can't be measured: wrong settings, no fleet.
    """
    _require_means(order)
    settings = shell_settings()
    for note in order.notes:
        say(note)
    with open_store(order.outputs.per_query, settings_of(order), fresh=order.fresh) as store:
        wanted, done = order.plan.total, len(of_this(order, store.rows))
        if done:
            say(
                f"{done} of {wanted} are in {store.path} already"
                + (": --fresh measures anew" if done >= wanted else "")
            )
        began_s, warnings = monotonic(), list[str]()

        def warn(words: str) -> None:
            say(words)
            warnings.append(words)

        try:
            if done < wanted:
                await _measure(order, settings, store, done, warn)
        finally:
            if store.rows:
                told = replace(order, notes=(*order.notes, *warnings))
                write(told, store.rows, took_s=monotonic() - began_s)
        mine = of_this(order, store.rows)
    return 0 if len(mine) == wanted and all(row.success for row in mine) else 1


def _require_means(order: BenchOrder) -> None:
    """Raise `ConfigError` for what would be missed only after all was measured."""
    if order.url is None:
        require_devices(order.simulated)
    if order.outputs.report is not None and find_spec("matplotlib") is None:
        raise ConfigError("the report needs matplotlib: install the extra lab of Drover's wheel, or give --no-report")


async def _measure(
    order: BenchOrder, settings: ShellSettings, store: BenchStore, done: int, warn: Callable[[str], None]
) -> None:
    async with _target(order, settings) as target:
        report = progress(order.plan.total, done)

        def tell(rows: Sequence[BenchRow]) -> None:
            store.add(rows)
            draw(rows)

        measuring = Bench(
            plan=order.plan,
            target=target,
            time_factor=order.time_factor,
            tell=tell,
            warm_up=order.warm_up,
            warn=warn,
        )
        if order.warm_up:
            say("before each strategy each model on each device answers once")
        with report as draw:
            await measuring.run(store.known)


@asynccontextmanager
async def _target(order: BenchOrder, settings: ShellSettings) -> AsyncIterator[Target]:
    """Open the fleet. Raises `FleetError` with the way out when nobody is there, before anything is measured."""
    async with AsyncExitStack() as doors:
        try:
            target = await doors.enter_async_context(_door(order, settings))
            told = await target.explain("least_loaded")
        except (BusError, CapacityError, GarbledReply) as error:
            if order.url is None:
                raise
            raise type(error)(
                f"no fleet answers at --url {shown(order.url)}: give the nats:// or http:// address of one that runs, "
                f"or leave --url out and a simulated one is started ({error.message})"
            ) from error
        if "error" in told:
            raise FleetError(f"the fleet can't answer: {told['error'].get('message')}")
        yield target


@asynccontextmanager
async def _door(order: BenchOrder, settings: ShellSettings) -> AsyncIterator[Target]:
    if order.url is None:
        say(f"starting a simulated fleet ({order.simulated.devices}), {order.time_factor:g} times faster than life")
        async with house(order.simulated) as addresses, over_nats(settings, addresses.nats_url) as target:
            yield target
    elif urlsplit(order.url).scheme in {"http", "https"}:
        async with over_http(order.url) as target:
            yield target
    else:
        async with over_nats(settings, order.url) as target:
            yield target

"""The command line of `drover bench`: options in, an order out; every verb of `drover` loads this module, so it imports little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

STRATEGIES = ["token", "heuristic", "semantic", "hybrid", "perf"]
THRESHOLDS = ["100", "500", "1000", "2000"]


class ListCommand(TyperCommand):
    """A command whose repeatable options also take several words at once: `--thresholds 100 500 1000`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its words; called by click."""
        lists = {name for param in self.params if getattr(param, "multiple", False) for name in param.opts}
        return list(super().parse_args(ctx, list(repeated(args, lists))))


def repeated(words: Sequence[str], lists: set[str]) -> Iterator[str]:
    """Give the words, with an option of `lists` repeated before each word that belongs to it: all up to the next option."""
    option, first = "", False
    for word in words:
        if word.startswith("-") and len(word) > 1:
            option, first = word if word in lists else "", True
        elif option:
            if not first:
                yield option
            first = False
        yield word


def bench(
    *,
    query_set: Annotated[
        list[str] | None,
        typer.Option(
            "--query-set",
            "-q",
            help="files as `drover ask --file` takes them, sets that come with Drover by name, or all",
            show_default="mixed",
        ),
    ] = None,
    strategies: Annotated[
        list[str] | None,
        typer.Option(
            "--strategies", help="names, with variants such as energy:eco, or all", show_default=" ".join(STRATEGIES)
        ),
    ] = None,
    thresholds: Annotated[
        list[str] | None,
        typer.Option("--thresholds", help="tokens; token runs once for each", show_default=" ".join(THRESHOLDS)),
    ] = None,
    cache_modes: Annotated[
        list[str] | None, typer.Option("--cache-modes", help="off, on: answers from a cache", show_default="off")
    ] = None,
    output_csv: Annotated[
        Path | None,
        typer.Option(
            "--output-csv", help="a line for each strategy; the report goes beside it", show_default="in results/"
        ),
    ] = None,
    output_per_query_csv: Annotated[
        Path | None,
        typer.Option("--output-per-query-csv", help="a line for each question", show_default="beside the other"),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", help="a running fleet: nats://… or its bridge, http://…", show_default="a simulated one is started"
        ),
    ] = None,
    devices: Annotated[
        str, typer.Option("--devices", help="without --url: what to simulate, as DROVER_DEVICES has it")
    ] = "nano,orin,pi5",
    time_factor: Annotated[
        float, typer.Option("--time-factor", min=0.1, max=1000, help="without --url: how much faster than life")
    ] = 20.0,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, max=1000, help="conversations at once, if closed")
    ] = 2,
    arrival: Annotated[
        Literal["closed", "poisson"],
        typer.Option("--arrival", help="closed: always so many under way; poisson: they begin at random moments"),
    ] = "closed",
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.0001, max=10_000, help="with poisson: conversations a second")
    ] = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, max=1000, help="everything so often")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="order, arrivals, sampling, intervals")] = 0,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="so many conversations of each set, spread over it")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, help="length of an answer, at most")] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0.001, help="seconds until a question is given up")
    ] = None,
    warm_up: Annotated[
        bool | None,
        typer.Option("--warm-up/--no-warm-up", help="first have each model answer once", show_default="without --url"),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="measure anew what the per-query CSV has, or go on where it ends")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="draw the HTML page; needs matplotlib, of the extra lab")
    ] = True,
) -> None:
    """Ask a fleet the same questions under each routing strategy, and compare: latency, tokens, joules, cost, success.

    Ctrl-C keeps what is done, and the same command goes on there.
    """
    from common.errors import FleetError  # noqa: PLC0415  # see the module
    from dispatcher.cli import running  # noqa: PLC0415  # as above
    from dispatcher.lab.bench import order as orders  # noqa: PLC0415  # as above
    from dispatcher.lab.bench import plan as plans  # noqa: PLC0415  # as above
    from dispatcher.lab.bench import sets, verb  # noqa: PLC0415  # as above
    from dispatcher.lab.bench.house import Simulated  # noqa: PLC0415  # as above

    wanted_sets = query_set or ["mixed"]

    def order() -> orders.BenchOrder:
        modes, note = plans.cache_modes(cache_modes or ["off"])
        plan = plans.BenchPlan(
            arms=plans.arms(strategies or STRATEGIES, thresholds or THRESHOLDS, modes),
            asked=sets.load(wanted_sets, limit),
            load=plans.require_load(plans.Load(arrival=plans.Arrival(arrival), concurrency=concurrency, rate=rate)),
            repeat=repeat,
            seed=seed,
            max_tokens=max_tokens,
            timeout_s=timeout_s,
        )
        return orders.BenchOrder(
            plan=plan,
            outputs=orders.outputs(wanted_sets, output_csv, output_per_query_csv, report=report),
            simulated=Simulated(devices=devices, time_factor=time_factor),
            url=None if url is None else orders.require_url(url),
            fresh=fresh,
            warm_up=url is None if warm_up is None else warm_up,
            notes=(note,) if note else (),
        )

    try:
        wanted = order()
    except FleetError as error:
        raise typer.Exit(running.fail(error)) from error
    raise typer.Exit(running.run(verb.bench(wanted)))

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


_QuerySet = Annotated[
    list[str] | None,
    typer.Option(
        "--query-set",
        "-q",
        help="files as `drover ask --file` takes them, sets that come with Drover by name, or all",
        show_default="mixed",
    ),
]
_Strategies = Annotated[
    list[str] | None,
    typer.Option(
        "--strategies", help="names, with variants such as energy:eco, or all", show_default=" ".join(STRATEGIES)
    ),
]
_Thresholds = Annotated[
    list[str] | None,
    typer.Option("--thresholds", help="tokens; token runs once for each", show_default=" ".join(THRESHOLDS)),
]
_CacheModes = Annotated[
    list[str] | None,
    typer.Option(
        "--cache-modes",
        help="off: every answer is a device's; on: all that the fleet's cache has, exact and by likeness (`cache` semantic), "
        "empty when a repeat begins",
        show_default="off",
    ),
]
_OutputCsv = Annotated[
    Path | None,
    typer.Option(
        "--output-csv", help="a line for each strategy; the report goes beside it", show_default="in results/"
    ),
]
_OutputPerQueryCsv = Annotated[
    Path | None,
    typer.Option("--output-per-query-csv", help="a line for each question", show_default="beside the other"),
]
_Url = Annotated[
    str | None,
    typer.Option(
        "--url", help="a running fleet: nats://… or its bridge, http://…", show_default="a simulated one is started"
    ),
]
_Devices = Annotated[str, typer.Option("--devices", help="without --url: what to simulate, as DROVER_DEVICES has it")]
_Setting = Annotated[
    list[str] | None,
    typer.Option("--setting", help="without --url: NAME=VALUE for the simulated fleet, which has the defaults else"),
]
_TimeFactor = Annotated[
    float | None,
    typer.Option(
        "--time-factor",
        min=0.1,
        max=1000,
        help="how much faster than life the fleet is, also one behind --url",
        show_default="20; 1 with --url",
    ),
]
_Concurrency = Annotated[
    int, typer.Option("--concurrency", "-c", min=1, max=1000, help="conversations at once, if closed")
]
_Arrival = Annotated[
    Literal["closed", "poisson"],
    typer.Option("--arrival", help="closed: always so many under way; poisson: they begin at random moments"),
]
_Rate = Annotated[
    float | None, typer.Option("--rate", min=0.0001, max=10_000, help="with poisson: conversations a second")
]
_Repeat = Annotated[int, typer.Option("--repeat", min=1, max=1000, help="everything so often")]
_Seed = Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="order, arrivals, sampling, intervals")]
_Limit = Annotated[int | None, typer.Option("--limit", min=1, help="so many conversations of each set, spread over it")]
_MaxTokens = Annotated[int | None, typer.Option("--max-tokens", min=1, help="length of an answer, at most")]
_TimeoutS = Annotated[float | None, typer.Option("--timeout", min=0.001, help="seconds until a question is given up")]
_WarmUp = Annotated[
    bool | None,
    typer.Option("--warm-up/--no-warm-up", help="first have each model answer once", show_default="without --url"),
]
_Fresh = Annotated[
    bool, typer.Option("--fresh/--resume", help="measure anew what the per-query CSV has, or go on where it ends")
]
_Report = Annotated[
    bool, typer.Option("--report/--no-report", help="draw the HTML page; needs matplotlib, of the extra lab")
]


def bench(
    *,
    query_set: _QuerySet = None,
    strategies: _Strategies = None,
    thresholds: _Thresholds = None,
    cache_modes: _CacheModes = None,
    output_csv: _OutputCsv = None,
    output_per_query_csv: _OutputPerQueryCsv = None,
    url: _Url = None,
    devices: _Devices = "nano,orin,pi5",
    setting: _Setting = None,
    time_factor: _TimeFactor = None,
    concurrency: _Concurrency = 2,
    arrival: _Arrival = "closed",
    rate: _Rate = None,
    repeat: _Repeat = 1,
    seed: _Seed = 0,
    limit: _Limit = None,
    max_tokens: _MaxTokens = None,
    timeout_s: _TimeoutS = None,
    warm_up: _WarmUp = None,
    fresh: _Fresh = False,
    report: _Report = True,
) -> None:
    """Ask a fleet the same questions under each routing strategy, and compare: latency, tokens, joules, cost, success.

    Ctrl-C keeps what is done, and the same command goes on there.
    """
    from dispatcher.lab.bench.wanted import Given, carry_out  # noqa: PLC0415  # see the module

    given = Given(
        query_set=query_set or ["mixed"],
        strategies=strategies or STRATEGIES,
        thresholds=thresholds or THRESHOLDS,
        cache_modes=cache_modes or ["off"],
        output_csv=output_csv,
        output_per_query_csv=output_per_query_csv,
        url=url,
        devices=devices,
        settings=setting or [],
        time_factor=time_factor,
        concurrency=concurrency,
        arrival=arrival,
        rate=rate,
        repeat=repeat,
        seed=seed,
        limit=limit,
        max_tokens=max_tokens,
        timeout_s=timeout_s,
        warm_up=warm_up,
        fresh=fresh,
        report=report,
    )
    raise typer.Exit(carry_out(given))

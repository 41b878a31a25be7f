"""`drover bench`: settings in, files out; what it measures and how stands in the modules beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

from common.errors import BadRequest, BusError, CapacityError, ConfigError, FleetError, GarbledReply
from dispatcher.cli.connect import ShellSettings, shell_settings
from dispatcher.cli.running import say
from dispatcher.lab.bench.house import Simulated, house, require_devices
from dispatcher.lab.bench.http_target import over_http
from dispatcher.lab.bench.page import groups, page
from dispatcher.lab.bench.plan import Arrival, Plan, fingerprint
from dispatcher.lab.bench.rows import Row
from dispatcher.lab.bench.run import Bench
from dispatcher.lab.bench.store import Store
from dispatcher.lab.bench.summary import Summary, summarise, to_csv
from dispatcher.lab.bench.target import Target, over_nats
from dispatcher.lab.bench.view import print_table, progress

RESULTS = Path("results")

_ABOUT_PREDICTION = (
    "Seconds from the dispatcher's door to the end, as predicted by the decision and as it came. A prediction reckons with an "
    "answer of ordinary length."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where the files go."""

    summary: Path
    per_query: Path
    report: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the command line asks for. Without a `url` a simulated fleet is started for it."""

    plan: Plan
    outputs: Outputs
    simulated: Simulated
    url: str | None = None
    fresh: bool = False
    warm_up: bool = True
    notes: tuple[str, ...] = ()

    @property
    def time_factor(self) -> float:
        return self.simulated.time_factor if self.url is None else 1.0


def outputs(sets: Sequence[str], summary: Path | None, per_query: Path | None, *, report: bool) -> Outputs:
    """Give the files: those asked for, the others beside them under the names of the query sets."""
    stem = "bench-" + "-".join(Path(name).stem for name in sets)[:80]
    first = summary or (per_query.with_name(f"{per_query.stem}-summary.csv") if per_query else RESULTS / f"{stem}.csv")
    rows = per_query or first.with_name(f"{first.stem}-queries.csv")
    if first == rows:
        raise BadRequest("--output-csv and --output-per-query-csv name the same file: give two")
    return Outputs(summary=first, per_query=rows, report=first.with_suffix(".html") if report else None)


async def bench(order: Order) -> int:
    """Measure what is not in the per-query CSV yet; write all files, also when interrupted. Gives 1 when a question got no answer.

    Raises `FleetError` for what can't be measured: wrong settings, no fleet.
    """
    _require_means(order)
    settings = shell_settings()
    store = Store(order.outputs.per_query, _fingerprint(order), fresh=order.fresh)
    wanted, done = order.plan.total, len(_of_this(order, store.rows))
    for note in order.notes:
        say(note)
    if done:
        say(f"{done} of {wanted} are in {store.path} already" + (": --fresh measures anew" if done >= wanted else ""))
    began_s = monotonic()
    try:
        if done < wanted:
            with store:
                await _measure(order, settings, store, done)
    finally:
        if store.rows:
            _write(order, store.rows, took_s=monotonic() - began_s)
    mine = _of_this(order, store.rows)
    return 0 if len(mine) == wanted and all(row.success for row in mine) else 1


def _require_means(order: Order) -> None:
    """Raise `ConfigError` for what would be missed only after all was measured."""
    if order.url is None:
        require_devices(order.simulated)
    if order.outputs.report is not None and find_spec("matplotlib") is None:
        raise ConfigError("the report needs matplotlib: install the extra lab, or give --no-report")


def _of_this(order: Order, rows: Sequence[Row]) -> list[Row]:
    """Give the rows that this command asks for: a file may have those of other strategies, too."""
    return [row for row in rows if row.arm in order.plan.arms and row.repeat <= order.plan.repeat]


async def _measure(order: Order, settings: ShellSettings, store: Store, done: int) -> None:
    async with _target(order, settings) as target:
        report = progress(order.plan.total, done)

        def tell(rows: Sequence[Row]) -> None:
            store.add(rows)
            shown(rows)

        measuring = Bench(plan=order.plan, target=target, time_factor=order.time_factor, tell=tell)
        if order.warm_up:
            say(f"warmed up: {await measuring.warm_up()} models on their devices have answered once")
        with report as shown:
            await measuring.run(store.known)


@asynccontextmanager
async def _target(order: Order, settings: ShellSettings) -> AsyncIterator[Target]:
    """Open the fleet. Raises `FleetError` with the way out when nobody is there, before anything is measured."""
    async with AsyncExitStack() as doors:
        try:
            target = await doors.enter_async_context(_door(order, settings))
            told = await target.explain("least_loaded")
        except (BusError, CapacityError, GarbledReply) as error:
            if order.url is None:
                raise
            raise type(error)(
                f"no fleet answers at --url {_shown(order.url)}: give the nats:// or http:// address of one that runs, "
                f"or leave --url out and a simulated one is started ({error.message})"
            ) from error
        if "error" in told:
            raise FleetError(f"the fleet can't answer: {told['error'].get('message')}")
        yield target


@asynccontextmanager
async def _door(order: Order, settings: ShellSettings) -> AsyncIterator[Target]:
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


def require_url(url: str) -> str:
    """Give the address back. Raises `BadRequest` for one of another kind."""
    first = urlsplit(url.split(",", maxsplit=1)[0])
    if first.scheme not in {"nats", "tls", "http", "https"} or not first.hostname:
        raise BadRequest(f"--url {url[:80]!r} is no address of a fleet: write nats://host:4222 or http://host:8080")
    return url


def _fingerprint(order: Order) -> Mapping[str, object]:
    where: dict[str, object] = {
        "url": "simulated" if order.url is None else _shown(order.url),
        "time_factor": order.time_factor,
    }
    if order.url is None:
        where["devices"] = order.simulated.devices
    return fingerprint(order.plan, where)


def _write(order: Order, rows: Sequence[Row], *, took_s: float) -> None:
    summaries = summarise(rows, order.plan.arms, seed=order.plan.seed)
    out = order.outputs
    out.summary.parent.mkdir(parents=True, exist_ok=True)
    out.summary.write_text(to_csv(summaries), encoding="utf-8")
    print_table(summaries)
    say(f"{len(rows)} rows in {out.per_query}, {len(summaries)} strategies in {out.summary}")
    if out.report is not None:
        text = _report(order, rows, summaries, took_s=took_s)
        out.report.write_text(text, encoding="utf-8")
        say(f"report: {out.report}")


def _report(order: Order, rows: Sequence[Row], summaries: Sequence[Summary], *, took_s: float) -> str:
    from dispatcher.lab.bench import plots  # noqa: PLC0415  # matplotlib takes a second, and not everybody has it

    found = groups(rows, order.plan.arms)
    points = {
        one.strategy: (one.latency_mean_s, one.energy_per_answer_j)
        for one in summaries
        if one.latency_mean_s is not None and one.energy_per_answer_j is not None
    }
    figures = [
        ("Latency", "Which share of the answers was there after so many seconds; the producer's clock.", plots.latency(found)),
        ("Seconds and joules", "Down and to the left is better. Nothing here says how good the answers are.", plots.trade(points)),
        ("Who answered", "The share of each device.", plots.placed(found, by="device")),
        ("Which models", "The share of each model.", plots.placed(found, by="model")),
        (
            "Predicted and actual",
            _ABOUT_PREDICTION,
            plots.prediction(found),
        ),
    ]  # fmt: skip
    return page("Drover bench", summaries, figures, _facts(order, rows, took_s), _notes(order, rows, summaries))


def _notes(order: Order, rows: Sequence[Row], summaries: Sequence[Summary]) -> list[str]:
    notes = list(order.notes)
    if any(row.simulated for row in rows):
        notes.append(
            "The devices are simulated: their speeds and watts are those of profiles, and their answers are filler text."
            + (
                f" Time ran {order.time_factor:g} times faster than life, and all is told as in life; what Drover itself "
                "takes, some milliseconds a question, is magnified by as much."
                if order.time_factor != 1.0
                else ""
            )
        )
    if any(one.energy == "estimated" for one in summaries):
        notes.append(
            "Joules are estimated: the watts that the decision reckons with, times the seconds that the device worked."
        )
    if (done := len(_of_this(order, rows))) < order.plan.total:
        notes.append(f"This is a part: {done} of {order.plan.total} questions. The same command goes on.")
    notes += [f"{one.strategy} lacked something: {one.lacks}" for one in summaries if one.lacks]
    return notes


def _facts(order: Order, rows: Sequence[Row], took_s: float) -> dict[str, str]:
    plan = order.plan
    sets = ", ".join(dict.fromkeys(one.query_set for one in plan.asked))
    arrival = (
        f"{plan.load.concurrency} conversations at a time"
        if plan.load.arrival is Arrival.CLOSED
        else f"conversations begin at random, {plan.load.rate:g} a second of the fleet's time"
    )
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Drover": version("drover"),
        "fleet": f"simulated: {order.simulated.devices}" if order.url is None else _shown(order.url),
        "query sets": f"{sets}: {len(plan.asked)} conversations, {plan.questions} questions",
        "load": arrival,
        "repeats": str(plan.repeat),
        "seed": str(plan.seed),
        "most tokens an answer": "as the fleet has it" if plan.max_tokens is None else str(plan.max_tokens),
        "rows": f"{len(rows)}, of which {sum(row.success for row in rows)} answered",
        "took": f"{took_s:.0f} s in this run",
    }


def _shown(urls: str) -> str:
    """Name an address without its credentials."""
    parts = [urlsplit(url) for url in urls.split(",")]
    return ",".join(f"{part.scheme}://{part.hostname}{f':{part.port}' if part.port else ''}" for part in parts)

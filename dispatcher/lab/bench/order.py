"""What the command line asks for, as a value: the plan, the fleet, the files; nothing is done here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from common.errors import BadRequest
from dispatcher.lab.bench.house import Simulated
from dispatcher.lab.bench.plan import BenchPlan, fingerprint
from dispatcher.lab.bench.rows import BenchRow
from dispatcher.lab.bench.surroundings import told

RESULTS = Path("results")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where the files go."""

    summary: Path
    per_query: Path
    report: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOrder:
    """What the command line asks for. Without a `url` a simulated fleet is started for it."""

    plan: BenchPlan
    outputs: Outputs
    simulated: Simulated
    url: str | None = None
    fresh: bool = False
    warm_up: bool = True
    notes: tuple[str, ...] = ()

    @property
    def time_factor(self) -> float:
        """How much faster than life the fleet is, its own or the one that runs."""
        return self.simulated.time_factor


def outputs(sets: Sequence[str], summary: Path | None, per_query: Path | None, *, report: bool) -> Outputs:
    """Give the files: those asked for, the others beside them under the names of the query sets."""
    stem = "bench-" + "-".join(Path(name).stem for name in sets)[:80]
    first = summary or (per_query.with_name(f"{per_query.stem}-summary.csv") if per_query else RESULTS / f"{stem}.csv")
    rows = per_query or first.with_name(f"{first.stem}-queries.csv")
    if first == rows:
        raise BadRequest("--output-csv and --output-per-query-csv name the same file: give two")
    return Outputs(summary=first, per_query=rows, report=first.with_suffix(".html") if report else None)


def require_url(url: str) -> str:
    """Give the address back. Raises `BadRequest` for one of another kind."""
    first = urlsplit(url.split(",", maxsplit=1)[0])
    if first.scheme not in {"nats", "tls", "http", "https"} or not first.hostname:
        raise BadRequest(f"--url {url[:80]!r} is no address of a fleet: write nats://host:4222 or http://host:8080")
    return url


def settings_of(order: BenchOrder) -> Mapping[str, object]:
    """Give the settings that rows of one file must share; no secret is among them."""
    where: dict[str, object] = {
        "url": "simulated" if order.url is None else shown(order.url),
        "time_factor": order.time_factor,
        "warm_up": order.warm_up,
        "version": version("drover"),
    }
    if order.url is None:
        where |= {"devices": order.simulated.devices, "settings": told(order.simulated.settings)}
    return fingerprint(order.plan, where)


def of_this(order: BenchOrder, rows: Sequence[BenchRow]) -> list[BenchRow]:
    """Give the rows that this command asks for: a file may have those of other strategies, too."""
    return [row for row in rows if row.arm in order.plan.arms and row.repeat <= order.plan.repeat]


def shown(urls: str) -> str:
    """Name an address without its credentials."""
    parts = [urlsplit(url) for url in urls.split(",")]
    return ",".join(f"{part.scheme}://{part.hostname}{f':{part.port}' if part.port else ''}" for part in parts)

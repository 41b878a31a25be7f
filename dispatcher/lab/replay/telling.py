"""A replay as a manifest: what happened and each run, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version

from dispatcher.experiments.manifest import Arm, Figure, Kind, Manifest, Metric, Plot, Rows, known, line
from dispatcher.experiments.writing import caveats, environment
from dispatcher.lab.replay.outcome import Outcome

_S = "s"
METRICS = (
    Metric(name="answered", what="jobs that got an answer", better="high"),
    Metric(name="latency_p50", what="median time to the whole answer", unit=_S, better="low"),
    Metric(name="latency_p95", what="95 % have the whole answer by then", unit=_S, better="low"),
    Metric(name="first_token_p50", what="median time to the first token", unit=_S, better="low"),
    Metric(name="first_token_p95", what="95 % have the first token by then", unit=_S, better="low"),
    Metric(name="queue_p50", what="median wait for a device", unit=_S, better="low"),
    Metric(name="queue_p95", what="95 % have waited no longer", unit=_S, better="low"),
    Metric(name="energy", what="energy of all answers above idle", unit="J", better="low"),
    Metric(name="energy_per_token", what="energy of a token above idle", unit="J", better="low"),
    Metric(name="cost", what="what that energy costs", better="low"),
    Metric(name="idle_w", what="what the fleet draws without any job", unit="W", better="low"),
)


def manifest(
    outcomes: Sequence[Outcome],
    said: Sequence[str],
    seconds: Mapping[str, Sequence[float]],
    *,
    rows: Rows,
    settings: Mapping[str, str],
    now_unix_s: float,
) -> Manifest:
    """Give the manifest; `seconds` are those of each outcome by its label, the answered alone."""
    jobs = outcomes[0].jobs if outcomes else 0
    return Manifest(
        kind=Kind.REPLAY,
        title=f"Replay of {jobs} jobs",
        made_unix_s=now_unix_s,
        drover=version("drover"),
        simulated=True,
        n=jobs,
        data={"jobs": str(jobs)},
        environment=environment(**settings),
        caveats=caveats(said),
        metrics=METRICS,
        arms=tuple(Arm(name=one.label[:200], n=one.jobs, figures=_figures(one)) for one in outcomes),
        plots=(
            Plot(
                title="How long answers took", x="seconds until the whole answer was there", y="jobs answered, %", shape="step",
                log_x=True, lines=tuple(line(one.label[:200], _passed(seconds[one.label], one.jobs)) for one in outcomes),
            ),
        ),
        rows=rows,
    )  # fmt: skip


def _figures(one: Outcome) -> dict[str, Figure]:
    values = {
        "answered": one.answered / one.jobs if one.jobs else None,
        "latency_p50": one.total.p50_s,
        "latency_p95": one.total.p95_s,
        "first_token_p50": one.first.p50_s,
        "first_token_p95": one.first.p95_s,
        "queue_p50": one.queue.p50_s,
        "queue_p95": one.queue.p95_s,
        "energy": one.taken.joules,
        "energy_per_token": one.taken.per_token,
        "cost": one.cost,
        "idle_w": one.idle_w,
    }
    return {name: Figure(value=value) for name, value in values.items() if known(value) is not None}


def _passed(values: Sequence[float], jobs: int) -> list[tuple[float, float]]:
    return [(value, 100 * number / max(1, jobs)) for number, value in enumerate(sorted(values), 1)]

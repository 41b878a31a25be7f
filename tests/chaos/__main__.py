"""`make chaos`: acts out the faults one after the other and prints the table; exit status 1 when a job was lost or duplicated."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic

from common.logs import configure
from tests.chaos.faults.all import FAULTS
from tests.chaos.outcome import FULL, SMALL, Outcome, Size
from tests.chaos.report import as_json, show

FAULT_S = 150.0
"""No fault takes this long; one that hangs must not keep the others from their turn."""

TOTAL_S = 600.0
"""What all of them together may take."""

USUAL_S: Mapping[str, float] = {
    "F1": 16,
    "F2": 90,
    "F3": 85,
    "F4": 45,
    "F5": 60,
    "F6": 50,
    "F7": 60,
    "F8": 40,
    "F9": 50,
    "F10": 8,
    "F11": 85,
    "F12": 12,
    "F13": 32,
    "F14": 45,
}
"""What each takes on an idle machine of two cores. On one that is busy, those that come late get fewer jobs and rounds."""

FIXED = frozenset({"F4", "F5", "F8", "F11", "F13"})
"""Those that last as long as they last, however many jobs they have."""

SOAK_SHARE = 1.5
"""A soak takes its own length, a warm-up, and the end of its processes."""


def main() -> int:
    """Run the faults that were asked for."""
    parser = argparse.ArgumentParser(
        prog="make chaos", description="Real processes, real signals, and a ledger of every job."
    )
    parser.add_argument("--only", help="faults, separated by commas: F2,F6")
    parser.add_argument("--soak-s", type=float, help="length of F13 in seconds: 3600 for an hour")
    parser.add_argument("--small", action="store_true", help="as small as in make test")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--output", type=Path, help="file for the JSON as well")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(FAULTS)
    if unknown := set(names) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    configure("chaos", level="ERROR", fmt="console")  # our own connections are lost all the time, on purpose
    began = monotonic()
    size = SMALL if given.small else FULL
    if given.soak_s is not None:
        size = replace(size, soak_s=given.soak_s)
    outcomes, broken = asyncio.run(_run(names, size))
    took_s = monotonic() - began
    text = as_json(outcomes, took_s=took_s)
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    if given.json:
        sys.stdout.write(text + "\n")
    else:
        show(outcomes, took_s=took_s, full=FULL.jobs)
    broken += [f"{one.fault} has no sample: {name}" for one in outcomes for name in one.unmeasured]
    for line in broken:
        sys.stderr.write(f"{line}\n")
    return 0 if not broken and all(outcome.whole for outcome in outcomes) else 1


async def _run(names: list[str], size: Size) -> tuple[list[Outcome], list[str]]:
    outcomes: list[Outcome] = []
    broken: list[str] = []
    soak_s = max(0.0, size.soak_s - FULL.soak_s)  # what was asked for beyond the usual comes on top
    until_s = monotonic() + TOTAL_S + SOAK_SHARE * soak_s
    for number, name in enumerate(names):
        began = monotonic()
        fitting = _fit(size, names[number:], until_s - began - SOAK_SHARE * soak_s)
        for fault in FAULTS[name]:
            own_s = FAULT_S + SOAK_SHARE * soak_s * (name == "F13")
            try:
                async with asyncio.timeout(min(own_s, until_s - monotonic())):
                    outcomes.append(await fault(fitting))
            except Exception as error:  # noqa: BLE001  # the table must show the others
                broken.append(f"{name} could not be acted out: {fault.__name__}: {_leaf(error)}")
        sys.stderr.write(f"{name} took {monotonic() - began:.0f} s, with {fitting.jobs} jobs\n")
    return outcomes, broken


def _fit(size: Size, names: list[str], left_s: float) -> Size:
    """Give what there is time for, if all that remain get alike."""
    fixed_s = sum(USUAL_S[name] for name in names if name in FIXED)
    scaled_s = sum(USUAL_S[name] for name in names if name not in FIXED)
    share = min(1.0, max(0.05, (left_s - fixed_s) / max(scaled_s, 1.0)))
    return replace(size, jobs=int(size.jobs * share), rounds=max(1, int(size.rounds * share)))


def _leaf(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    raise SystemExit(main())

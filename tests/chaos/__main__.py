"""`make chaos`: acts out the faults one after the other and prints the table; exit status 1 when a job was lost or duplicated."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from time import monotonic

from common.logs import configure
from tests.chaos.faults.all import FAULTS
from tests.chaos.outcome import FULL, SMALL, Outcome
from tests.chaos.report import as_json, show

FAULT_S = 150.0
"""No fault takes this long; one that hangs must not keep the others from their turn."""

TOTAL_S = 600.0
"""What all of them together may take."""


def main() -> int:
    """Run the faults that were asked for."""
    parser = argparse.ArgumentParser(
        prog="make chaos", description="Real processes, real signals, and a ledger of every job."
    )
    parser.add_argument("--only", help="faults, separated by commas: F2,F6")
    parser.add_argument("--small", action="store_true", help="as small as in make test")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--output", type=Path, help="file for the JSON as well")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(FAULTS)
    if unknown := set(names) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    configure("chaos", level="ERROR", fmt="console")  # our own connections are lost all the time, on purpose
    began = monotonic()
    outcomes, broken = asyncio.run(_run(names, small=given.small))
    took_s = monotonic() - began
    text = as_json(outcomes, took_s=took_s)
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    if given.json:
        sys.stdout.write(text + "\n")
    else:
        show(outcomes, took_s=took_s)
    for line in broken:
        sys.stderr.write(f"{line}\n")
    return 0 if not broken and all(outcome.whole for outcome in outcomes) else 1


async def _run(names: list[str], *, small: bool) -> tuple[list[Outcome], list[str]]:
    outcomes: list[Outcome] = []
    broken: list[str] = []
    until_s = monotonic() + TOTAL_S
    for name in names:
        began = monotonic()
        try:
            async with asyncio.timeout(min(FAULT_S, until_s - began)):
                outcomes += await FAULTS[name](SMALL if small else FULL)
        except Exception as error:  # noqa: BLE001  # the table must show the others
            broken.append(f"{name} could not be acted out: {_leaf(error)}")
        sys.stderr.write(f"{name} took {monotonic() - began:.0f} s\n")
    return outcomes, broken


def _leaf(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    raise SystemExit(main())

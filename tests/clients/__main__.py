"""Runs every client against a real fleet, without keys and with one, and writes the report; `make clients` calls it.

The fleet is `drover up` with simulated boards, in a directory of its own. Whatever happens, all that was started is gone at the
end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.clients.environments import ENVIRONMENTS, KINDS, ROOT, Kind, NotInstalled, ready
from tests.clients.report import Step, failures, markdown
from tests.commands import drover, running

PROGRAMS = Path(__file__).parent / "programs"
REPORT = ROOT / "results" / "clients" / "report.md"
UP = r"drover is up: (http://127\.0\.0\.1:\d+)  \((nats://127\.0\.0\.1:\d+)\)"
TOLD = "steps.jsonl"
"""Where a program tells, in its own home."""

PROGRAM_S = 900.0
"""A hang guard; Open WebUI takes two minutes with its first start."""

FLEET = {
    "DROVER_HTTP_PORT": "0",
    "DROVER_NATS_PORT": "0",
    "DROVER_SIM_TIME_FACTOR": "30",
    "DROVER_ACCEPT_S": "10",
    "DROVER_METRICS": "off",
    "OLLAMA_HOST": "http://127.0.0.1:9",  # the discard port: no Ollama is there, so boards are simulated
}
_OF_THE_MACHINE = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Where a fleet is."""

    http: str
    nats: str


@asynccontextmanager
async def fleet(directory: Path) -> AsyncIterator[Fleet]:
    async with running("up", cwd=directory, DROVER_STATE_DIR=str(directory / "state"), **FLEET) as up:
        found = await up.until(UP)
        yield Fleet(http=found[1], nats=found[2])


async def make_key(house: Fleet, directory: Path) -> str:
    """Make a key: from then on the bridge asks everybody for one."""
    made = await drover("keys", "add", "clients", cwd=directory, NATS_URL=house.nats)
    if made.status:
        raise RuntimeError(f"no key could be made: {made.err}")
    return made.out.strip()


async def act(kind: Kind, python: Path, house: Fleet, key: str) -> list[Step]:
    """Run a client's program and give what it tells. What it prints is shown when it fails."""
    with tempfile.TemporaryDirectory(prefix="drover-clients-") as home:
        own = {name: os.environ[name] for name in _OF_THE_MACHINE if name in os.environ}
        settings = {"HOME": home, "DROVER_URL": house.http, "DROVER_KEY": key, "DROVER_STEPS": str(Path(home, TOLD))}
        status, said = await _run(str(python), str(PROGRAMS / kind.program), cwd=home, env={**own, **settings})
        steps = _told(Path(home, TOLD), keys=bool(key))
    if status:
        last = " ".join(said.split())[-300:]
        steps.append(Step(client=kind.name, version="", step="run to its end", ok=False, saw=last, keys=bool(key)))
    if not all(one.ok for one in steps):
        sys.stderr.write(said[-6000:])
    return steps


async def _run(*command: str, cwd: str, env: dict[str, str]) -> tuple[int, str]:
    """Run a program to its end; give its status and what it printed. Nothing that it started is left."""
    process = await asyncio.create_subprocess_exec(
        *command, env=env, cwd=cwd, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, start_new_session=True
    )
    try:
        async with asyncio.timeout(PROGRAM_S):
            said, _ = await process.communicate()
    except TimeoutError:
        return 1, f"it had not ended after {PROGRAM_S:.0f} s"
    finally:
        _end(process.pid)
        await process.wait()
    return process.returncode or 0, said.decode(errors="replace")


def _told(file: Path, *, keys: bool) -> list[Step]:
    if not file.exists():
        return []
    return [Step(**json.loads(line), keys=keys) for line in file.read_text(encoding="utf-8").splitlines()]


def _end(group: int) -> None:
    """End a program with all that it has started; it leads a group of its own."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass  # all are gone


async def install(kinds: Sequence[Kind]) -> tuple[dict[Kind, Path], list[str]]:
    """Make the environments; give them, and why some are missing."""
    pythons, left_out = {}, []
    for kind in kinds:
        if not kind.fits:
            left_out.append(f"{kind.name}: its lock is for {kind.only}")
            continue
        say(f"{kind.name}: its environment is in {(ENVIRONMENTS / kind.name).relative_to(ROOT)}")
        try:
            pythons[kind] = await ready(kind)
        except NotInstalled as error:
            left_out.append(f"{kind.name}: not to be installed: {error}")
    return pythons, left_out


async def run(kinds: Sequence[Kind], report: Path) -> int:
    """Do it all; gives the exit status."""
    pythons, left_out = await install(kinds)
    steps: list[Step] = []
    with tempfile.TemporaryDirectory(prefix="drover-clients-fleet-") as place:
        async with fleet(Path(place)) as house:
            say(f"a fleet of simulated boards is up at {house.http}")
            steps += await _all(pythons, house, key="")
            steps += await _all(pythons, house, key=await make_key(house, Path(place)))
    _write(report, markdown(steps, left_out, _heading()))
    for line in (*left_out, *failures(steps)):
        say(" ".join(line.split()))
    return 1 if failures(steps) or left_out or not steps else 0


async def _all(pythons: Mapping[Kind, Path], house: Fleet, *, key: str) -> list[Step]:
    steps: list[Step] = []
    for kind, python in pythons.items():
        done = await act(kind, python, house, key)
        good = sum(one.ok for one in done)
        say(f"{kind.name}, {'with a key' if key else 'no keys'}: {good} of {len(done)} steps ok")
        steps += done
    return steps


def _write(report: Path, text: str) -> None:
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(text, encoding="utf-8")
    say(f"the report is {report}")


def _heading() -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"`make clients`, {now}: the packages of `deploy/locks/clients-*.txt` against `drover up` with simulated boards."


def say(line: str) -> None:
    sys.stdout.write(f"clients: {line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make clients", description=__doc__)
    parser.add_argument("--only", default=",".join(KINDS), help="which of them, separated by commas")
    parser.add_argument("--report", type=Path, default=REPORT, help="where the report goes")
    given = parser.parse_args()
    names = [name for name in given.only.split(",") if name]
    if unknown := set(names) - set(KINDS):
        parser.error(f"no client is called {', '.join(sorted(unknown))}: there are {', '.join(KINDS)}")
    return asyncio.run(run([KINDS[name] for name in names], given.report))


if __name__ == "__main__":
    sys.exit(main())

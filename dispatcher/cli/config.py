"""`drover config`: each knob of each process, its value and where it came from; and whether all of it is right.

The agent's settings are its own: it is asked as a process. Nothing is started, and the fleet is asked only for what runs.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_type_hints

from common import codec, config_report, reload_orders
from common.bus import Bus
from common.bus.nats.options import require_sense
from common.bus.options import options_from
from common.errors import ConfigError, FleetError
from common.origins import Origin, Source, Told, lines, looks_like_ours, told
from common.settings import WrongSettings, knob_of, load
from common.subjects import Subjects, require_token
from dispatcher.cli.cache_words import plain
from dispatcher.cli.cast import python
from dispatcher.cli.connect import open_bus, shell_settings
from dispatcher.cli.expected import known_to
from dispatcher.cli.running import FAILED, say
from dispatcher.cli.state import StateDir
from dispatcher.settings import BridgeSettings, DispatcherSettings, LedgerSettings, UpSettings
from dispatcher.settings.exposed import advice, require_guarded

TREES: Mapping[str, type[Any]] = {
    "up": UpSettings,
    "dispatcher": DispatcherSettings,
    "bridge": BridgeSettings,
    "ledger": LedgerSettings,
}
AGENT = "agent"
PROCESSES = (*TREES, AGENT)

AGENT_S = 60.0
"""A slow board needs half a minute to start one."""


async def show(processes: Sequence[str], *, everything: bool, as_json: bool, running: bool) -> int:
    """Print the knobs of these processes, or of all. Raises `ConfigError` where they are wrong."""
    if running:
        return await _show_running(processes, as_json=as_json)
    found = {process: await knobs_of(process) for process in processes or PROCESSES}
    if as_json:
        _json({process: config_report.wire(knobs) for process, knobs in found.items()})
        return 0
    for process, knobs in found.items():
        sys.stdout.writelines(f"{plain(line)}\n" for line in config_report.lines(process, knobs, everything=everything))
    return 0


async def _show_running(processes: Sequence[str], *, as_json: bool) -> int:
    settings = shell_settings()
    async with open_bus(settings) as bus:
        known = await known_to(bus, StateDir(settings.up.state_dir))
        found = await reload_orders.running(bus, Subjects(settings.bus.prefix), missing=known.missing)
    answers = [one for one in found.answers if not processes or one.kind in processes]
    if as_json:
        _json({"processes": [codec.plain(one) for one in answers], "silent": list(found.silent)})
    else:
        for one in answers:
            sys.stdout.write(f"{plain(one.kind)} {plain(one.name)}\n")
            sys.stdout.writelines(f"    {plain(knob)}  {plain(value) or '(not set)'}\n" for _, knob, value in one.knobs)
    for name in found.silent:
        say(f"did not answer: {name}")
    return FAILED if found.silent else 0


async def check(*, as_json: bool) -> int:
    """Say what is wrong, if anything is, for every process. Nothing is started."""
    wrong, known = await troubles()
    doubts = [] if wrong else [*advice(load(BridgeSettings)), *misspelt(known)]
    if as_json:
        _json({"faults": wrong, "warnings": doubts})
    else:
        sys.stdout.writelines(
            f"wrong ({', '.join(who)}): {plain(fault, keep=chr(10))}\n" for fault, who in by_fault(wrong).items()
        )
        sys.stdout.writelines(f"warning: {plain(doubt)}\n" for doubt in doubts)
        if not wrong:
            sys.stdout.write(f"the settings of {', '.join(PROCESSES)} can work\n")
    return FAILED if wrong else 0


def by_fault(wrong: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    """Give the processes that have a fault, by the fault: a page that several read is told of once."""
    seen: dict[str, list[str]] = {}
    for process, faults in wrong.items():
        for fault in faults:
            seen.setdefault(fault, []).append(process)
    return seen


async def troubles(*, seeds: bool = True) -> tuple[dict[str, list[str]], set[str]]:
    """Give what each process would find wrong at its start, as far as it can be told without a server, and all knobs there are;
    without `seeds` not what is wrong with how it would sign in at NATS."""
    wrong: dict[str, list[str]] = {}
    known: set[str] = set()
    for process in PROCESSES:
        try:
            known |= {one.knob for one in await knobs_of(process)}
            if process != AGENT:
                tree = load(TREES[process])
                require_startable(tree)
                if seeds:
                    require_sense(options_from(tree.bus, name=process))
        except WrongSettings as error:
            wrong[process] = list(error.faults)
        except FleetError as error:
            wrong[process] = [error.message]
    return wrong, known


def require_startable(tree: Any) -> None:
    """Raise what the process of these settings would end with at its start, before it signs in anywhere."""
    if isinstance(tree, BridgeSettings | UpSettings):
        require_token("DROVER_HTTP_TENANT", tree.bridge.tenant)
        require_guarded(tree.bridge, tree.ledger)


async def knobs_of(process: str) -> tuple[Told, ...]:
    """Give the knobs of a process as they would be if it started now, here. Raises `ConfigError`."""
    if process == AGENT:
        return await _agents_knobs()
    if process not in TREES:
        raise ConfigError(f"{process!r} is no process: there are {', '.join(PROCESSES)}")
    return tuple(told(load(TREES[process])))


async def _agents_knobs() -> tuple[Told, ...]:
    rows = codec.decode(await ask_agent("--config", "--json"))["knobs"]
    return tuple(
        Told(
            page=str(row["page"]),
            knob=str(row["knob"]),
            value=str(row["value"]),
            default=str(row["default"]),
            origin=Origin(Source(row["source"]), line=row["line"], passed_over=row["passed_over_line"]),
        )
        for row in rows
    )


async def ask_agent(*arguments: str) -> bytes:
    """Run `drover-agent` to its end, and give what it prints. Raises `ConfigError` with what it says where it can't."""
    process = await asyncio.create_subprocess_exec(
        *python("agents"), *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(AGENT_S):
            out, said = await process.communicate()
    except TimeoutError as error:
        raise FleetError(f"drover-agent says nothing within {AGENT_S:.0f} s: is this machine too busy?") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode and not out:
        words = said.decode(errors="replace").strip().removeprefix("drover: ")
        faults = [line.strip() for line in words.splitlines() if line.startswith("  ")]
        raise WrongSettings(faults) if faults else ConfigError(words)
    return out


async def read_by_nobody(bus: Bus, subjects: Subjects, strange: Sequence[tuple[str, str]]) -> list[str]:
    """Name those of these variables, each with its place, that no process reads. Only for what the processes of this package do not
    know an agent is asked: one that runs, or else one that is started for it, which takes long on a slow board."""
    known = {
        knob_of(page, field)
        for tree in TREES.values()
        for page in get_type_hints(tree).values()
        for field in page.model_fields
    }
    if not list(_doubts(strange, known)):
        return []
    asked = await reload_orders.running(bus, subjects)
    agents = {knob for one in asked.answers if one.kind == AGENT for _, knob, _ in one.knobs}
    known |= agents or {one.knob for one in await knobs_of(AGENT)}
    return list(_doubts(strange, known))


def misspelt(known: set[str]) -> Iterator[str]:
    """Name the variables that look like ours, here, and that no process reads."""
    places = {line.name: f".env line {line.number}" for line in lines()}
    for name in sorted(os.environ):
        places.setdefault(name, "the environment")
    return _doubts(list(places.items()), known)


def _doubts(strange: Sequence[tuple[str, str]], known: set[str]) -> Iterator[str]:
    for name, place in strange:
        if name.upper() in known or not looks_like_ours(name):
            continue
        close = difflib.get_close_matches(name.upper(), known, n=1)
        yield f"{name} ({place}) is read by nobody{f': did you mean {close[0]}?' if close else ''}"


def _json(what: object) -> None:
    sys.stdout.write(f"{codec.encode_pretty(what)}\n")

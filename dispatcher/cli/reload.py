"""`drover reload`: all processes read their settings again, all or none; it changes no file."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from common import codec, reload_orders
from common.bus import Bus
from common.reload_orders import Answered, Round
from common.reloading import Change
from common.subjects import Subjects
from dispatcher.cli.cache_words import plain
from dispatcher.cli.config import read_by_nobody
from dispatcher.cli.connect import open_bus, shell_settings
from dispatcher.cli.expected import known_to
from dispatcher.cli.running import FAILED, say
from dispatcher.cli.state import StateDir


async def reload(*, dry: bool, as_json: bool) -> int:
    """Have all processes check, and then apply; print what changed. Exit status 1 where something could not be applied."""
    settings = shell_settings()
    subjects = Subjects(settings.bus.prefix)
    async with open_bus(settings) as bus:
        known = await known_to(bus, StateDir(settings.up.state_dir))
        found = await reload_orders.reload(bus, subjects, dry=dry, missing=known.missing)
        doubts = await misspelt(bus, subjects, found)
    absent = known.absent(found.answers)
    if as_json:
        wire = {**codec.plain(found), "warnings": doubts, "absent": absent}
        sys.stdout.write(f"{codec.encode_pretty(wire)}\n")
    else:
        sys.stdout.writelines(f"{plain(line)}\n" for line in lines(found, dry=dry))
        sys.stdout.writelines(f"warning: {plain(doubt)}\n" for doubt in doubts)
    if absent:
        say(f"not there: {', '.join(absent)}, which will read the settings at the start")
    for name in found.silent:
        say(f"did not answer: {name}")
    if found.refused:
        say(
            "not all processes could apply it: `drover config show --running` tells what each runs on"
            if found.applied
            else "nothing was changed, in any process"
        )
    return FAILED if found.refused else 0


async def misspelt(bus: Bus, subjects: Subjects, found: Round) -> list[str]:
    """Name the lines of their `.env` that no process reads."""
    who: dict[tuple[str, int], list[str]] = {}
    for one in found.answers:
        for line in one.strange:
            who.setdefault(line, []).append(_who(one))
    everybody = len(found.answers)
    strange = [
        (name, f".env line {number}" if len(some) == everybody else f".env line {number} of {', '.join(some)}")
        for (name, number), some in who.items()
    ]
    return await read_by_nobody(bus, subjects, strange)


def lines(found: Round, *, dry: bool) -> Iterator[str]:
    """Say what came of it, a line for each knob of each process."""
    for one in found.answers:
        who = _who(one)
        for fault in one.faults:
            yield f"{who}: wrong: {fault}"
        if not found.refused or found.applied:
            yield from (f"{who}: {_said(change, applied=found.applied, dry=dry)}" for change in one.changes)
        yield from (f"{who}: note: {hint}" for hint in one.hints)
    if not found.changes and not found.refused:
        number = len(found.answers)
        yield f"nothing has changed: {number} process{'es' if number > 1 else ''} looked"


def _who(one: Answered) -> str:
    return one.kind if one.kind == one.name else f"{one.kind} {one.name}"


def _said(change: Change, *, applied: bool, dry: bool) -> str:
    values = (
        change.new
        if change.new == "changed" and not change.old
        else f"{_or_unset(change.old)} → {_or_unset(change.new)}"
    )
    if not change.live:
        return f"{change.knob}: {values}, needs a restart of this process: NOT applied"
    return f"{change.knob}: {values}{'' if applied else ', could be applied' if dry else ', not applied'}"


def _or_unset(value: str) -> str:
    return value or "(not set)"

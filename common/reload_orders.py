"""Has all processes of a fleet read their settings again: first all check, and only if all agree, all apply; it prints nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from common import codec
from common.bus import Bus
from common.errors import FleetError, NoResponders, NotPermitted
from common.gathering import Gathered, gather
from common.reloading import Change
from common.subjects import Subjects

SERVICES = ("llm-dispatcher", "llm-bridge", "llm-ledger", "llm-agent", "llm-up")
"""Under these names processes answer discovery that can read their settings again."""

WITHIN_S = 10.0
"""A slow board reads its settings in a second."""

MOST_TOLD = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What one process said. `name` and `kind` are as people call it."""

    name: str
    kind: str
    changes: tuple[Change, ...] = ()
    faults: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    strange: tuple[tuple[str, int], ...] = ()
    knobs: tuple[tuple[str, str, str], ...] = ()
    unix_s: float | None = None
    """Its clock, when it told what it runs on."""
    host: str = ""
    pid: int | None = None
    """Its process on that machine; processes of before do not tell."""


Missing = Callable[[Sequence[Answered]], Sequence[str]]
"""Names, of the processes that the caller knows to be there, those that are not among who has answered."""


def nobody(_: Sequence[Answered]) -> Sequence[str]:
    """Know of no process but those that say that they are there."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What came of asking all. `silent` are those that are there and said nothing, by name, or by id where nobody knows that;
    `applied` tells that the changes of all who answered count from now on."""

    answers: tuple[Answered, ...]
    silent: tuple[str, ...] = ()
    applied: bool = False

    @property
    def refused(self) -> bool:
        """Whether anybody spoke against it, or did not speak."""
        return bool(self.silent) or any(one.faults for one in self.answers)

    @property
    def changes(self) -> bool:
        """Whether anything differs from what runs."""
        return any(one.changes for one in self.answers)


async def reload(
    bus: Bus, subjects: Subjects, *, dry: bool = False, within_s: float = WITHIN_S, missing: Missing = nobody
) -> Round:
    """Have all check; and, unless it is `dry`, somebody objects, or there is nothing to do, have all apply. A process that
    is frozen can't say that it is there: `missing` tells of it.

    Raises `NoResponders` when nobody is there, `NotPermitted`, `BusDisconnected`.
    """
    word = secrets.token_hex(8)
    checked = await _ask(bus, subjects, "check", within_s=within_s, missing=missing, word=word)
    if dry or checked.refused or not any(change.live for one in checked.answers for change in one.changes):
        return checked
    applied = await _ask(bus, subjects, "apply", within_s=within_s, missing=missing, word=word)
    hints = {(one.kind, one.name): one.hints for one in checked.answers}
    answers = tuple(replace(one, hints=hints.get((one.kind, one.name), ())) for one in applied.answers)
    return Round(answers=answers, silent=applied.silent, applied=True)


async def running(bus: Bus, subjects: Subjects, *, within_s: float = WITHIN_S, missing: Missing = nobody) -> Round:
    """Ask all what they run on. Raises as `reload`."""
    return await _ask(bus, subjects, "show", within_s=within_s, missing=missing)


async def _ask(bus: Bus, subjects: Subjects, verb: str, *, within_s: float, missing: Missing, word: str = "") -> Round:
    body = codec.encode({"word": word})
    found = await gather(
        bus,
        SERVICES,
        subjects.reload(verb),
        body,
        named_by="id",
        within_s=within_s,
        lacking=lambda told: bool(missing([_answered(one) for one in told if "error" not in one])),
    )
    for error in found.errors:
        if isinstance(error, NotPermitted):
            raise error
    answers = tuple(sorted(_answers(found), key=lambda one: (one.kind, one.name)))
    silent = (*found.silent, *missing(answers))
    if found.nobody or not (answers or silent):
        raise NoResponders("no process of a fleet hears this: is one running, and on this NATS server?")
    return Round(answers=answers, silent=silent)


def _answers(found: Gathered) -> list[Answered]:
    answers = [_answered(told) for told in found.told]
    return answers + [Answered(name="?", kind="process", faults=(error.message,)) for error in found.errors]


def _answered(told: Mapping[str, Any]) -> Answered:
    """Read an answer; one that can't be is a fault of its process."""
    name, kind = str(told.get("name", "?")), str(told.get("kind", "process"))
    try:
        return Answered(
            name=name,
            kind=kind,
            changes=tuple(codec.build(Change, change) for change in _list(told, "changes")),
            faults=tuple(map(str, _list(told, "faults"))),
            hints=tuple(map(str, _list(told, "hints"))),
            strange=tuple((str(name), int(line)) for name, line in _list(told, "strange")),
            host=str(told.get("host", "")),
            pid=None if told.get("pid") is None else int(told["pid"]),
            unix_s=None if told.get("unix_s") is None else float(told["unix_s"]),
            knobs=tuple((str(page), str(knob), str(value)) for page, knob, value in _list(told, "knobs")),
        )
    except (FleetError, TypeError, ValueError):
        return Answered(name=name, kind=kind, faults=("its answer can't be read: is it of another version?",))


def _list(told: Mapping[str, Any], field: str) -> list[Any]:
    found = told.get(field, [])
    return found[:MOST_TOLD] if isinstance(found, list) else []

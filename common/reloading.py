"""Settings that are read again while a process runs: checked first, and applied only if everything is right; it knows no knob.

A composition root says of each knob whether it can change in a running process, and how. Nothing is applied that was not checked
before under the same word, so that an operator's `apply` means the same settings as the `check` that all processes passed.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar

from common import codec
from common.bus import Bus, Delivery
from common.errors import BadRequest, ConfigError, FleetError
from common.lifecycle import Stop, guarding
from common.logs import configure, get_logger
from common.origins import passed_over, strangers, told
from common.settings import BusSection, LogSection, Section, WrongSettings, knob_of, load, shown
from common.subjects import Subjects, is_inbox

log = get_logger("settings")

T = TypeVar("T")

MOST_VALUE = 200
"""Characters of a value that are told."""


class Turns(StrEnum):
    """What becomes of a knob that is changed while its process runs."""

    LIVE = "live"
    RESTART = "restart"  # it is read when the process starts
    ELSEWHERE = "elsewhere"  # this process does not read it: it stands on a page that several share


OF_BUS = " ".join(BusSection.model_fields)
"""Of every process these need a restart: it connects once."""

Words = Mapping[str, str]
"""The names of fields, separated by blanks, by the page of the tree that they stand on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """What each knob of a process does. One that is not named needs a restart, and a test names it."""

    live: Words
    restart: Words
    elsewhere: Words

    def of(self, page: str, field: str) -> Turns:
        """Say what a knob does."""
        for turns, words in ((Turns.LIVE, self.live), (Turns.ELSEWHERE, self.elsewhere)):
            if field in words.get(page, "").split():
                return turns
        return Turns.RESTART


@dataclass(frozen=True, slots=True)
class Change:
    """A knob that stands otherwise in the settings than in the process. Values are as people may see them."""

    knob: str
    old: str
    new: str
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a process found: nothing of it is right where there are `faults`. `hints` are worth knowing, and `strange` are lines of
    `.env` that it does not read, name and number: only who knows all processes can tell whether they are misspelt."""

    changes: tuple[Change, ...] = ()
    faults: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    strange: tuple[tuple[str, int], ...] = ()


Turn = Callable[[], None]
"""Applies what was prepared. It must not fail: what can is done before."""


@dataclass(frozen=True, slots=True)
class _Prepared(Generic[T]):
    word: str
    tree: T
    turn: Turn
    verdict: Verdict


class Reloader(Generic[T]):
    """The settings that a process runs on. `prepare` makes from a whole tree what applies it, and raises `ConfigError` where it
    can't be; in that tree knobs that need a restart stand as the process has them."""

    def __init__(
        self,
        tree: T,
        knobs: Knobs,
        prepare: Callable[[T], Turn],
        *,
        process: str,
        read: Callable[[], T] | None = None,
    ) -> None:
        self.tree = tree
        self._knobs = knobs
        self._prepare = prepare
        self._process = process
        self._read = read or (lambda: load(type(tree)))
        self._prepared: _Prepared[T] | None = None

    def check(self, word: str) -> Verdict:
        """Read the settings again, and say what has changed or what is wrong; nothing changes."""
        self._prepared = None
        try:
            new = self._read()
            changes, merged = self._compared(new)
            turn = self._prepare(merged)
            hints = tuple(
                f".env line {line.number} changes nothing: {line.name} is set in the environment of this process, which wins "
                "and can't change while it runs"
                for line in passed_over(new)
            )
            strange = tuple((line.name[:MOST_VALUE], line.number) for line in strangers(new))
        except WrongSettings as error:
            return Verdict(faults=error.faults)
        except ConfigError as error:
            return Verdict(faults=(error.message,))
        verdict = Verdict(changes=changes, hints=hints, strange=strange)
        self._prepared = _Prepared(word, merged, turn, verdict)
        return verdict

    def apply(self, word: str) -> Verdict:
        """Apply what was checked under this word. Raises `BadRequest` where nothing was."""
        prepared, self._prepared = self._prepared, None
        if prepared is None or prepared.word != word:
            raise BadRequest("nothing was checked that could be applied: ask for a check first")
        before: LogSection = getattr(self.tree, "log")  # noqa: B009  # all trees have it, and T has no bound that says so
        prepared.turn()
        self.tree = prepared.tree
        after: LogSection = getattr(self.tree, "log")  # noqa: B009  # as above
        if after != before:
            configure(self._process, level=after.level, fmt=after.format)
        return prepared.verdict

    def _compared(self, new: T) -> tuple[tuple[Change, ...], T]:
        changes: list[Change] = []
        pages: dict[str, Section] = {}
        for field in fields(new):  # type: ignore[arg-type]  # T is a dataclass; the bound can't be written
            old_page, new_page = getattr(self.tree, field.name), getattr(new, field.name)
            live = {}
            for name in type(new_page).model_fields:
                turns = self._knobs.of(field.name, name)
                if turns is Turns.ELSEWHERE or getattr(old_page, name) == getattr(new_page, name):
                    continue
                if turns is Turns.LIVE:
                    live[name] = getattr(new_page, name)
                changes.append(_change(old_page, new_page, name, live=turns is Turns.LIVE))
            pages[field.name] = old_page.model_copy(update=live) if live else old_page
        return tuple(changes), replace(self.tree, **pages)  # type: ignore[type-var]  # as above


def _change(old: Section, new: Section, name: str, *, live: bool) -> Change:
    knob, was, becomes = knob_of(type(new), name), shown(old, name), shown(new, name)
    if was == becomes:  # a secret, of which no more is told
        was, becomes = "", "changed"
    return Change(knob, was[:MOST_VALUE], becomes[:MOST_VALUE], live)


@dataclass(frozen=True, slots=True)
class Member:
    """Who answers: `id` is that of its discovery, `name` what people call it, `kind` what it is."""

    id: str
    name: str
    kind: str


@asynccontextmanager
async def reloadable(
    bus: Bus, subjects: Subjects, reloader: Reloader[Any], member: Member, stop: Stop | None = None
) -> AsyncIterator[None]:
    """Answer `check`, `apply` and `show` for the life of the context, and heed the SIGHUP that `stop` passes on."""
    async with asyncio.TaskGroup() as tasks:
        door = _Door(bus, subjects, reloader, member)
        spawn = guarding(tasks)
        hearing = await bus.subscribe(subjects.reload("*"), lambda delivery: door.hear(delivery, spawn))
        if stop is not None:
            stop.on_reload(lambda: spawn(door.by_signal()))
        try:
            yield
        finally:
            if stop is not None:
                stop.on_reload(None)
            await hearing.unsubscribe()


class _Door:
    """Takes one question after the other: a check reads files, in a thread."""

    def __init__(self, bus: Bus, subjects: Subjects, reloader: Reloader[Any], member: Member) -> None:
        self._bus = bus
        self._subjects = subjects
        self._reloader = reloader
        self._turn = asyncio.Lock()
        self._identity = {
            "id": member.id,
            "name": member.name,
            "kind": member.kind,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }

    def hear(self, delivery: Delivery, spawn: Callable[[Any], object]) -> None:
        if delivery.reply and is_inbox(delivery.reply):
            spawn(self._answer(delivery))

    async def by_signal(self) -> None:
        async with self._turn:
            verdict = await asyncio.to_thread(self._reloader.check, "signal")
            if not verdict.faults:
                self._reloader.apply("signal")
        _log(verdict)

    async def _answer(self, delivery: Delivery) -> None:
        verb = self._subjects.tokens(delivery.subject)[-1]
        try:
            async with self._turn:
                answer = await self._done(verb, codec.decode(delivery.data) if delivery.data else {})
        except FleetError as error:
            answer = {"faults": [error.message]}
        except Exception as error:
            log.exception("settings.crashed", verb=verb)
            answer = {"faults": [f"a bug of ours ({type(error).__name__}): please report it; its log says more"]}
        answer = {**self._identity, **answer}
        try:
            await self._bus.publish(delivery.reply, codec.encode(answer))
        except FleetError as error:
            log.warning("settings.unsent", error=error.code)

    async def _done(self, verb: str, order: Mapping[str, Any]) -> dict[str, Any]:
        word = str(order.get("word", ""))
        match verb:
            case "check":
                return _wire(await asyncio.to_thread(self._reloader.check, word))
            case "apply":
                verdict = self._reloader.apply(word)
                _log(verdict)
                return _wire(verdict)
            case "show":
                knobs = [[one.page, one.knob, one.value[:MOST_VALUE]] for one in told(self._reloader.tree)]
                return {"knobs": knobs, "unix_s": time.time()}  # also tells whether clocks agree
        raise BadRequest(f"{verb!r} is no question: ask for check, apply or show")


def _wire(verdict: Verdict) -> dict[str, Any]:
    return {
        "changes": [codec.plain(change) for change in verdict.changes],
        "faults": list(verdict.faults),
        "hints": list(verdict.hints),
        "strange": list(verdict.strange),
    }


def _log(verdict: Verdict) -> None:
    """Write down what was read, and what came of it."""
    if verdict.faults:
        log.error("settings.refused", faults=verdict.faults)
        return
    log.info(
        "settings.reloaded",
        changed={one.knob: one.new for one in verdict.changes if one.live},
        needs_restart=[one.knob for one in verdict.changes if not one.live],
    )

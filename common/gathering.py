"""One question to every member of a service, and what they answer; it knows no question and no service.

NATS tells a publisher whether anybody hears a subject, and not how many do. Who is there says `$SRV.PING` (NATS ADR-32), which is
asked at the same time; what comes is waited for until all of those have answered and nobody else speaks up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from common import codec
from common.bus import Bus, Delivery
from common.errors import BadRequest, FleetError, NotPermitted, from_wire

QUIET_S = 0.25
"""After so long without another word all have spoken who were not there for the roll call: they answer within milliseconds."""

MOST_QUIET = 8
"""So many quiet times without any word: whoever hears the question is frozen."""

MOST_ANSWERS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The answers, each an object, in the order in which they came; and who is there and said nothing in time, by id.

    `nobody` tells that the bus had no hearer of the question.
    """

    answers: tuple[dict[str, Any], ...] = ()
    silent: tuple[str, ...] = ()
    nobody: bool = False

    @property
    def told(self) -> tuple[dict[str, Any], ...]:
        """Give the answers that are no errors."""
        return tuple(answer for answer in self.answers if "error" not in answer)

    @property
    def errors(self) -> tuple[FleetError, ...]:
        """Give the errors that were answered."""
        wires = [answer["error"] for answer in self.answers if "error" in answer]
        return tuple(from_wire(wire if isinstance(wire, dict) else {}) for wire in wires)


Lacking = Callable[[Sequence[dict[str, Any]]], bool]
"""Tells of the answers so far whether somebody is missing of whom the caller knows."""


async def gather(
    bus: Bus,
    service: str | Sequence[str],
    subject: str,
    body: bytes,
    *,
    named_by: str,
    within_s: float,
    lacking: Lacking = lambda _: False,
) -> Gathered:
    """Ask all who hear `subject`, and give what they say; takes `within_s` at most.

    `service` is the name under which the members answer discovery, or several such names; `named_by` the field of an answer that
    holds its member's id. One that is frozen does not even say that it is there: who knows of it by other means has it waited for
    by `lacking`. Raises `BusDisconnected`.
    """
    found = _Found(named_by, lacking)
    answers, members = bus.new_inbox(), bus.new_inbox()
    hearing = await bus.subscribe(answers, found.hear_answer, pending=MOST_ANSWERS)
    counting = await bus.subscribe(members, found.hear_member, pending=MOST_ANSWERS)
    try:
        for name in [service] if isinstance(service, str) else service:
            await bus.publish(f"$SRV.PING.{name}", b"", reply=members)
        await bus.publish(subject, body, reply=answers)
        async with asyncio.timeout(within_s):
            await found.complete()
    except TimeoutError:
        pass  # what has come by then is the answer, and who is missing is told
    finally:
        await counting.unsubscribe()
        await hearing.unsubscribe()
    return found.result()


class _Found:
    """What has come so far."""

    def __init__(self, named_by: str, lacking: Lacking) -> None:
        self._named_by = named_by
        self._lacking = lacking
        self._answers: list[dict[str, Any]] = []
        self._members: set[str] | None = None
        self._nobody = False
        self._news = asyncio.Event()

    def hear_answer(self, delivery: Delivery) -> None:
        self._news.set()
        if delivery.no_responders:
            self._nobody = True
            return
        if delivery.refused:
            self._nobody = True
            self._answers.append({"error": NotPermitted(delivery.refused).to_wire()})
            return
        try:
            self._answers.append(codec.decode(delivery.data))
        except BadRequest as error:
            self._answers.append({"error": {"code": "garbled", "message": f"an answer can't be read: {error.message}"}})

    def hear_member(self, delivery: Delivery) -> None:
        self._news.set()
        self._members = self._members or set()
        if delivery.no_responders or delivery.refused:
            return
        try:
            self._members.add(str(codec.decode(delivery.data).get("id", "")))
        except BadRequest:
            return  # whoever that is, it is not one of those that are looked for

    @property
    def _all(self) -> bool:
        """Whether no answer is missing of those that are known of; until anybody has answered, one is."""
        if self._nobody:
            return True
        heard = bool(self._answers) and len(self._answers) >= len(self._members or ())
        return heard and not self._lacking(self._answers)

    async def complete(self) -> None:
        """Return when all have answered, and nobody else has for a while; or when nobody says as much as that it is there."""
        quiet = 0
        while True:
            self._news.clear()
            try:
                async with asyncio.timeout(QUIET_S):
                    await self._news.wait()
            except TimeoutError:
                quiet += 1
                if self._all or (quiet >= MOST_QUIET and self._members is None and not self._answers):
                    return
            if self._nobody and self._members is not None:
                return  # nobody hears this question, and who is there has been told

    def result(self) -> Gathered:
        named = {str(answer.get(self._named_by, "")) for answer in self._answers}
        members = self._members or set()
        # Errors come without a name: as many answers as members are all there are, whoever sent which.
        missing = set() if len(self._answers) >= len(members) else members - named
        return Gathered(answers=tuple(self._answers), silent=tuple(sorted(missing)), nobody=self._nobody)

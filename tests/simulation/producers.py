"""The producers: they ask, ask again, cancel and hang up, all on one connection that never fails."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from common import codec
from common.bus import Delivery, Subscription
from common.codec import Encoding
from common.messages import ChatRequest
from common.subjects import Subjects
from tests.simulation import loop
from tests.simulation.hosts import PRODUCER
from tests.simulation.ledger import Ledger, Submission
from tests.simulation.network import QuickBroker, Wire
from tests.simulation.node import MODEL, RARE_MODEL
from tests.simulation.schedule import Action

NAMES = ("ant", "bee", "cat")
"""Of the devices."""

TENANTS = ("acme", "zeta")
PRIORITIES = ("interactive", "normal", "batch") if "priority" in ChatRequest.__dataclass_fields__ else ()
MODELS = (*(MODEL,) * 12, *("auto",) * 6, RARE_MODEL, "unknown")
DEFAULT_TIMEOUT_S = 6.0
KEEP_S = 2.0
TIMEOUTS_S = (DEFAULT_TIMEOUT_S, DEFAULT_TIMEOUT_S, 3.0, 0.6)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as it may come again."""

    job: str
    tenant: str
    body: dict[str, Any]
    encoding: Encoding
    timeout_s: float


class Producers:
    """All of them."""

    def __init__(self, broker: QuickBroker, subjects: Subjects, ledger: Ledger) -> None:
        self.wire = Wire(broker, heard=self._arrived)
        self._subjects = subjects
        self._ledger = ledger
        self._asked: list[Asked] = []
        self._inboxes: dict[str, Subscription] = {}
        self.may_keep = False
        """The server stores answers: some producers say that they may come back."""

    def _arrived(self, delivery: Delivery) -> None:
        if delivery.no_responders and delivery.subject in self._ledger.submissions:
            self._ledger.nobody(delivery.subject)
        else:
            self._ledger.heard(delivery)

    async def _ask(self, asked: Asked) -> None:
        inbox = f"{PRODUCER}{len(self._ledger.submissions) + 1}"
        now_s = asyncio.get_running_loop().time()
        submission = Submission(
            inbox=inbox,
            job=asked.job,
            framed=asked.body["stream"],
            deadline_s=now_s + asked.timeout_s,
            keeps=bool(asked.body.get("keep_s")),
        )
        self._inboxes[inbox] = await self.wire.subscribe(inbox, _nothing)
        self._ledger.asked(submission)
        subject = self._subjects.work("chat", asked.tenant)
        await self.wire.publish(subject, codec.encode(asked.body, asked.encoding), reply=inbox)

    async def do_submit(self, action: Action) -> None:
        """Bits of `who`: a pin, a model. Bits of `how`: stream, hold or single; the time; tools; the encoding."""
        job = f"j{len(self._ledger.submissions) + 1}"
        way, timeout_s = action.how % 4, TIMEOUTS_S[action.how // 4 % 4]
        body: dict[str, Any] = {"prompt": "hi", "job": job, "cache": "off", "stream": way != 3, "hold": way == 2}
        body["model"] = MODELS[action.who % len(MODELS)]
        if action.who % 64 >= 56:
            body["device"] = NAMES[action.who // 64 % 3]
        if action.how // 16 % 8 == 7:
            body["tools"] = [{"type": "function", "function": {"name": "look"}}]
        if timeout_s != DEFAULT_TIMEOUT_S:
            body |= _limit(timeout_s, absolute=bool(action.who % 2))
        if self.may_keep and action.who % 3 != 2:
            body["keep_s"] = KEEP_S
        if PRIORITIES:
            body["priority"] = PRIORITIES[action.who // 4 % len(PRIORITIES)]
        asked = Asked(job, TENANTS[action.who // 16 % 2], body, _encoding(action), timeout_s)
        self._asked.append(asked)
        self._ledger.happened(action.kind)
        await self._ask(asked)

    async def do_resubmit(self, action: Action) -> None:
        """Ask for an earlier job once more, under the same id."""
        if self._asked:
            self._ledger.happened(action.kind)
            await self._ask_again(self._earlier(action))

    async def do_come_back(self, action: Action) -> None:
        """Ask once more for what was heard to its end, as whoever said so before."""
        heard = [one.job for one in self._ledger.submissions.values() if one.keeps and one.heard_s is not None]
        if heard:
            self._ledger.happened(action.kind)
            job = heard[-1 - action.who % len(heard)]
            await self._ask_again(next(asked for asked in self._asked if asked.job == job))

    async def _ask_again(self, asked: Asked) -> None:
        body = {key: value for key, value in asked.body.items() if key != "deadline_ms"} | _limit(asked.timeout_s)
        await self._ask(replace(asked, body=body))

    def _earlier(self, action: Action) -> Asked:
        return self._asked[-1 - action.who % len(self._asked)]

    async def do_cancel(self, action: Action) -> None:
        """Cancel a job, with the tenant's name or without."""
        if self._asked:
            self._ledger.happened(action.kind)
            asked = self._earlier(action)
            self._ledger.cancelled(asked.job)
            body = codec.encode({"tenant": asked.tenant}) if action.how % 2 else b""
            subject = self._subjects.control(asked.job, "cancel")
            await self.wire.publish(subject, body, reply=f"{PRODUCER}cancel")  # without a reply it would be no order

    async def do_status(self, action: Action) -> None:
        """Ask what a job does."""
        if self._asked:
            self._ledger.happened(action.kind)
            subject = self._subjects.control(self._earlier(action).job, "status")
            await self.wire.publish(subject, b"", reply=f"{PRODUCER}status")

    async def do_hang_up(self, action: Action) -> None:
        """Stop listening, without a word."""
        waiting = [one for one in self._ledger.submissions.values() if one.open and not one.gone]
        if waiting:
            self._ledger.happened(action.kind)
            one = waiting[action.who % len(waiting)]
            one.gone = True
            await self._inboxes[one.inbox].unsubscribe()


def _encoding(action: Action) -> Encoding:
    return Encoding.MSGPACK if action.how >= 128 else Encoding.JSON


def _limit(timeout_s: float, *, absolute: bool = False) -> dict[str, Any]:
    if absolute:
        return {"deadline_ms": int((loop.EPOCH_S + asyncio.get_running_loop().time() + timeout_s) * 1000)}
    return {"timeout_s": timeout_s}


def _nothing(delivery: Delivery) -> None:
    """The ledger reads what dispatchers send before it is on its way."""

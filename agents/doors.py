"""The subjects on which a device is asked for something, and what it answers there; it runs nothing itself.

`job` takes dispatches; `cancel`, `drain`, `probe` and `load` are for dispatchers and operators, and speak JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import ConfigDict, Strict

from agents.loading import Loader
from agents.probe import DEFAULT_S, MOST_S, Probe, Prober, Verdict
from agents.worker import Worker
from common import codec
from common.bus import Bus, Delivery, Subscription
from common.errors import FleetError
from common.load_orders import LoadOrder, LoadTold
from common.logs import get_logger
from common.messages import DeviceState, Token
from common.subjects import is_inbox

log = get_logger("doors")

Verb = Callable[[dict[str, Any]], dict[str, Any]]
WaitingVerb = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    """Cancel one attempt. A dispatcher names it by its `reply` subject; a person, who can't know that, by the job, and gets
    all that runs of it, or the one with the number."""

    job: Token
    attempt: Annotated[int, Ge(1)] | None = None
    reply: Annotated[str, MinLen(1), MaxLen(512)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainRequest:
    """Refuse new jobs, or take them again. Whoever misspells it must not close a device, nor believe that it is open."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    on: Annotated[bool, Strict()] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """Say that the agent is there, and, with `generate`, that its engine is: by one token, within `timeout_s`."""

    generate: bool = False
    timeout_s: Annotated[float, Gt(0), Le(MOST_S)] = DEFAULT_S


class Doors:
    """The verbs of one device."""

    def __init__(
        self,
        bus: Bus,
        worker: Worker,
        prober: Prober,
        loader: Loader,
        group: asyncio.TaskGroup,
        *,
        boot: str,
        state: Callable[[], DeviceState],
    ) -> None:
        self._bus = bus
        self._worker = worker
        self._prober = prober
        self._loader = loader
        self._group = group
        self._boot = boot
        self._state = state

    def verb(self, act: Verb, *, asked: bool = False) -> Callable[[Delivery], None]:
        """Make a bus handler of a verb: it acts at once, and answers with its result or with a typed error.

        With `asked` it acts for those alone who wait for that: a stream answers under any subject that somebody gives it for a
        reply, whatever rights that one has, and such an answer may be empty.
        """

        def handle(delivery: Delivery) -> None:
            if asked and not is_inbox(delivery.reply):
                return
            try:
                answer = act(codec.decode_request(delivery.data or b"{}"))
            except FleetError as error:
                answer = _refused(delivery, error)
            if delivery.reply:
                self._group.create_task(self._answer(delivery.reply, codec.encode(answer, codec.sniff(delivery.data))))

        return handle

    def cancel(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Cancel what runs; one that is named by its reply subject also when it is still to come."""
        request = codec.build(CancelRequest, asked)
        attempts = self._worker.attempts
        if request.reply is not None:
            return {"cancelled": attempts.cancel(request.reply)}
        return {"cancelled": attempts.cancel_job(request.job, request.attempt)}

    def drain(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Close or open the job door."""
        request = codec.build(DrainRequest, asked)
        self._worker.drain(on=request.on)
        log.info("device.drain", on=request.on)
        return {"state": str(self._state())}

    def waiting(self, act: WaitingVerb, *, asked: bool = False) -> Callable[[Delivery], None]:
        """Make a bus handler of a verb whose answer may take seconds, in which other doors must stay open; `asked` is as with
        `verb`."""

        def handle(delivery: Delivery) -> None:
            if delivery.reply and (is_inbox(delivery.reply) or not asked):
                self._group.create_task(self._answer_late(delivery, act))

        return handle

    async def probe(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Say that the agent is there, and what its engine does if that is asked."""
        request = codec.build(ProbeRequest, asked)
        outcome = _told(await self._prober.probe(request.timeout_s)) if request.generate else {}
        in_flight = self._worker.workload().in_flight
        return {"state": str(self._state()), "boot": self._boot, "in_flight": in_flight, **outcome}

    async def load(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Load a model ahead of any job."""
        request = codec.build(LoadOrder, asked)
        loaded = await self._loader.load(request.model, request.keep_s, wait_s=request.wait_s)
        state: Literal["loaded", "loading"] = "loaded" if loaded.done else "loading"
        return codec.plain(LoadTold(model=loaded.model, state=state, seconds=round(loaded.seconds, 3)))

    async def _answer_late(self, delivery: Delivery, act: WaitingVerb) -> None:
        try:
            answer = await act(codec.decode_request(delivery.data or b"{}"))
        except FleetError as error:
            answer = _refused(delivery, error)
        await self._answer(delivery.reply, codec.encode(answer, codec.sniff(delivery.data)))

    async def _answer(self, reply: str, payload: bytes) -> None:
        try:
            await self._bus.publish(reply, payload)
        except FleetError as error:
            log.warning("door.unanswered", code=error.code, error=error.message)


def _refused(delivery: Delivery, error: FleetError) -> dict[str, Any]:
    log.info("door.refused", subject=delivery.subject, code=error.code, error=error.message)
    return {"error": error.to_wire()}


def _told(probe: Probe) -> dict[str, Any]:
    """Give a probe's outcome as it travels: `ok` is absent where the probe can't tell, and what is not known is absent, too.
    The error is text: `error` itself is the refusal of a request."""
    known = {
        "ok": {Verdict.OK: True, Verdict.FAILED: False}.get(probe.verdict),
        "model": probe.model,
        "seconds": None if probe.seconds is None else round(probe.seconds, 3),
        "silent_s": None if probe.silent_s is None else round(probe.silent_s, 3),
        "reason": probe.error,
    }
    return {"verdict": str(probe.verdict), **{key: value for key, value in known.items() if value is not None}}


@asynccontextmanager
async def open_doors(
    bus: Bus, subject: Callable[[str], str], doors: Doors, worker: Worker
) -> AsyncIterator[Subscription]:
    """Listen; `subject` gives the subject of a verb. Gives the subscription of the jobs, to be drained before the rest closes."""
    async with AsyncExitStack() as stack:
        handlers = {
            "cancel": doors.verb(doors.cancel),
            "drain": doors.verb(doors.drain, asked=True),
            "probe": doors.waiting(doors.probe),
            "load": doors.waiting(doors.load, asked=True),
        }
        for name, handler in handlers.items():
            verb = await bus.subscribe(subject(name), handler)
            stack.push_async_callback(verb.unsubscribe)
        jobs = await bus.subscribe(subject("job"), worker.take)
        stack.push_async_callback(jobs.unsubscribe)
        yield jobs

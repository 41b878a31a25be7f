"""The producer's library: send chats and texts to embed to the fleet, and read the answers, over NATS; it knows nothing of routing.

async with Drover.connect("nats://127.0.0.1:4222") as drover:
    async for chunk in drover.chat("Why is the sky blue?"):
        print(chunk, end="")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, Self

from ulid import ULID

from common import codec, frames, tracing
from common.bus import Bus
from common.bus.jetstream import JetStream
from common.bus.mux import ReplyMux, reply_mux
from common.bus.nats import NatsOptions, connect_nats
from common.chat_inbox import ChatInbox
from common.chat_stream import Answer, ChatStream
from common.clock import loop_s
from common.durable_client import DurableJobs, answer_or_raise
from common.embedding import AT_ONCE, Embeddings, embed_requests, joined
from common.errors import (
    BadRequest,
    BusError,
    BusTimeout,
    DeadlineExceeded,
    FleetError,
    GarbledReply,
    Interrupted,
    NoDispatcher,
    NoResponders,
    from_wire,
)
from common.handover import Handover
from common.messages import ChatRequest, Message, Priority, Role
from common.retelling import PATIENCE_S, Retelling
from common.subjects import Subjects, own_inbox, require_token
from common.trials import TrialWeights

SILENCE_S = 2.5
"""A dispatcher sends a frame at least each one and a half seconds; after this long it is taken for dead, and the job is sent
again. If it lives, that only joins the running answer."""

EXPLAIN_S = 5.0
"""Deciding takes a millisecond; whoever waits this long waits for a dispatcher that hangs."""

RETURN_S = 10.0
"""So long the old dispatcher is asked to keep the job for a producer that looks for it elsewhere."""

Frames = AsyncGenerator[frames.Frame, None]


class Drover:
    """A connection to the fleet. Open it with `Drover.connect`; safe for any number of concurrent chats."""

    def __init__(
        self,
        bus: Bus,
        mux: ReplyMux,
        *,
        tenant: str,
        subjects: Subjects,
        patience_s: float = PATIENCE_S,
        newest_only: bool = False,
    ) -> None:
        self.patience_s = patience_s
        self._bus = bus
        self._mux = mux
        self._tenant = tenant
        self._subjects = subjects
        self._open: set[ChatInbox] = set()
        self.durable = DurableJobs(bus, JetStream(bus), tenant=tenant, subjects=subjects, newest_only=newest_only)
        """Jobs that survive every process, with all that can be asked of them."""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str = "nats://127.0.0.1:4222",
        *,
        tenant: str = "default",
        prefix: str = "llm.v1",
        patience_s: float = PATIENCE_S,
        **options: Any,
    ) -> AsyncIterator[Self]:
        """Connect to NATS. Raises `BusDisconnected` when no server answers; `options` are those of `NatsOptions`.

        `patience_s` is how long a chat outlives its dispatcher, or the connection; 0 tells of the first loss.
        """
        require_token("tenant", tenant)
        options.setdefault("inbox_prefix", own_inbox("producer", tenant))
        nats = NatsOptions(urls=tuple(url.split(",")), name="drover-producer", **options)
        async with (
            connect_nats(nats) as bus,
            cls.over(
                bus, tenant=tenant, prefix=prefix, patience_s=patience_s, newest_only=tenants_own(nats, tenant)
            ) as drover,
        ):
            yield drover

    @classmethod
    @asynccontextmanager
    async def over(
        cls,
        bus: Bus,
        *,
        tenant: str = "default",
        prefix: str = "llm.v1",
        patience_s: float = PATIENCE_S,
        newest_only: bool = False,
    ) -> AsyncIterator[Self]:
        """Use a bus that is open already; it stays open. `newest_only` is for a tenant's own user: see `DurableJobs`."""
        async with reply_mux(bus, bus.new_inbox()) as mux:
            drover = cls(
                bus, mux, tenant=tenant, subjects=Subjects(prefix), patience_s=patience_s, newest_only=newest_only
            )
            forget = bus.on_disconnect(drover._lose)
            try:
                yield drover
            finally:
                forget()

    def chat(self, prompt: str | Sequence[Message | dict[str, Any]], **fields: Any) -> ChatStream:
        """Stream an answer. `prompt` is a text or a conversation; `fields` are those of `ChatRequest`.

        Iterating raises the typed errors of `common.errors`: `UnknownModel`, `NoDevice`, `QueueFull`, `Interrupted`, …
        """
        request = chat_request(prompt, stream=True, **fields)
        return ChatStream(self.frames(request))

    async def ask(self, prompt: str | Sequence[Message | dict[str, Any]], **fields: Any) -> Answer:
        """Wait for a whole answer; raises as `chat` does. A device that fails half-way costs time, never the answer."""
        async with self.chat(prompt, hold=True, **fields) as stream:
            async for _ in stream:
                pass
        if stream.answer is None:
            raise GarbledReply("the stream ended without an end frame: ask again")
        return stream.answer

    async def embed(
        self, texts: str | Sequence[str], *, model: str, tenant: str | None = None, **fields: Any
    ) -> Embeddings:
        """Embed any number of texts with one model, which has to be named; `fields` are those of `ChatRequest` that mean something
        here: `dimensions`, `truncate`, `device`, `timeout_s` (for all of it), `priority`, `user`, …

        Many texts become several jobs, a few at once; when one fails, the others are cancelled, and its error is raised, typed as
        those of `chat`. A device that fails costs time, never the answer.
        """
        requests = self.embed_requests(texts, model=model, **fields)
        few, began_s = asyncio.Semaphore(AT_ONCE), loop_s()

        async def run(request: ChatRequest) -> frames.End:
            async with few:
                return await self._end(_in_time(request, loop_s() - began_s), tenant)

        try:
            async with asyncio.TaskGroup() as jobs:
                running = [jobs.create_task(run(request)) for request in requests]
        except ExceptionGroup as errors:
            if isinstance(errors.exceptions[0], FleetError):
                raise errors.exceptions[0] from None
            raise
        return joined([one.result() for one in running])

    def embed_requests(self, texts: str | Sequence[str], *, model: str, **fields: Any) -> tuple[ChatRequest, ...]:
        """Build the jobs that `embed` runs, for whoever runs them by `frames`. Raises `BadRequest`."""
        return embed_requests(texts, model=model, most_bytes=self._bus.max_payload, **fields)

    async def _end(self, request: ChatRequest, tenant: str | None) -> frames.End:
        """Wait for the end of a job that has nothing else to tell. Raises its error."""
        async with aclosing(self.frames(request, tenant=tenant)) as source:
            async for frame in source:
                if isinstance(frame, frames.Err):
                    raise frame.error
                if isinstance(frame, frames.End):
                    return frame
        raise GarbledReply("the stream ended without an end frame: ask again")

    async def submit(
        self,
        prompt: str | Sequence[Message | dict[str, Any]],
        *,
        priority: Priority = Priority.NORMAL,
        **fields: Any,
    ) -> str:
        """Put a job into the durable queue, and give its id; from then on it survives every process. Raises `QueueFull`."""
        return (await self.durable.submit(chat_request(prompt, **fields), priority=priority)).job

    async def result(self, job: str, *, wait_s: float = 0.0) -> Answer:
        """Give the answer of a durable job, if it comes within `wait_s`.

        Raises the job's own error, `UnknownJob`, and `BusTimeout` when it is not over.
        """
        note = answer_or_raise(await self.durable.result(job, wait_s=wait_s))
        return codec.build(Answer, note.answer or {})

    async def frames(
        self, request: ChatRequest, *, tenant: str | None = None, handover: Handover | None = None
    ) -> AsyncGenerator[frames.Frame, None]:
        """Send a request and give each frame of its stream, the terminal one included.

        What is lost on the way (the dispatcher, the connection, a frame) is mended by sending the same job again: its text comes
        from the start, and what was given already is compared and left out. Only when that fails for `patience_s`, or the
        request's own time is over, it raises: `NoDispatcher` when nobody takes the job, `BusTimeout` when the dispatcher fell
        silent, `BusDisconnected`, `Interrupted` when a frame is missing. Also, at once, `GarbledReply`, `PayloadTooLarge`.
        Closing the generator before the end lets the job go; it is cancelled when nobody else waits for it. `handover` tells at any
        moment, also then, whether a dispatcher may have the job.
        """
        if not request.job:
            request = replace(request, stream=True, job=str(ULID()), resends=0)
        elif not request.stream:
            request = replace(request, stream=True)
        telling, handover = Retelling(request, patience_s=self.patience_s), handover or Handover()
        while True:
            try:
                async with aclosing(self._once(telling.request(), tenant or self._tenant, handover)) as source:
                    async for frame in source:
                        for shown in telling.take(frame):
                            yield shown
                        if telling.over:
                            return
            except FleetError as error:
                pause_s = telling.pause_s(error)
            await asyncio.sleep(pause_s)

    async def _once(self, request: ChatRequest, tenant: str, handover: Handover) -> Frames:
        """Send a request once, and give what comes."""
        job, keep_s = str(request.job), 0.0
        payload = codec.encode_request(codec.plain(request))
        with self._inbox() as (inbox, reply), handover.sending() as sending:
            await self._bus.publish(
                self._subjects.work(request.kind, tenant), payload, reply=reply, headers=tracing.outgoing()
            )
            sending.published = True
            try:
                async for frame in inbox.read(SILENCE_S):
                    sending.hear(frame)
                    yield frame
            except (BusError, Interrupted):
                keep_s = RETURN_S if self.patience_s else 0.0
                raise
            finally:
                if not inbox.over:
                    await self._abandon(job, tenant, reply, keep_s)

    async def explain(
        self,
        request: ChatRequest,
        *,
        tenant: str | None = None,
        weights: TrialWeights | None = None,
        timeout_s: float = EXPLAIN_S,
    ) -> dict[str, Any]:
        """Tell where a request would go and why, without running it; `weights` tries others of the hybrid score than those that
        hold.

        Raises what the request would be refused with before it is routed, `NoDispatcher`, `BusTimeout`.
        """
        subject = self._subjects.work("route", tenant or self._tenant)
        tried = {} if weights is None else {"weights": codec.plain(weights)}
        return await self._told(subject, codec.encode_request({**codec.plain(request), **tried}), timeout_s)

    async def why(self, job: str, *, tenant: str | None = None, timeout_s: float = EXPLAIN_S) -> dict[str, Any]:
        """Tell why a job that ran lately went where it went. Raises `UnknownJob`, `NoDispatcher`, `BusTimeout`."""
        subject = self._subjects.control(require_token("job", job), "why", tenant or self._tenant)
        return await self._told(subject, _order(tenant or self._tenant), timeout_s)

    async def rate(
        self, job: str, said: dict[str, Any], *, tenant: str | None = None, timeout_s: float = EXPLAIN_S
    ) -> dict[str, Any]:
        """Say how an answer was: `{"rating": "up"}` or `{"score": 0.3}`, perhaps with `reason` and `source` (user, vote, judge).

        It is learned from, and where a ledger runs kept as nobody's in particular, unless `keep` is false. Raises `BadRequest`,
        `UnknownJob`, `NoDispatcher`, `BusTimeout`.
        """
        subject = self._subjects.control(require_token("job", job), "feedback", tenant or self._tenant)
        order = codec.encode_request({**said, "tenant": tenant or self._tenant})
        return await self._told(subject, order, timeout_s, key="counted")

    async def _told(self, subject: str, body: bytes, timeout_s: float, *, key: str = "options") -> dict[str, Any]:
        try:
            reply = await self._bus.request(subject, body, timeout_s=timeout_s)
        except NoResponders as error:
            raise NoDispatcher("no dispatcher runs: start one (`drover dispatcher`), or `make up`") from error
        except BusTimeout as error:
            raise BusTimeout(
                f"a dispatcher is there, and none answered within {timeout_s:g} s: it hangs, is stopped, or has too much to do; "
                "see its log, and restart it if it stays so"
            ) from error
        told = codec.decode(reply.data)
        if key not in told:
            raise from_wire(told.get("error") or {})
        return told

    async def cancel(self, job: str, *, tenant: str | None = None, timeout_s: float = 2.0) -> bool:
        """Cancel a job of this tenant anywhere, for all who wait for it; True when a dispatcher knew it. Raises `BusTimeout` when
        none answers."""
        subject = self._subjects.control(require_token("job", job), "cancel", tenant or self._tenant)
        reply = await self._bus.request(subject, _order(tenant or self._tenant), timeout_s=timeout_s)
        return bool(codec.decode(reply.data).get("cancelled"))

    async def _abandon(self, job: str, tenant: str, reply: str, keep_s: float) -> None:
        """Tell the dispatcher that nobody hears this inbox any more, and don't wait. Others who wait for the job keep it, and so
        does `keep_s`."""
        order: dict[str, Any] = {"tenant": tenant, "reply": reply}
        if keep_s:
            order["keep_s"] = keep_s
        try:
            await self._bus.publish(self._subjects.control(job, "cancel", tenant), codec.encode(order))
        except BusError:
            pass  # there is nobody to tell, and the reader must hear of what ended the stream

    @contextmanager
    def _inbox(self) -> Iterator[tuple[ChatInbox, str]]:
        """Open an inbox; gives it, and its reply subject."""
        inbox = ChatInbox()
        with self._mux.slot(inbox.put) as reply:
            self._open.add(inbox)
            try:
                yield inbox, reply(1)
            finally:
                self._open.discard(inbox)

    def _lose(self) -> None:
        for inbox in self._open:
            inbox.lose()


def tenants_own(options: NatsOptions, tenant: str) -> bool:
    """Tell whether a connection is that of a tenant's own user, as `drover tenant add` makes it."""
    return options.nkey_file is not None and options.inbox_prefix == own_inbox("producer", tenant)


def _in_time(request: ChatRequest, passed_s: float) -> ChatRequest:
    """Give what is left of the time that all jobs of a call have together. Raises `DeadlineExceeded`."""
    if request.timeout_s is None:
        return request
    left_s = request.timeout_s - passed_s
    if left_s <= 0:
        raise DeadlineExceeded(
            f"not all texts were embedded within {request.timeout_s:g} s: allow more time (timeout_s)"
        )
    return replace(request, timeout_s=left_s)


def _order(tenant: str) -> bytes:
    """Write whose job is meant: ids are the producers' own, and two tenants may use the same."""
    return codec.encode({"tenant": tenant})


def chat_request(prompt: str | Sequence[Message | dict[str, Any]], **fields: Any) -> ChatRequest:
    """Build a request from a text or a conversation. Raises `BadRequest` that names every wrong field."""
    return codec.build(ChatRequest, {"messages": _turns(prompt), **fields})


def _turns(prompt: object) -> list[object]:
    """Give the messages. What is no conversation is refused here, since a producer's types are seldom checked."""
    if isinstance(prompt, str):
        return [{"role": Role.USER, "content": prompt}]
    if isinstance(prompt, bytes | bytearray) or not isinstance(prompt, Sequence):
        got = "a single message" if isinstance(prompt, Message) else codec.kind(prompt)
        raise BadRequest(f"prompt: it is {got}: give a text, or a list of messages", param="prompt")
    return [codec.plain(turn) if isinstance(turn, Message) else turn for turn in prompt]

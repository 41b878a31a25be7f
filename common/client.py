"""The producer's library: send a chat to the fleet and read the answer, over NATS; it knows nothing of routing.

async with Drover.connect("nats://127.0.0.1:4222") as drover:
    async for chunk in drover.chat("Why is the sky blue?"):
        print(chunk, end="")
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ulid import ULID

from common import codec, frames
from common.bus import Bus, Delivery
from common.bus.jetstream import JetStream
from common.bus.mux import ReplyMux, reply_mux
from common.bus.nats import NatsOptions, connect_nats
from common.durable_client import DurableJobs, answer_or_raise
from common.errors import BadRequest, BusDisconnected, BusError, BusTimeout, GarbledReply, Interrupted, NoDispatcher
from common.messages import ChatRequest, Message, Priority, Role, ToolCall, Usage
from common.subjects import Subjects, require_token

SILENCE_S = 15.0
"""A dispatcher sends a frame at least once a second; after this long it is taken for dead."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the answer's text."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer. `route` is the dispatcher's account: device, model, reason, score terms, attempts, timings."""

    job: str
    text: str
    device: str
    model: str
    reason: str
    finish: str = "stop"
    usage: Usage = Usage()
    tool_calls: tuple[ToolCall, ...] = ()
    route: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


class ChatStream:
    """An answer on its way: iterate over it for the chunks; `answer` is there after the last one.

    Leaving the loop early cancels the job when the stream is closed (`aclose`, or the end of `async with`).
    """

    def __init__(self, source: AsyncGenerator[frames.Frame, None]) -> None:
        self._source = source
        self._text: list[str] = []
        self.answer: Answer | None = None

    @property
    def text(self) -> str:
        """The text so far; after an error, all there is."""
        return "".join(self._text)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._source.aclose()

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        async with aclosing(self._source) as source:
            async for frame in source:
                if isinstance(frame, frames.Token):
                    self._text.append(frame.text)
                    yield Chunk(frame.text)
                elif isinstance(frame, frames.End):
                    self.answer = _answer(self.text, frame)
                elif isinstance(frame, frames.Err):
                    raise frame.error


class Drover:
    """A connection to the fleet. Open it with `Drover.connect`; safe for any number of concurrent chats."""

    def __init__(self, bus: Bus, mux: ReplyMux, *, tenant: str, subjects: Subjects) -> None:
        self._bus = bus
        self._mux = mux
        self._tenant = tenant
        self._subjects = subjects
        self._open: set[_Inbox] = set()
        self.durable = DurableJobs(bus, JetStream(bus), tenant=tenant, subjects=subjects)
        """Jobs that survive every process, with all that can be asked of them."""
        bus.on_disconnect(self._lose)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, url: str = "nats://127.0.0.1:4222", *, tenant: str = "default", prefix: str = "llm.v1", **options: Any
    ) -> AsyncIterator[Self]:
        """Connect to NATS. Raises `BusDisconnected` when no server answers; `options` are those of `NatsOptions`."""
        require_token("tenant", tenant)
        nats = NatsOptions(urls=tuple(url.split(",")), name="drover-producer", **options)
        async with connect_nats(nats) as bus, cls.over(bus, tenant=tenant, prefix=prefix) as drover:
            yield drover

    @classmethod
    @asynccontextmanager
    async def over(cls, bus: Bus, *, tenant: str = "default", prefix: str = "llm.v1") -> AsyncIterator[Self]:
        """Use a bus that is open already; it stays open."""
        async with reply_mux(bus, f"_INBOX_{tenant}.{secrets.token_hex(6)}") as mux:
            yield cls(bus, mux, tenant=tenant, subjects=Subjects(prefix))

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

    async def frames(self, request: ChatRequest, *, tenant: str | None = None) -> AsyncGenerator[frames.Frame, None]:
        """Send a request and give each frame of its stream, the terminal one included.

        Closing the generator before that cancels the job. Raises `NoDispatcher` when nobody takes the job, `BusTimeout`
        when the dispatcher falls silent, `BusDisconnected` as soon as the connection is lost, `Interrupted` when a frame is
        missing: the text so far is right, and not all there was. Also `GarbledReply`, `PayloadTooLarge`.
        """
        request = replace(request, stream=True, job=request.job or str(ULID()))
        subject = self._subjects.work("chat", tenant or self._tenant)
        payload = codec.encode_request(codec.plain(request))
        with self._inbox() as (inbox, reply):
            await self._bus.publish(subject, payload, reply=reply)
            try:
                async for frame in inbox.read(SILENCE_S):
                    yield frame
            finally:
                if not inbox.over:
                    await self._abandon(str(request.job), tenant or self._tenant)

    async def cancel(self, job: str, *, tenant: str | None = None, timeout_s: float = 2.0) -> bool:
        """Cancel a job of this tenant anywhere; True when a dispatcher knew it. Raises `BusTimeout` when none answers."""
        subject = self._subjects.control(require_token("job", job), "cancel")
        reply = await self._bus.request(subject, _order(tenant or self._tenant), timeout_s=timeout_s)
        return bool(codec.decode(reply.data).get("cancelled"))

    async def _abandon(self, job: str, tenant: str) -> None:
        """Tell the dispatcher, and don't wait: the reader has gone."""
        try:
            await self._bus.publish(self._subjects.control(job, "cancel"), _order(tenant))
        except BusError:
            pass  # there is nobody to tell, and the reader must hear of what ended the stream

    @contextmanager
    def _inbox(self) -> Iterator[tuple[_Inbox, str]]:
        """Open an inbox; gives it, and its reply subject."""
        inbox = _Inbox()
        with self._mux.slot(inbox.put) as reply:
            self._open.add(inbox)
            try:
                yield inbox, reply(1)
            finally:
                self._open.discard(inbox)

    def _lose(self) -> None:
        for inbox in self._open:
            inbox.lose()


class _Inbox:
    """The frames of one stream in the order of arrival, and whether all have arrived."""

    def __init__(self) -> None:
        self.over = False
        """True when the dispatcher has nothing more to say: a terminal frame, the end of the stream, or nobody there."""
        self._waiting: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._lost = False
        self._tokens = 0

    def put(self, _attempt: int, delivery: Delivery) -> None:
        self._waiting.append(delivery)
        self._arrived.set()

    def lose(self) -> None:
        """Note that the connection is lost, and with it what was under way."""
        self._lost = True
        self._arrived.set()

    async def read(self, silence_s: float) -> AsyncIterator[frames.Frame]:
        """Give the frames, the terminal one last. Raises what `Drover.frames` says."""
        while not self.over:
            while self._waiting and not self.over:
                yield self._take(self._waiting.popleft())
            if not self.over:
                await self._more(silence_s)

    def _take(self, delivery: Delivery) -> frames.Frame:
        if delivery.no_responders:
            self.over = True
            raise NoDispatcher("no dispatcher listens on the bus: start one with `drover dispatcher` or `make up`")
        if not delivery.data:
            self.over = True
            raise Interrupted("the end of the answer did not arrive: send the request again")
        frame = frames.from_wire(codec.decode(delivery.data))
        self.over = isinstance(frame, frames.Terminal)
        self._require_all(frame)
        return frame

    def _require_all(self, frame: frames.Frame) -> None:
        """Raise `Interrupted` when a token is missing: NATS drops what is sent while a connection is away."""
        match frame:
            case frames.Token() if frame.seq == self._tokens:
                self._tokens += 1
            case frames.Token():
                raise Interrupted(
                    f"piece {self._tokens} of the answer did not arrive (piece {frame.seq} did): send the request again"
                )
            case frames.End() if frame.tokens != self._tokens:
                raise Interrupted(
                    f"{self._tokens} of {frame.tokens} pieces of the answer arrived: send the request again"
                )
            case _:
                pass

    async def _more(self, silence_s: float) -> None:
        if self._lost:
            raise BusDisconnected("the connection was lost while the answer was under way: send the request again")
        self._arrived.clear()
        try:
            async with asyncio.timeout(silence_s):
                await self._arrived.wait()
        except TimeoutError as error:
            raise BusTimeout(
                f"the dispatcher has been silent for {silence_s:g} s: the job may be lost, send it again"
            ) from error


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


def _answer(text: str, end: frames.End) -> Answer:
    route = end.route or {}
    return Answer(
        job=str(route.get("job", "")),
        text=text,
        device=str(route.get("device", "")),
        model=str(route.get("model", "")),
        reason=str(route.get("reason", "")),
        finish=str(end.finish),
        usage=end.usage,
        tool_calls=end.tool_calls,
        route=route,
    )

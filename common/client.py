"""The producer's library: send a chat to the fleet and read the answer, over NATS; it knows nothing of routing.

async with Drover.connect("nats://127.0.0.1:4222") as drover:
    async for chunk in drover.chat("Why is the sky blue?"):
        print(chunk, end="")
"""

from __future__ import annotations

import asyncio
import random
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
from common.errors import (
    TORN,
    BadRequest,
    BusDisconnected,
    BusError,
    BusTimeout,
    FleetError,
    GarbledReply,
    Interrupted,
    NoDispatcher,
    Stopping,
)
from common.messages import ChatRequest, Message, Priority, Role, ToolCall, Usage
from common.subjects import Subjects, require_token

SILENCE_S = 2.5
"""A dispatcher sends a frame at least each one and a half seconds; after this long it is taken for dead, and the job is sent
again. If it lives, that only joins the running answer."""

PATIENCE_S = 15.0
"""So long a producer goes on sending a job again that was accepted once; a broker and a dispatcher are back by then."""

FIRST_CONTACT_S = 3.0
"""So long it tries to find a dispatcher at all: a lone one that is started anew is back by then."""

RETURN_S = 10.0
"""So long the old dispatcher is asked to keep the job for a producer that looks for it elsewhere."""

PAUSE_MIN_S, PAUSE_MAX_S = 0.05, 1.0
"""Between two tries, doubled each time, and jittered: producers should not come back in step."""


Frames = AsyncGenerator[frames.Frame, None]


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

    def __init__(
        self, bus: Bus, mux: ReplyMux, *, tenant: str, subjects: Subjects, patience_s: float = PATIENCE_S
    ) -> None:
        self._patience_s = patience_s
        self._bus = bus
        self._mux = mux
        self._tenant = tenant
        self._subjects = subjects
        self._open: set[_Inbox] = set()
        self.durable = DurableJobs(bus, JetStream(bus), tenant=tenant, subjects=subjects)
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
        nats = NatsOptions(urls=tuple(url.split(",")), name="drover-producer", **options)
        async with (
            connect_nats(nats) as bus,
            cls.over(bus, tenant=tenant, prefix=prefix, patience_s=patience_s) as drover,
        ):
            yield drover

    @classmethod
    @asynccontextmanager
    async def over(
        cls, bus: Bus, *, tenant: str = "default", prefix: str = "llm.v1", patience_s: float = PATIENCE_S
    ) -> AsyncIterator[Self]:
        """Use a bus that is open already; it stays open."""
        async with reply_mux(bus, f"_INBOX_{tenant}.{secrets.token_hex(6)}") as mux:
            drover = cls(bus, mux, tenant=tenant, subjects=Subjects(prefix), patience_s=patience_s)
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

        What is lost on the way (the dispatcher, the connection, a frame) is mended by sending the same job again: its text comes
        from the start, and what was given already is compared and left out. Only when that fails for `patience_s`, or the
        request's own time is over, it raises: `NoDispatcher` when nobody takes the job, `BusTimeout` when the dispatcher fell
        silent, `BusDisconnected`, `Interrupted` when a frame is missing. Also, at once, `GarbledReply`, `PayloadTooLarge`.
        Closing the generator before the end lets the job go; it is cancelled when nobody else waits for it.
        """
        minted = request.job is None
        request = replace(
            request,
            stream=True,
            job=request.job or str(ULID()),
            resends=0 if minted else request.resends,
        )
        telling = Telling(request, patience_s=self._patience_s)
        while True:
            try:
                async with aclosing(self._once(telling.request(), tenant or self._tenant)) as source:
                    async for frame in source:
                        for shown in telling.take(frame):
                            yield shown
                        if telling.over:
                            return
            except FleetError as error:
                pause_s = telling.pause_s(error)
            await asyncio.sleep(pause_s)

    async def _once(self, request: ChatRequest, tenant: str) -> Frames:
        """Send a request once, and give what comes."""
        job, keep_s = str(request.job), 0.0
        payload = codec.encode_request(codec.plain(request))
        with self._inbox() as (inbox, reply):
            await self._bus.publish(self._subjects.work("chat", tenant), payload, reply=reply)
            try:
                async for frame in inbox.read(SILENCE_S):
                    yield frame
            except (BusError, Interrupted):
                keep_s = RETURN_S if self._patience_s else 0.0
                raise
            finally:
                if not inbox.over:
                    await self._abandon(job, tenant, reply, keep_s)

    async def cancel(self, job: str, *, tenant: str | None = None, timeout_s: float = 2.0) -> bool:
        """Cancel a job of this tenant anywhere, for all who wait for it; True when a dispatcher knew it. Raises `BusTimeout` when
        none answers."""
        subject = self._subjects.control(require_token("job", job), "cancel")
        reply = await self._bus.request(subject, _order(tenant or self._tenant), timeout_s=timeout_s)
        return bool(codec.decode(reply.data).get("cancelled"))

    async def _abandon(self, job: str, tenant: str, reply: str, keep_s: float) -> None:
        """Tell the dispatcher that nobody hears this inbox any more, and don't wait. Others who wait for the job keep it, and so
        does `keep_s`."""
        order: dict[str, Any] = {"tenant": tenant, "reply": reply}
        if keep_s:
            order["keep_s"] = keep_s
        try:
            await self._bus.publish(self._subjects.control(job, "cancel"), codec.encode(order))
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


class Telling:
    """One answer as its reader gets it, over any number of tries: each begins from the start, and nothing is given twice."""

    def __init__(self, request: ChatRequest, *, patience_s: float) -> None:
        self.over = False
        """True when the reader has the terminal frame."""
        self._request = request
        self._patience_s = patience_s
        self._began_s = asyncio.get_running_loop().time()
        self._sent_s = self._began_s
        self._failing_s: float | None = None
        self._tries = 0
        self._pauses = 0
        self._acked = False
        self._given: list[str] = []
        self._tokens = 0
        self._before = ""
        self._heard = 0

    def request(self) -> ChatRequest:
        """Give what to send next; the time that is left, and the text that the reader has, as they are now."""
        self._tries += 1
        self._sent_s = asyncio.get_running_loop().time()
        if self._tries == 1:
            return self._request
        self._before, self._heard = "".join(self._given), 0
        again = replace(self._request, resends=(self._request.resends or 0) + self._tries - 1, resume=self._before)
        if (left_s := self._left_s()) is not None:
            again = replace(again, timeout_s=left_s)
        return again

    def take(self, frame: frames.Frame) -> list[frames.Frame]:
        """Give what the reader is to see of a frame. Raises the error of a dispatcher that gave the job up as it stopped."""
        if isinstance(frame, frames.Err) and _gave_up(frame.error):
            raise frame.error
        match frame:
            case frames.Ack():
                first, self._acked = not self._acked, True
                return [frame] if first else []
            case frames.Token():
                return self._text(frame.text)
            case frames.End() if self._heard < len(self._before):
                return [self._differs()]
            case frames.End():
                self.over = True
                return [replace(frame, tokens=self._tokens)]
            case frames.Err():
                self.over = True
        return [frame]

    def _text(self, text: str) -> list[frames.Frame]:
        known = self._before[self._heard : self._heard + len(text)]
        self._heard += len(text)
        if not text.startswith(known):
            return [self._differs()]
        new = text[len(known) :]
        if not new:
            return []
        self._given.append(new)
        self._failing_s, self._pauses = None, 0
        self._tokens += 1
        return [frames.Token(self._tokens - 1, new)]

    def _differs(self) -> frames.Err:
        self.over = True
        have = len(self._before)
        return frames.Err(
            Interrupted(
                f"the answer broke off after {have} characters, and came again with other words: ask again",
                delivered_chars=have,
            )
        )

    def pause_s(self, error: FleetError) -> float:
        """Give the seconds until the next try; raises `error` when there is to be none."""
        now_s = asyncio.get_running_loop().time()
        if self._failing_s is None or now_s - self._sent_s > self._patience_s:
            self._failing_s = (
                now_s  # new text, or a long time in good order: this is another trouble than the one before
            )
        patience_s = self._patience_s if self._acked else min(self._patience_s, FIRST_CONTACT_S)
        left_s = self._left_s()
        spent = now_s - self._failing_s >= patience_s or (left_s is not None and left_s <= PAUSE_MIN_S)
        if spent or not _mendable(error):
            raise error
        pause_s = min(PAUSE_MAX_S, PAUSE_MIN_S * 2**self._pauses)
        self._pauses = min(self._pauses + 1, 10)
        return random.uniform(pause_s / 2, pause_s)  # noqa: S311  # jitter, not a secret

    def _left_s(self) -> float | None:
        if self._request.timeout_s is None:
            return None
        return max(PAUSE_MIN_S, self._request.timeout_s - (asyncio.get_running_loop().time() - self._began_s))


def _gave_up(error: FleetError) -> bool:
    """True when the dispatcher ended the job because it stops, and another one takes it; or when it could not send it all."""
    return isinstance(error, Stopping) or error.details.get("cause") in {Stopping.code, TORN}


def _mendable(error: FleetError) -> bool:
    """True when sending the job again may help: what was lost is on the way, not in the request."""
    return isinstance(error, BusTimeout | BusDisconnected | NoDispatcher | Interrupted | Stopping)


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

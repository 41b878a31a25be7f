"""One chat job as an HTTP response, streamed or whole: frames in, a dialect's bytes or object out; it knows no routing.

The headers of a stream go as soon as its route is decided, and name it; the job may still move, and the last word names the device
that answered. An owner may have them wait for the first visible token, for a while: until they are sent, a failure has its own HTTP
status.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from common import codec, energy, frames
from common.clock import Clock
from common.errors import FleetError, Interrupted
from common.logs import get_logger
from common.messages import ChatRequest
from dispatcher.bridge.gate.recalls import Bind, unrecalled
from dispatcher.bridge.headers import header_text, route_headers
from dispatcher.bridge.openai import reply
from dispatcher.bridge.speech import Dialect, as_asked
from dispatcher.bridge.sse import Aside, Curfew, ReaderStalled, Stream, while_connected

log = get_logger("bridge")

ROUTELESS_S = 5.0
"""So long the headers of a stream wait for a route: while a job stands in a line there is none to tell."""

KEEP_ALIVE_S = 10.0
"""Clients and proxies give up on streams that are silent for 15 s to 60 s; the dispatcher itself speaks each second."""

STAY_S = 1.0
"""So often it is looked at whether headers are due where no frame comes; the dispatcher speaks as often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How an answer is to be given. `progress` sends headers and every step as soon as they are known; `headers` are told with
    it besides, and with a refusal where that is kept in the conversation that they name."""

    stream: bool
    progress: bool = False
    hold_s: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every answer of a bridge uses; `recalls` of the key that it is for."""

    clock: Clock
    curfew: Curfew
    recalls: Bind = unrecalled


Source = AsyncGenerator[frames.Frame, None]
"""The frames of a job, not begun before the first is asked for; closing it lets the job go."""


class ChatAnswer(Response):
    """Runs the job while the client waits for it, and cancels it when the client hangs up."""

    def __init__(self, request: ChatRequest, source: Source, dialect: Dialect, manner: Manner, means: Means) -> None:
        """Answer `request`, which has a job's id, with the frames of `source`, as `dialect` writes them."""
        super().__init__()
        self._request = request
        self._source = source
        self._dialect = dialect
        self._manner = manner
        self._means = means
        self._job = str(request.job)
        self._began_s = self._spoke_s = means.clock.monotonic()
        self._text: list[str] = []
        self._note: frames.RouteNote | None = None
        self._silent: frames.KeepAlive | None = None
        self._accepted = False
        self._over = False
        self._rest: Response | None = None
        self._pen = asyncio.Lock()
        self.outcome = "hangup"
        """How it ended, in a word: this until it has."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        out = Stream(send)
        aside = Aside(after_s=self._unheard_s, run=partial(self._stay, out)) if self._manner.stream else None
        try:
            await while_connected(receive, self._respond(scope, receive, send, out), aside)
        finally:
            log.info(
                "http.chat",
                job=self._job,
                outcome=self.outcome,
                stream=self._manner.stream,
                device=None if self._note is None else self._note.device,
                model=self._model,
                s=round(self._means.clock.monotonic() - self._began_s, 4),
            )

    @property
    def _model(self) -> str:
        return self._request.model if self._note is None else self._note.model

    @property
    def _unheard_s(self) -> float:
        """So long a stream without a route may be silent from its beginning."""
        return max(ROUTELESS_S, self._manner.hold_s)

    async def _respond(self, scope: Scope, receive: Receive, send: Send, out: Stream) -> None:
        try:
            rest = await self._relay(out)
        except ReaderStalled:
            self.outcome = "reader_stalled"
            return
        except Exception:
            self.outcome = "internal"  # it is logged, and told, by the border that all requests have
            raise
        if rest is not None:
            await rest(scope, receive, send)

    async def _relay(self, out: Stream) -> Response | None:
        """Give the client what comes. Returns the response that is still to be sent when no stream was opened."""
        try:
            async with asyncio.timeout(None) as limit, aclosing(self._frames()) as source:
                with self._means.curfew.bind(limit), self._means.recalls(limit) as recall:
                    async for frame in source:
                        self._remember(frame)
                        async with self._pen:
                            if isinstance(frame, frames.End | frames.Err):
                                self._rest = await self._end(out, frame)
                                return self._rest
                            if self._manner.stream:
                                await self._show(out, frame)
        except TimeoutError:
            if not limit.expired():
                raise
            if out.closed or self._rest is not None:
                return self._rest  # it came in the turn of the last word: there is nothing left to end
            stopping = Interrupted(
                "the bridge is stopping and could not wait for the end of this answer: send it again"
            )
            async with self._pen:
                return await self._fail(out, frames.Err(recall.why or stopping))
        raise AssertionError("frames end with a terminal one")

    async def _stay(self, out: Stream) -> None:
        """Keep the client company while no frame comes: its files are read, or the ledger is asked. Raises `ReaderStalled`."""
        try:
            while not self._over:
                async with self._pen:
                    if not self._over:
                        await self._still(out, self._means.clock.monotonic())
                spoken_s = self._means.clock.monotonic() - self._spoke_s
                await asyncio.sleep(max(STAY_S, KEEP_ALIVE_S - spoken_s) if out.open else STAY_S)
        except ReaderStalled:
            self.outcome = "reader_stalled"
            raise

    async def _frames(self) -> Source:
        """The job's frames, the last of them terminal: what the client library raises becomes one too."""
        try:
            async with aclosing(self._source) as source:
                async for frame in source:
                    yield frame
        except FleetError as error:
            yield frames.Err(error)

    def _remember(self, frame: frames.Frame) -> None:
        self._accepted = self._accepted or not isinstance(frame, frames.Err)
        match frame:
            case frames.RouteNote():
                self._note = frame
                if self._silent is not None and self._silent.phase is frames.Phase.QUEUE:
                    self._silent = None  # it has a device now, and no place in the line
            case frames.KeepAlive():
                self._silent = frame
            case frames.Token() if not self._manner.stream:
                self._text.append(frame.text)
            case _:
                pass

    async def _show(self, out: Stream, frame: frames.Frame) -> None:
        now_s = self._means.clock.monotonic()
        if isinstance(frame, frames.Token):
            await self._open(out, known=True)
            await self._put(out, self._dialect.text(self._model, frame.text))
        else:
            await self._still(out, now_s, each=self._manner.progress)

    async def _still(self, out: Stream, now_s: float, *, each: bool = False) -> None:
        """Say that the answer is to come, if that is due: the headers, and then what has no words; `each` time, or now and then."""
        if not out.open:
            if self._due(now_s):
                await self._open(out, known=self._note is not None and not self._manner.progress)
        elif each or now_s - self._spoke_s >= KEEP_ALIVE_S:
            standing = reply.standing(self._job, self._note, self._silent)
            await self._put(out, self._dialect.still(self._model, standing))

    def _due(self, now_s: float) -> bool:
        """Tell whether the headers must go without text: 1. at once to whoever wants every step 2. with the route, or when the
        owner's hold has passed 3. without a route after a while, since clients wait for headers only so long."""
        if self._manner.progress:  # 1
            return True
        waited_s = now_s - self._began_s
        if self._note is not None:  # 2
            return waited_s >= self._manner.hold_s
        return waited_s >= self._unheard_s  # 3

    async def _open(self, out: Stream, *, known: bool) -> None:
        """Send the headers, if that was not done; `known` tells that text or the end has come from the device that is named."""
        if not out.open:
            note = self._note if known else None
            await out.start([*route_headers(self._job, note), *self._named()], self._dialect.media_type)
            await self._put(out, self._dialect.begin(self._request.model if note is None else note.model))

    async def _put(self, out: Stream, data: bytes) -> None:
        await out.put(data)
        self._spoke_s = self._means.clock.monotonic()

    async def _end(self, out: Stream, frame: frames.End | frames.Err) -> Response | None:
        return await (self._finish(out, frame) if isinstance(frame, frames.End) else self._fail(out, frame))

    async def _finish(self, out: Stream, end: frames.End) -> Response | None:
        self.outcome, self._over = "ok", True
        if not self._manner.stream:
            body = self._dialect.whole(self._model, "".join(self._text), end)
            whole = Response(codec.encode(body), media_type="application/json")
            account = end.route or {}
            queue_s = (account.get("timings") or {}).get("queue_s")
            told = route_headers(self._job, self._note, queue_s=queue_s, cache=account.get("cache"), energy=end.energy)
            whole.raw_headers.extend([*told, *self._named()])
            return whole
        await self._open(out, known=True)
        await out.close(self._dialect.end(self._model, end))
        return None

    async def _fail(self, out: Stream, failure: frames.Err) -> Response | None:
        error = as_asked(failure.error, self._dialect.called)
        taken = energy.told((failure.route or {}).get("energy"))
        self.outcome, self._over = error.code, True
        if not out.open:
            refused = self._dialect.surface.refusal(error, self._job, self._accepted, taken)
            if "conversation" in (failure.route or {}):
                refused.raw_headers.extend(self._besides())
            return refused
        await out.close(self._dialect.broken(error, taken))
        return None

    def _besides(self) -> list[tuple[bytes, bytes]]:
        return [(name.encode(), header_text(value).encode()) for name, value in self._manner.headers.items()]

    def _named(self) -> list[tuple[bytes, bytes]]:
        named = self._dialect.surface.naming(self._job).items()
        return [*self._besides(), *((name.encode(), value.encode()) for name, value in named)]

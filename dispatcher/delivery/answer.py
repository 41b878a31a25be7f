"""One job's answer and everyone who waits for it: the text so far, who has seen it, and the fan-out; it knows neither bus nor wire.

Who comes later gets all there is, then what comes live. A listener that fails, or goes, costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from common import frames
from common.errors import BusError, DeadlineExceeded, FleetError, Stopping
from common.frames import Phase
from common.logs import get_logger
from dispatcher.delivery.listener import PROBE_S, Listener
from dispatcher.delivery.listeners import Listeners
from dispatcher.delivery.sink import Standing, standing
from dispatcher.outcomes import Candidate

log = get_logger("answer")

Deserted = Callable[[float], None]
"""Called when the last listener is gone before the end, with the seconds for which the job is to live on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A whole answer."""

    text: str
    end: frames.End
    route: dict[str, Any]
    note: frames.RouteNote | None = None


@dataclass(frozen=True, slots=True)
class _Failed:
    error: FleetError
    route: dict[str, Any] | None


def _nothing(_: float) -> None:
    """Nobody needs to hear that listeners are gone: the answer is finished."""


def moved(job: str) -> Stopping:
    """Say that the answer comes from elsewhere."""
    return Stopping(f"job {job} moved to another dispatcher: send it again")


class SharedAnswer:
    """An `AnswerSink` with any number of listeners.

    `visible_chars` counts what any listener was shown, and never goes down: one that left may come back, and holds us to it. A
    job that begins with text its producer has already (`begun`) starts with that much visible.
    """

    __slots__ = (
        "_acked",
        "_chars",
        "_job",
        "_last",
        "_listeners",
        "_note",
        "_on_deserted",
        "_pieces",
        "_silent",
        "visible_chars",
    )

    def __init__(self, job: str, on_deserted: Deserted, *, begun: str = "") -> None:
        self._job = job
        self.visible_chars = len(begun)
        self._pieces = [begun] if begun else []
        self._chars = len(begun)
        self._on_deserted = on_deserted
        self._listeners = Listeners()
        self._note: frames.RouteNote | None = None
        self._silent: frames.KeepAlive | None = None
        self._acked = False
        self._last: Ended | _Failed | None = None

    @classmethod
    def again(cls, job: str, ended: Ended) -> SharedAnswer:
        """Give a finished answer again, to whoever is attached; its account says that it is a replay."""
        answer = cls(job, lambda _: None, begun=ended.text)
        ended = replace(ended, route={**ended.route, "replayed": True})
        answer._note, answer._acked, answer._last = ended.note, True, ended
        return answer

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def streams(self) -> bool:
        """True when some listener sees the text as it comes."""
        return self._listeners.live > 0

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Those who wait now."""
        return tuple(self._listeners)

    @property
    def standing(self) -> Standing:
        """How far it is, as its listeners were told last."""
        return standing(self._note, self._silent, text=self._chars > 0)

    def at(self, reply: str) -> Listener | None:
        """Give the listener of a reply subject."""
        return self._listeners.at(reply)

    @property
    def deserted(self) -> bool:
        """True when nobody listens, and the answer is not finished."""
        return self._listeners.gone and self._last is None

    @property
    def ended(self) -> Ended | None:
        """The whole answer, once there is one."""
        return self._last if isinstance(self._last, Ended) else None

    # -- who listens ---------------------------------------------------------------------------------------------

    def add(self, listener: Listener) -> None:
        """Let a listener hear all that is said from now on."""
        self._listeners.add(listener)

    async def attach(self, listener: Listener) -> None:
        """Give a newcomer what was said so far, then let it hear the rest; never raises for what the bus does."""
        if not self._acked and self._last is None:
            self.add(listener)  # it hears the beginning with the others
            return
        self._listeners.arrives(listener)
        try:
            await self._catch_up(listener)
        except FleetError as error:
            await self._fail(listener, error)
        finally:
            self._listeners.arrived(listener)
        if self.deserted:
            self._tell_deserted(listener.seat.keep_s)

    async def _catch_up(self, listener: Listener) -> None:
        await listener.ack()
        if self._note is not None:
            await listener.note(self._note)
        shown = 0
        while self._last is None and not listener.finished:
            # While a piece is sent another may come. When none did, the newcomer joins, with no wait in between.
            missed = self._missed(listener, shown)
            if not missed:
                self.add(listener)
                return
            shown += len(missed)
            await listener.text(missed)
        await self._give_last(listener, shown)

    def _missed(self, listener: Listener, shown: int) -> str:
        """Give what a newcomer has not seen, and count it as seen: it must not be forgotten while it is on its way."""
        if not listener.live or shown == self._chars:
            return ""
        self.visible_chars = self._chars
        return self.text[shown:]

    async def _give_last(self, listener: Listener, shown: int) -> None:
        if isinstance(self._last, Ended):
            if listener.live and shown < self._chars:
                await listener.text(self.text[shown:])
            await listener.end(self._last.text, self._last.end, self._last.route)
        elif self._last is not None:
            await listener.error(self._last.error, self._last.route)

    def leave(self, listener: Listener, *, keep_s: float = 0.0) -> None:
        """Let a listener go. When it was the last, whoever runs the job hears so, with the time that the job is to live on."""
        listed = listener in self._listeners
        self._listeners.remove(listener)
        listener.close()
        if listed and self.deserted:
            self._tell_deserted(keep_s)

    def _tell_deserted(self, keep_s: float) -> None:
        self._on_deserted(max(self._listeners.keep_s, keep_s))

    def release(self) -> tuple[Listener, ...]:
        """Give all listeners away: another dispatcher has them now. Once there are none left the answer has moved for good, and who
        still comes is told so."""
        given = self._listeners.clear()
        if not given:
            self._last = _Failed(moved(self._job), None)
            self._on_deserted = _nothing
        return given

    # -- what is said --------------------------------------------------------------------------------------------

    async def ack(self) -> None:
        """Say that the job is taken; once."""
        if self._acked:
            return
        self._acked = True
        if self.streams and self._chars:
            self.visible_chars = self._chars
        if self._listeners.framed:  # who waits for one reply hears nothing before
            await self._each(self._welcome)

    async def _welcome(self, listener: Listener) -> None:
        await listener.ack()
        if self._note is not None:
            await listener.note(self._note)
        if self._chars:
            await listener.text(self.text)

    def ending(self, end: frames.End, route: dict[str, Any]) -> Ended:
        """Give the answer as it will be once its end is told."""
        return Ended(text=self.text, end=end, route=route, note=self._note)

    async def recall(self, ended: Ended) -> None:
        """Tell an answer that was finished before, instead of one that was not begun; never raises for what the bus does."""
        self._pieces, self._chars, self._note = [ended.text], len(ended.text), ended.note
        self._acked = True
        if self.streams:
            self.visible_chars = self._chars
        await self._each(self._welcome)
        try:
            await self.end(ended.end, {**ended.route, "replayed": True})
        except FleetError as error:
            log.warning("answer.unheard", job=self._job, error=error.code)

    async def route(self, candidate: Candidate, attempt: int) -> None:
        """Say where the job runs now."""
        cache = None if candidate.cached is None else candidate.cached.brief()
        note = frames.RouteNote(self._job, candidate.device, candidate.model, candidate.reason, attempt, cache)
        self._note = note
        self._silent = None  # it waits no longer for what it waited for
        if self._listeners.framed:
            await self._each(lambda listener: listener.note(note))

    async def keep_alive(self, frame: frames.KeepAlive) -> None:
        """Say that the job lives, and what it waits for."""
        self._silent = frame
        if self._listeners.framed:
            await self._each(lambda listener: listener.keep_alive(frame))

    async def token(self, text: str) -> None:
        """Take the next piece of the answer."""
        self._pieces.append(text)
        self._chars += len(text)
        if self._listeners.live:
            self.visible_chars = self._chars
        self._silent = None
        if not self._listeners.framed:
            return
        for listener in self._listeners:
            try:
                await listener.text(text)
            except FleetError as error:
                await self._fail(listener, error)

    def restart(self) -> None:
        """Forget the text of a failed attempt, unless somebody has seen it."""
        if not self.visible_chars:
            self._pieces.clear()
            self._chars = 0

    async def tick(self, now_s: float) -> None:
        """Let no listener of frames wait in silence, and none of any kind beyond its deadline."""
        for listener in self._listeners:
            if now_s >= listener.seat.deadline_s + SLACK_S:
                late = "the answer was not complete at this request's deadline: allow more time (timeout_s)"
                await self._fail(listener, DeadlineExceeded(late, retry_after_s=1.0))
            elif self._acked:
                await self._remind(listener)

    async def _remind(self, listener: Listener) -> None:
        known = self._silent or (frames.KeepAlive(Phase.DECODE) if self._chars else None)
        try:
            if known is not None:
                await listener.tick(known, PROBE_S)
            else:
                await listener.tick(frames.KeepAlive(self._phase))
        except FleetError as error:
            await self._fail(listener, error)

    @property
    def _phase(self) -> Phase:
        return Phase.QUEUE if self._note is None else Phase.PREFILL

    async def end(self, end: frames.End, route: dict[str, Any]) -> None:
        """Finish with the answer. Raises why nobody got it, when nobody did; each who could be told was told."""
        self._last = last = self.ending(end, route)
        self._on_deserted = (
            _nothing  # it leads back to the job: a circle for each would be work for the garbage collector
        )
        failures = await self._each(lambda listener: listener.end(last.text, end, route))
        if failures and not self._listeners:
            raise failures[0]
        self._listeners.clear()

    async def error(self, error: FleetError, route: dict[str, Any] | None = None) -> None:
        """Finish with an error. An end that was told stands; whoever did not hear it, for a bug on the way, hears the error."""
        self._last = self._last or _Failed(error, route)
        self._on_deserted = _nothing
        await self._each(lambda listener: listener.error(error, route))
        self._listeners.clear()

    async def _each(self, say: Callable[[Listener], Awaitable[None]]) -> list[FleetError]:
        """Say something to each; one that can't be told is let go, with a word about why. Gives what failed."""
        failures: list[FleetError] = []
        for listener in self._listeners:
            try:
                await say(listener)
            except FleetError as error:
                failures.append(error)
                await self._fail(listener, error)
        return failures

    async def _fail(self, listener: Listener, error: FleetError) -> None:
        try:
            if not isinstance(error, BusError):
                await listener.error(error)
        except FleetError as again:
            log.warning("listener.untold", job=listener.seat.job, error=error.code, then=again.code)
        self.leave(listener)


SLACK_S = 1.0
"""The job's own deadline strikes first and says more; this is for who joined with an earlier one."""

"""Where the text of a round goes: held back until it is judged, or on to whoever waits; it judges nothing.

Both are `AnswerSink`s in front of the job's own, which alone is ever ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from common import frames
from common.errors import FleetError
from dispatcher.delivery.sink import AnswerSink
from dispatcher.outcomes import Candidate


class Passing:
    """Passes everything on, but the end. Attempts are counted on from those of the rounds before; `spoke` is called with the first
    text."""

    def __init__(self, out: AnswerSink, *, before: int = 0, spoke: Callable[[], None] = lambda: None) -> None:
        self._out = out
        self._before = before
        self._spoke: Callable[[], None] | None = spoke

    @property
    def text(self) -> str:
        return self._out.text

    @property
    def visible_chars(self) -> int:
        return self._out.visible_chars

    @property
    def streams(self) -> bool:
        return self._out.streams

    async def ack(self) -> None:
        await self._out.ack()

    async def route(self, candidate: Candidate, attempt: int) -> None:
        await self._out.route(candidate, self._before + attempt)

    async def keep_alive(self, frame: frames.KeepAlive) -> None:
        await self._out.keep_alive(frame)

    async def token(self, text: str) -> None:
        if self._spoke is not None:
            self._spoke()
            self._spoke = None
        await self._out.token(text)

    def restart(self) -> None:
        self._out.restart()

    async def end(self, end: frames.End, route: dict[str, Any]) -> None:
        await self._out.end(end, route)

    async def error(self, error: FleetError, route: dict[str, Any] | None = None) -> None:
        await self._out.error(error, route)


class Unseen(Passing):
    """Keeps what weak models say to itself; what comes from others, as `passes` tells, goes on.

    With a `prefix_chars` above 0 a job whose text is watched is judged when so much of it is there: `judge` raises to give it up,
    and when it returns all that was held is told, and the rest as it comes.
    """

    def __init__(
        self,
        out: AnswerSink,
        *,
        passes: Callable[[Candidate], bool],
        prefix_chars: int = 0,
        judge: Callable[[str], Awaitable[None]],
    ) -> None:
        super().__init__(out)
        self._passes = passes
        self._prefix_chars = prefix_chars if out.streams else 0
        self._judge = judge
        self._held: list[str] = []
        self._chars = 0
        self.candidate: Candidate | None = None
        """Who speaks now."""
        self.open = False
        """True while text goes on to whoever waits."""

    @property
    def text(self) -> str:
        return super().text if self.open else self.held

    @property
    def held(self) -> str:
        """What was said, and not told."""
        return "".join(self._held)

    @property
    def streams(self) -> bool:
        return super().streams and (self.open or self._prefix_chars > 0)

    async def route(self, candidate: Candidate, attempt: int) -> None:
        self.candidate = candidate
        self.open = self._passes(candidate) or self.visible_chars > 0
        await super().route(candidate, attempt)

    async def token(self, text: str) -> None:
        if self.open:
            await super().token(text)
            return
        self._held.append(text)
        self._chars += len(text)
        if 0 < self._prefix_chars <= self._chars:
            await self._judge(self.held)
            self.open = True
            held = self.held
            self._forget()
            await super().token(held)

    def restart(self) -> None:
        self._forget()
        super().restart()

    def _forget(self) -> None:
        self._held.clear()
        self._chars = 0

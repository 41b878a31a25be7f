"""An answer as its producer gets it: pieces of text, then the whole; where the frames come from is not known here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Self

from common import frames
from common.energy import Energy
from common.messages import ToolCall, Usage


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the answer's text."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer. `route` is the dispatcher's account: device, model, reason, score terms, attempts, timings; `energy` what all
    attempts took, None where nobody knows."""

    job: str
    text: str
    device: str
    model: str
    reason: str
    finish: str = "stop"
    usage: Usage = Usage()
    energy: Energy | None = None
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
                    self.answer = _whole(self.text, frame)
                elif isinstance(frame, frames.Err):
                    raise frame.error


def _whole(text: str, end: frames.End) -> Answer:
    route = end.route or {}
    return Answer(
        job=str(route.get("job", "")),
        text=text,
        device=str(route.get("device", "")),
        model=str(route.get("model", "")),
        reason=str(route.get("reason", "")),
        finish=str(end.finish),
        usage=end.usage,
        energy=end.energy,
        tool_calls=end.tool_calls,
        route=route,
    )

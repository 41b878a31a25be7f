"""Where an answer goes: what delivery needs of whoever waits for a job; it knows no subject and no encoding."""

from __future__ import annotations

from typing import Any, Protocol

from common import frames
from common.errors import FleetError
from dispatcher.outcomes import Candidate


class AnswerSink(Protocol):
    """Takes one job's answer as it grows. After `end` or `error` nothing more is written to it."""

    @property
    def text(self) -> str:
        """The answer so far."""
        ...

    @property
    def visible_chars(self) -> int:
        """Characters that somebody has seen; from the first on the job can only be continued, not begun again."""
        ...

    @property
    def streams(self) -> bool:
        """True when somebody sees the text as it comes."""
        ...

    async def ack(self) -> None:
        """Say that the job is taken."""
        ...

    async def route(self, candidate: Candidate, attempt: int) -> None:
        """Say where the job runs now."""
        ...

    async def keep_alive(self, frame: frames.KeepAlive) -> None:
        """Say that the job lives, and what it waits for."""
        ...

    async def token(self, text: str) -> None:
        """Take the next piece of the answer."""
        ...

    def restart(self) -> None:
        """Forget the text of a failed attempt, unless it was seen already."""
        ...

    async def end(self, end: frames.End, route: dict[str, Any]) -> None:
        """Finish with the answer."""
        ...

    async def error(self, error: FleetError, route: dict[str, Any] | None = None) -> None:
        """Finish with an error; nothing happens when the answer is finished already."""
        ...

"""Where an answer goes: what delivery needs of whoever waits for a job; it knows no subject and no encoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from common import frames
from common.errors import FleetError
from dispatcher.outcomes import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far an answer is: what its job does, where it runs, and while it waits its place in the line and the seconds until its
    turn."""

    phase: frames.Phase
    device: str | None = None
    model: str | None = None
    attempt: int | None = None
    position: int | None = None
    eta_s: float | None = None


def standing(note: frames.RouteNote | None, silent: frames.KeepAlive | None, *, text: bool) -> Standing:
    """Say how far an answer is, by what was said of it last. Who waits in the line is on no device, also when it was on one."""
    if silent is not None and silent.phase is frames.Phase.QUEUE:
        return Standing(phase=silent.phase, position=silent.position, eta_s=silent.eta_s)
    if note is None:
        return Standing(phase=frames.Phase.QUEUE)
    said = frames.Phase.DECODE if text else frames.Phase.PREFILL
    phase = said if silent is None else silent.phase
    return Standing(phase=phase, device=note.device, model=note.model, attempt=note.attempt)


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


class Followed(AnswerSink, Protocol):
    """The answer of a job in the house: whoever watches it sees how far it is."""

    @property
    def standing(self) -> Standing: ...

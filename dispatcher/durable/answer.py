"""Where the answer of a durable job goes while it grows: nowhere but here; it knows no stream.

The text is told only when it is complete. Nothing is visible before, so the job can begin anew on another device, or with
another dispatcher, at any moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common import frames
from common.clock import Clock
from common.durable import Note, Stage
from common.errors import FleetError
from common.frames import KeepAlive, Phase
from dispatcher.delivery.listener import reply_to_wire
from dispatcher.delivery.sink import Standing, standing
from dispatcher.outcomes import Candidate, Job

Seated = Callable[[], None]
"""Called once, when delivery has the job: from then on it has a slot, or stands in the line."""


class HeldAnswer:
    """`AnswerSink` that keeps everything: the newest progress, and in the end the answer or the error."""

    visible_chars = 0
    streams = False

    def __init__(self, job: Job, tries: int, clock: Clock, seated: Seated) -> None:
        self.job = job
        self._clock = clock
        self._tries = tries
        self._seated: Seated | None = seated
        self._text: list[str] = []
        self._note: frames.RouteNote | None = None
        self._silent: KeepAlive | None = None
        self.progress: Note | None = None
        """What is to be told next; whoever tells it takes it away."""
        self.reached_s: float | None = None
        """When a device was chosen first, on the monotonic clock: from then on it is a try."""
        self.answer: dict[str, Any] | None = None
        self.failure: FleetError | None = None

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def standing(self) -> Standing:
        """How far it is."""
        return standing(self._note, self._silent, text=bool(self._text))

    async def ack(self) -> None:
        if self._seated is not None:
            self._seated()
            self._seated = None

    async def route(self, candidate: Candidate, attempt: int) -> None:
        if self.reached_s is None:
            self.reached_s = self._clock.monotonic()
        self._note = frames.RouteNote(self.job.id, candidate.device, candidate.model, candidate.reason, attempt)
        self._silent = None
        self.progress = self._told(
            Stage.RUNNING, device=candidate.device, model=candidate.model, reason=candidate.reason, attempt=attempt
        )

    async def keep_alive(self, frame: KeepAlive) -> None:
        self._silent = frame
        if frame.phase is Phase.QUEUE:
            self.progress = self._told(Stage.QUEUED, position=frame.position)

    async def token(self, text: str) -> None:
        self._text.append(text)
        self._silent = None

    def restart(self) -> None:
        self._text.clear()

    async def end(self, end: frames.End, route: dict[str, Any]) -> None:
        self.answer = reply_to_wire(self.job.id, self.text, end, route)

    async def error(self, error: FleetError, route: dict[str, Any] | None = None) -> None:  # noqa: ARG002  # the record has the route
        if self.answer is None and self.failure is None:
            self.failure = error

    def _told(self, state: Stage, **known: Any) -> Note:
        job, now_s = self.job, self._clock.unix_s()
        return Note(job=job.id, tenant=job.tenant, state=state, at_unix_s=now_s, tries=self._tries, **known)

"""Watches one attempt: its frames in order, and how far it has come; it knows neither the bus nor other attempts."""

from __future__ import annotations

import asyncio
from typing import Protocol

from common import frames
from common.errors import AttemptError, BackendError, DeviceBusy, FleetError, GarbledReply, JobCancelled, RequestError
from dispatcher.delivery.clocks import Progress, heard
from dispatcher.delivery.inbox import Arrival
from dispatcher.outcomes import Attempt, Candidate


class Reader(Protocol):
    """Whom a watch works for: the job's run."""

    boot: str | None

    async def next_frames(self, progress: Progress) -> list[Arrival]:
        """Give what has arrived, at least one; raises the typed error of the clock that strikes first."""
        ...

    async def text(self, pieces: list[str]) -> None:
        """Take visible text, in order."""
        ...

    async def silent(self, frame: frames.KeepAlive) -> None:
        """Hear that the device is at work, with nothing to show."""
        ...


class Watch:
    """One attempt on one device."""

    def __init__(self, reader: Reader, number: int, candidate: Candidate, *, sent_s: float) -> None:
        self._reader = reader
        self._number = number
        self._candidate = candidate
        self._progress = Progress(sent_s)
        self._tokens = 0

    async def run(self) -> frames.End:
        """Follow the frames to the end; raises what the device or the clocks say."""
        while True:
            end = await self._batch(await self._reader.next_frames(self._progress))
            if end is not None:
                return end

    async def _batch(self, batch: list[Arrival]) -> frames.End | None:
        """Take in what arrived together; text that did so goes on as one piece, and not at all when the attempt failed with it:
        what nobody has seen can be begun again."""
        pieces: list[str] = []
        end: frames.End | None = None
        now_s = asyncio.get_running_loop().time()
        for arrival in batch:
            if isinstance(arrival, FleetError):
                raise arrival
            if not pieces:  # text that arrives together is heard once
                self._progress = heard(self._progress, arrival, now_s)
            if isinstance(arrival, frames.Token):
                self._in_order(arrival.seq)
                pieces.append(arrival.text)
            elif (end := await self._other(arrival)) is not None:
                break
        if pieces:
            await self._reader.text(pieces)
        return end

    async def _other(self, frame: frames.Frame) -> frames.End | None:
        match frame:
            case frames.End():
                self._in_order(frame.tokens)
                return frame
            case frames.Err():
                raise _said(frame.error, accepted=self._progress.accepted_s is not None)
            case frames.KeepAlive():
                await self._reader.silent(frame)
            case frames.Ack():
                self._reader.boot = frame.boot
            case frames.RouteNote() | frames.Token():
                raise GarbledReply(f"the device sent a {type(frame).__name__} frame out of place")
        return None

    def _in_order(self, seq: int) -> None:
        """Count the `tok` frames: NATS may drop messages of a connection that is too slow, and a gap must never be shown."""
        if seq != self._tokens:
            raise GarbledReply(f"frame {self._tokens} is missing: {seq} came instead")
        self._tokens += 1

    def attempt(self, error: BaseException | None, *, queued_s: float, now_s: float) -> Attempt:
        """Give the attempt as it went."""
        sent_s = self._progress.sent_s
        return Attempt(
            number=self._number,
            device=self._candidate.device,
            model=self._candidate.model,
            outcome=_outcome(error),
            detail=error.message if isinstance(error, FleetError) else None,
            queued_s=queued_s,
            accept_s=_since(sent_s, self._progress.accepted_s),
            first_token_s=_since(sent_s, self._progress.first_token_s),
            total_s=now_s - sent_s,
        )


def _said(error: FleetError, *, accepted: bool) -> FleetError:
    """Take a device's word for itself and for the request. Of the time, the bus and the fleet it knows less than we do: its
    clock may be wrong, and its own bugs are no reason to ask nobody else. One that accepted and is full then has a backend that
    refuses, which is a failure: it would accept, and fail, again at once."""
    if isinstance(error, DeviceBusy) and accepted:
        return BackendError(f"the device accepted, and its backend is full: {error.message}")
    if isinstance(error, AttemptError | RequestError | JobCancelled):
        return error
    return BackendError(f"the device gave up with {error.code}: {error.message}")


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    return error.code if isinstance(error, FleetError) else "cancelled"


def _since(start_s: float, at_s: float | None) -> float | None:
    return None if at_s is None else at_s - start_s

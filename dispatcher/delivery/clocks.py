"""The clocks of one attempt, as pure functions: which one runs now, and when it strikes.

accept: the agent must acknowledge. load: the model may take this long. first token: from the acknowledgement, or from
the end of the load, until the first token comes or the device says that it decodes, since it may gather text that nobody
watches. stall: no frame of any kind. total: the job's own deadline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from common import frames
from common.frames import Phase


class Clock(StrEnum):
    """The clocks by name."""

    ACCEPT = "accept"
    LOAD = "load"
    FIRST_TOKEN = "first_token"  # noqa: S105  # not a password
    STALL = "stall"
    TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds that each clock allows."""

    accept_s: float
    load_s: float
    first_token_s: float
    stall_s: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt has come. All times are monotonic seconds; `silent_since_s` is when its silent phase began."""

    sent_s: float
    accepted_s: float | None = None
    phase: Phase = Phase.PREFILL
    silent_since_s: float = 0.0
    heard_s: float = 0.0
    first_token_s: float | None = None


def heard(progress: Progress, frame: frames.Frame, now_s: float) -> Progress:
    """Give the progress after one more frame."""
    if isinstance(frame, frames.Token):
        if progress.first_token_s is None:
            return replace(progress, heard_s=now_s, first_token_s=now_s, phase=Phase.DECODE)
        return replace(progress, heard_s=now_s)
    if isinstance(frame, frames.Ack):
        return replace(progress, accepted_s=now_s, silent_since_s=now_s, heard_s=now_s)
    if isinstance(frame, frames.KeepAlive) and frame.phase is not progress.phase and progress.first_token_s is None:
        return replace(progress, phase=frame.phase, silent_since_s=now_s, heard_s=now_s)
    return replace(progress, heard_s=now_s)


def strikes(progress: Progress, limits: Limits, deadline_s: float) -> tuple[float, Clock]:
    """Give the moment of the earliest clock that runs, and which it is."""
    running = [(deadline_s, Clock.TOTAL)]
    if progress.accepted_s is None:
        running.append((progress.sent_s + limits.accept_s, Clock.ACCEPT))
    else:
        running.append((progress.heard_s + limits.stall_s, Clock.STALL))
        if progress.phase is Phase.LOAD:
            running.append((progress.silent_since_s + limits.load_s, Clock.LOAD))
        elif progress.phase is not Phase.DECODE:
            running.append((progress.silent_since_s + limits.first_token_s, Clock.FIRST_TOKEN))
    return min(running)

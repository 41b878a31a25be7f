"""The clocks of one attempt, as pure functions: which one runs now, and when it strikes.

accept: the agent must acknowledge. load: the model may take this long. first token: from the acknowledgement, or from
the end of the load, until the first token comes or the device says that it decodes, since it may gather text that nobody
watches. between tokens: the backend has produced nothing for this long, while its agent lives. stall: no frame of any kind.
doubt: silent for longer than such work takes there, and again and again while it stays so; not an end, but a reason to ask.
total: the job's own deadline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from common import frames
from common.frames import Phase

PATIENCE = 3.0
"""A load or a first token may take this many times what was predicted from the device's own history, if that is longer than
the clock allows: a large model on a slow card takes long everywhere."""

DOUBTFUL = 2.0
"""Twice what was predicted is later than usual, and no proof of anything."""


HOP_MARGIN_S = 0.1
"""A device's deadline is so much earlier than the job's, so that its own word of it comes before ours. Ten times what a hop
takes on a bad Wi-Fi; of little time that is left, a tenth."""


def device_left_s(left_s: float) -> float:
    """Give what a device has of the time that is left for a job."""
    return left_s - min(HOP_MARGIN_S, left_s / 10) if left_s > 0 else left_s


class Clock(StrEnum):
    """The clocks by name."""

    ACCEPT = "accept"
    LOAD = "load"
    FIRST_TOKEN = "first_token"  # noqa: S105  # not a password
    BETWEEN_TOKENS = "between_tokens"  # likewise
    STALL = "stall"
    DOUBT = "doubt"
    HEDGE = "hedge"
    TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds that each clock allows."""

    accept_s: float
    load_s: float
    first_token_s: float
    between_tokens_s: float
    stall_s: float
    doubt_s: float


@dataclass(frozen=True, slots=True)
class Expected:
    """Seconds that a device is expected to take, from its own history."""

    load_s: float = 0.0
    first_token_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt has come. All times are monotonic seconds; `silent_since_s` is when its silent phase began, `spoken_s`
    when the backend last produced anything, as far as the agent tells. `doubts` counts those of this silence."""

    sent_s: float
    accepted_s: float | None = None
    phase: Phase = Phase.PREFILL
    silent_since_s: float = 0.0
    heard_s: float = 0.0
    first_token_s: float | None = None
    spoken_s: float = 0.0
    doubts: int = 0
    loads: int = 1


def heard(progress: Progress, frame: frames.Frame, now_s: float) -> Progress:
    """Give the progress after one more frame."""
    if isinstance(frame, frames.Token):
        if progress.first_token_s is None:
            return replace(progress, heard_s=now_s, spoken_s=now_s, first_token_s=now_s, phase=Phase.DECODE, doubts=0)
        return replace(progress, heard_s=now_s, spoken_s=now_s, doubts=0)
    if isinstance(frame, frames.Ack):
        return replace(progress, accepted_s=now_s, silent_since_s=now_s, heard_s=now_s, spoken_s=now_s)
    if isinstance(frame, frames.KeepAlive):
        return _alive(progress, frame, now_s)
    return replace(progress, heard_s=now_s)


def doubted(progress: Progress) -> Progress:
    """Give the progress after a doubt was acted on; the count begins anew in the next phase, and when the backend has spoken."""
    return replace(progress, doubts=progress.doubts + 1)


def loads_on(progress: Progress) -> Progress:
    """Give the progress of a load that may take as long once more."""
    return replace(progress, loads=progress.loads + 1)


def _alive(progress: Progress, frame: frames.KeepAlive, now_s: float) -> Progress:
    """An agent that lives resets the stall; what its backend said last is the agent's word, or else a change of phase."""
    moved = frame.phase is not progress.phase and progress.first_token_s is None
    spoken_s = progress.spoken_s if frame.silent_s is None else max(progress.spoken_s, now_s - frame.silent_s)
    return replace(
        progress,
        phase=frame.phase if moved else progress.phase,
        silent_since_s=now_s if moved else progress.silent_since_s,
        heard_s=now_s,
        spoken_s=now_s if moved and frame.silent_s is None else spoken_s,
        doubts=0 if moved else progress.doubts,
    )


def strikes(progress: Progress, limits: Limits, expected: Expected, deadline_s: float) -> tuple[float, Clock]:
    """Give the moment of the earliest clock that runs, and which it is."""
    running = [(deadline_s, Clock.TOTAL)]
    if progress.accepted_s is None:
        running.append((progress.sent_s + limits.accept_s, Clock.ACCEPT))
        return min(running)
    running.append((progress.heard_s + limits.stall_s, Clock.STALL))
    if progress.phase is Phase.LOAD:
        since_s, clock, expected_s = progress.silent_since_s, Clock.LOAD, expected.load_s
        allowed_s = progress.loads * max(limits.load_s, PATIENCE * expected_s)
    elif progress.phase is not Phase.DECODE:
        since_s, clock, expected_s = progress.silent_since_s, Clock.FIRST_TOKEN, expected.first_token_s
        allowed_s = max(limits.first_token_s, PATIENCE * expected_s)
    else:
        since_s, clock, expected_s = progress.spoken_s, Clock.BETWEEN_TOKENS, 0.0
        allowed_s = limits.between_tokens_s
    running.append((since_s + allowed_s, clock))
    first_s = max(limits.doubt_s, DOUBTFUL * expected_s)
    running.append((since_s + first_s * (1 + DOUBTFUL * progress.doubts), Clock.DOUBT))
    return min(running)

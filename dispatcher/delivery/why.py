"""Why a job runs where it runs, in words: a pure function of the decision and of what was tried before."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from common.errors import DeviceBusy
from dispatcher.delivery.attempt import OUTRUN
from dispatcher.outcomes import Attempt, Candidate, Decision


class Beside(StrEnum):
    """Why a second attempt began while the first one ran."""

    HEDGE = "hedge"
    DOUBT = "doubt"
    LOAD = "load"


def why(decision: Decision, chosen: Candidate, attempts: Sequence[Attempt], *, pinned: bool) -> str:
    """Give the cause, then what speaks for the candidate; the cause comes first and is one of few, so that it can be counted.

    1. Another device failed before. 2. The request names the device. 3. There was no other choice. 4. The best score. 5. The best
    of those with a free slot.
    """
    failed = [attempt for attempt in attempts if attempt.outcome not in {DeviceBusy.code, OUTRUN}]
    if failed:  # 1
        cause = f"fallback after {failed[-1].device} {failed[-1].outcome}"
    elif pinned:  # 2
        cause = "pinned"
    elif len(decision.candidates) == 1:  # 3
        cause = "only choice"
    elif _same(decision.candidates[0], chosen):  # 4
        cause = "best score"
    else:  # 5
        cause = "best free slot"
    return f"{cause}; {chosen.reason}"


def why_beside(cause: Beside, late: Candidate, after_s: float, chosen: Candidate) -> str:
    """Say why a second device was asked while the first still works."""
    what = "hedge" if cause is Beside.HEDGE else "second try"
    return f"{what} after {late.device} was silent for {after_s:.1f} s; {chosen.reason}"


def _same(one: Candidate, other: Candidate) -> bool:
    return (one.device, one.model) == (other.device, other.model)

"""How the energy of a moment is split between the jobs that run in it: plain arithmetic; it knows no clock and no sensor.

What the device draws above idle is paid by weight, and a weight is how much of the device a job keeps at work:

    load     LOAD                        a model that is loaded makes no tokens, and the device still draws for it
    prefill  PREFILL                     nor does a prompt that is read
    decode   tokens/s made / tokens/s that the model makes here alone

The last is the share of each second that the job's tokens would have needed by themselves, so tokens and time are one
currency, and a token of a large model costs more than one of a small one. Where either speed is not known yet, the time alone
counts: 1. A job whose tokens stop coming soon pays no more for those of others.

The costs of a second of load and of prefill, against one of decoding, are what the boards of the simulator's profiles draw above
idle in each (load 0.2 to 0.3 of decode, prefill 1.0 to 1.3), whose own sources stand in `agents/simulator/profiles.toml`.

What the device would have drawn idle is split evenly: nobody causes more of it than another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.frames import Phase

COSTS = {Phase.QUEUE: 0.0, Phase.LOAD: 0.3, Phase.PREFILL: 1.2, Phase.DECODE: 1.0}
"""What a second of each costs above idle, against one of decoding."""

MOST = 100.0
"""No job weighs more, whatever was learnt of its model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a job does at one moment. `tokens_s` is how fast its tokens come now, `pace` how fast its model usually makes them."""

    phase: Phase
    tokens_s: float | None = None
    pace: float | None = None


def weight(work: Work) -> float:
    """Give what the job weighs against others: 1 is a model that decodes alone."""
    if work.phase is Phase.DECODE and work.tokens_s is not None and work.pace:
        return min(MOST, COSTS[Phase.DECODE] * work.tokens_s / work.pace)
    return COSTS[work.phase]


def shares(works: Sequence[Work]) -> list[float]:
    """Give each job's share of what is drawn above idle; they sum up to 1. Where nobody weighs anything, all pay alike."""
    weights = [weight(work) for work in works]
    total = sum(weights)
    return [one / total for one in weights] if total > 0 else [1 / len(weights)] * len(weights)

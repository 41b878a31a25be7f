"""How fast this device is with each model, learnt from its finished jobs; plain arithmetic, it knows no clock and no job.

A moving average in which the newest job counts for `ALPHA`: after ten jobs the first one weighs 3 %, so that a board that
heats up and throttles is believed soon.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.messages import EngineTimings, Speed, Usage

ALPHA = 0.3
MIN_PREFILL_TOKENS = 16
"""Below this the time of a prefill is mostly fixed cost, and says nothing about tokens per second."""
MIN_DECODE_TOKENS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a finished job tells. `first_token_s` counts from the accept; `cold` says that the model had to be loaded."""

    usage: Usage
    engine: EngineTimings
    first_token_s: float | None = None
    cold: bool = False


def learn(known: Speed, job: Finished) -> Speed:
    """Give the averages with one more job in them. Loads are averaged over cold jobs only, first tokens without the load.

    Ollama counts cached prompt tokens and not their time, so a warm prefix makes a prefill look faster than it is.
    """
    engine, usage = job.engine, job.usage
    load_s = engine.load_s or 0.0
    return Speed(
        jobs=known.jobs + 1,
        prefill_tps=_mix(known.prefill_tps, _rate(usage.prompt_tokens, engine.prefill_s, MIN_PREFILL_TOKENS)),
        decode_tps=_mix(known.decode_tps, _rate(usage.completion_tokens, engine.decode_s, MIN_DECODE_TOKENS)),
        load_s=_mix(known.load_s, engine.load_s if job.cold else None),
        first_token_s=_mix(
            known.first_token_s, None if job.first_token_s is None else max(0.0, job.first_token_s - load_s)
        ),
    )


def _rate(tokens: int, seconds: float | None, least: int) -> float | None:
    return tokens / seconds if seconds and tokens >= least else None


def _mix(known: float | None, new: float | None) -> float | None:
    if new is None:
        return known
    return new if known is None else known + ALPHA * (new - known)

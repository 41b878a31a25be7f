"""How long devices would take: queue, load, prefill, decode, from their own measured speeds; it knows no score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dispatcher.routing.features import Features
from dispatcher.routing.table import Numbers, Options, Row, Rows


@dataclass(frozen=True, slots=True)
class Warmth:
    """Where the conversation was answered last, and how many tokens of its prompt that model has in its cache."""

    device: str
    model: str
    tokens: int


@dataclass(slots=True)
class Prediction:
    """Seconds for each row, shape (rows,). `first_token_s` includes waiting, loading and prefill."""

    wait_s: Numbers
    load_s: Numbers
    prefill_s: Numbers
    decode_s: Numbers
    first_token_s: Numbers
    total_s: Numbers


def predict(options: Options, wanted: Features, rows: Sequence[Row], kept: Rows, warmth: Warmth | None) -> Prediction:
    """Predict one job on each row.

    Half a job is what is left, on average, of the one that holds the slot; each full wave before it is a whole one. A model in
    memory that answered this conversation before reads only what is new.
    """
    decode_s = wanted.output_tokens / options.decode_tps
    work_s = wanted.prompt_tokens / options.prefill_tps
    prefill_s = work_s if warmth is None else _with_cache(work_s, options, wanted, rows, kept, warmth)
    waves = np.maximum(1.0, options.in_flight // options.slots)
    wait_s = np.where(options.free > 0.0, 0.0, (waves - 0.5) * (work_s + decode_s))
    first_token_s = wait_s + options.load_s + prefill_s
    return Prediction(wait_s, options.load_s, prefill_s, decode_s, first_token_s, first_token_s + decode_s)


def _with_cache(
    whole_s: Numbers, options: Options, wanted: Features, rows: Sequence[Row], kept: Rows, warmth: Warmth
) -> Numbers:
    for place, number in enumerate(kept):
        if (rows[number].device, rows[number].name) == (warmth.device, warmth.model) and options.warm[place]:
            prefill_s = whole_s.copy()
            prefill_s[place] *= max(0, wanted.prompt_tokens - warmth.tokens) / wanted.prompt_tokens
            return prefill_s
    return whole_s

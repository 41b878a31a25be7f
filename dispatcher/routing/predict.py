"""How long devices would take: queue, load, prefill, decode, from their own measured speeds; it knows no score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dispatcher.routing.features import Features
from dispatcher.routing.table import Numbers, Options


@dataclass(slots=True)
class Prediction:
    """Seconds for each row, shape (rows,), joules above what the device draws idle (NaN for a remote one: nobody here knows), and
    US dollars. `first_token_s` includes waiting, loading and prefill."""

    wait_s: Numbers
    load_s: Numbers
    prefill_s: Numbers
    decode_s: Numbers
    first_token_s: Numbers
    total_s: Numbers
    energy_j: Numbers
    cost_usd: Numbers


def predict(options: Options, wanted: Features, cached_tokens: Numbers | None = None) -> Prediction:
    """Predict one job on each row. `cached_tokens` is how much of the prompt a row's model has read before.

    Half a job is what is left, on average, of the one that holds the slot; each full wave before it is a whole one.
    """
    decode_s = wanted.output_tokens / options.decode_tps
    work_s = prefill_s = wanted.prompt_tokens / options.prefill_tps
    if cached_tokens is not None:
        prefill_s = np.maximum(0.0, wanted.prompt_tokens - cached_tokens) / options.prefill_tps
    waves = np.maximum(1.0, options.in_flight // options.slots)
    wait_s = np.where(options.free > 0.0, 0.0, (waves - 0.5) * (work_s + decode_s))
    first_token_s = wait_s + options.load_s + prefill_s
    return Prediction(
        wait_s=wait_s,
        load_s=options.load_s,
        prefill_s=prefill_s,
        decode_s=decode_s,
        first_token_s=first_token_s,
        total_s=first_token_s + decode_s,
        energy_j=options.watts * (options.load_s + prefill_s + decode_s),
        cost_usd=wanted.prompt_tokens * options.input_usd + wanted.output_tokens * options.output_usd,
    )

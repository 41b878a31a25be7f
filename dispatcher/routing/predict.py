"""How long devices would take: queue, load, prefill, decode, from their own measured speeds; it knows no score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from dispatcher.routing.features import Features
from dispatcher.routing.figures import Numbers, Options


@dataclass(slots=True)
class Prediction:
    """Seconds for each row, shape (rows,). `first_token_s` includes waiting, loading and prefill. What only few strategies look at
    is worked out for them alone."""

    wait_s: Numbers
    load_s: Numbers
    prefill_s: Numbers
    decode_s: Numbers
    first_token_s: Numbers
    total_s: Numbers
    options: Options
    wanted: Features
    cached_tokens: Numbers | None = None
    """What each row has read of the prompt before; None where none has."""

    saved_s: Numbers | None = None
    """Seconds of prefill that this saves; None as well."""

    @property
    def energy_j(self) -> Numbers:
        """Joules above what the device draws idle; NaN for a remote one: nobody here knows."""
        return job_j(self.options.watts, self.load_s, self.prefill_s, self.decode_s)

    @property
    def cost_usd(self) -> Numbers:
        """US dollars; NaN where the price is not known."""
        return job_usd(self.wanted, self.options.input_usd, self.options.output_usd)


Figure = TypeVar("Figure", float, Numbers)
"""One row, or all of them."""


def job_j(watts: Figure, load_s: Figure, prefill_s: Figure, decode_s: Figure) -> Figure:
    """Give the joules of a job: what it draws, for as long as the device is busy with it."""
    return watts * (load_s + prefill_s + decode_s)


def job_usd(wanted: Features, input_usd: Figure, output_usd: Figure) -> Figure:
    """Give the US dollars that a job probably costs, by the prices of a token read and of one written."""
    return wanted.prompt_tokens * input_usd + wanted.output_tokens * output_usd


def predict(options: Options, wanted: Features, cached_tokens: Numbers | None = None) -> Prediction:
    """Predict one job on each row. `cached_tokens` is how much of the prompt a row's model has read before."""
    decode_s = wanted.output_tokens / options.decode_tps
    work_s = prefill_s = wanted.prompt_tokens / options.prefill_tps
    saved_s: Numbers | None = None
    if cached_tokens is not None:
        prefill_s = np.maximum(0.0, wanted.prompt_tokens - cached_tokens) / options.prefill_tps
        saved_s = work_s - prefill_s
    wait_s = options.waves * (work_s + decode_s)
    first_token_s = wait_s + options.load_s + prefill_s
    return Prediction(
        wait_s=wait_s,
        load_s=options.load_s,
        prefill_s=prefill_s,
        decode_s=decode_s,
        first_token_s=first_token_s,
        total_s=first_token_s + decode_s,
        options=options,
        wanted=wanted,
        cached_tokens=cached_tokens,
        saved_s=saved_s,
    )

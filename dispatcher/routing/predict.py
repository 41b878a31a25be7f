"""How long a device would take: queue, load, prefill, decode, from its own measured speeds; it knows no score.

Where a device has not measured a model yet, decode speed follows from another model on the same device: decoding is bound by
memory bandwidth, so tokens/s x bytes of the model is about constant per device.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.messages import ModelInfo, Speed
from dispatcher.fleet import Device, canonical
from dispatcher.routing.features import Features

BANDWIDTH_BPS = 7e9
"""Prior for a device that measured nothing: a Pi 5 decodes qwen2.5:1.5b (1 GB) at 7.5 tokens/s (dambergn/ollama-benchmarks)."""

LOAD_BPS = 150e6
"""Prior for loading from an SD card or a slow SSD."""

PREFILL_TO_DECODE = 8.0
"""Prior: prefill runs some 3 (Pi) to 35 (Orin) times as fast as decode (device profiles of the simulator)."""

_FALLBACK_SIZE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Prediction:
    """Seconds. `first_token_s` includes waiting, loading and prefill."""

    wait_s: float
    load_s: float
    prefill_s: float
    decode_s: float

    @property
    def first_token_s(self) -> float:
        return self.wait_s + self.load_s + self.prefill_s

    @property
    def total_s(self) -> float:
        return self.first_token_s + self.decode_s


def predict(device: Device, model: ModelInfo, wanted: Features) -> Prediction:
    """Predict one job on one device."""
    speed = device.beat.speeds.get(model.name) or Speed()
    decode_tps = _positive(speed.decode_tps) or _bandwidth(device) / (model.size_bytes or _FALLBACK_SIZE)
    prefill_tps = _positive(speed.prefill_tps) or PREFILL_TO_DECODE * decode_tps
    decode_s = wanted.output_tokens / decode_tps
    prefill_s = wanted.prompt_tokens / prefill_tps
    load_s = 0.0 if model.loaded else (_positive(speed.load_s) or (model.size_bytes or _FALLBACK_SIZE) / LOAD_BPS)
    waves = max(1, device.in_flight // max(1, device.beat.slots))
    # Half a job is what is left, on average, of the one that holds the slot; each full wave before it is a whole one.
    wait_s = 0.0 if device.free_slots else (waves - 0.5) * (prefill_s + decode_s)
    return Prediction(wait_s, load_s, prefill_s, decode_s)


def _bandwidth(device: Device) -> float:
    known = [
        decode_tps * model.size_bytes
        for name, speed in device.beat.speeds.items()
        if (decode_tps := _positive(speed.decode_tps))
        and (model := device.models.get(canonical(name))) is not None
        and model.size_bytes
    ]
    return sum(known) / len(known) if known else BANDWIDTH_BPS


def _positive(measured: float | None) -> float | None:
    """Give a measured value, or None for one that no measurement gives: devices are strangers."""
    return measured if measured is not None and measured > 0 else None

"""One row of the fleet's table: what a device and a model of it are in figures, with priors for what nobody measured; it knows no
fleet."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.messages import ModelInfo, Speed
from dispatcher.fleet import Device, canonical
from dispatcher.routing import filters
from dispatcher.routing.draw import active_w, jobs_of
from dispatcher.routing.strain import strain

Numbers = NDArray[np.float64]
Rows = NDArray[np.intp]

BANDWIDTH_BPS = 7e9
"""Prior for a device that measured nothing: a Pi 5 decodes qwen2.5:1.5b (1 GB) at 7.5 tokens/s (dambergn/ollama-benchmarks)."""

LOAD_BPS = 150e6
"""Prior for loading from an SD card or a slow SSD."""

PREFILL_TO_DECODE = 8.0
"""Prior: prefill runs some 3 (Pi) to 35 (Orin) times as fast as decode (device profiles of the simulator)."""

NO_SPEED = Speed()

REMOTE_STRENGTH = 0.9
"""Prior for a provider's model of unknown size: as one of 40 B, which the small ones among them match on public tests."""

REMOTE_TPS = 50.0
"""Prior for a provider's speed, until the agent has measured it."""

_FALLBACK_SIZE = 1_000_000_000

STATE = 7
"""Columns of `Options`, from the first, that change with every job; the others stand in a second block, in their order."""

IN_FLIGHT = 1
"""The column of the state that limits look at."""

WATTS, INPUT_USD, OUTPUT_USD, REMOTE = 7, 8, 9, 10
STRENGTHS, CONTEXT, CAN = 3, 4, 6
"""Columns of the second block that filters and tiers look at."""

OPTIONS = 11
"""So many of it strategies see; behind them come those for the owner's rules, and whether the speed was measured."""

NEEDS_KEY, MEASURED = 11, 12
FIGURES = 13


@dataclass(slots=True)
class Options:
    """The rows that are left, each column of shape (rows,): what a strategy may look at. Speeds in tokens/s, `load_s` 0 for a
    model in memory, `steady` = (1 - error rate) x coolness, `waves` and `room` as `waiting_of` gives them, `context_tokens` what
    model and memory hold, `can` is `Ability`, `watts` those of a job above idle, NaN for a remote device; prices in US dollars per
    token, NaN for a remote model that tells none; `remote` 1 for models that run elsewhere."""

    slots: Numbers
    in_flight: Numbers
    free: Numbers
    steady: Numbers
    waves: Numbers
    room: Numbers
    seen_first_token_s: Numbers
    decode_tps: Numbers
    prefill_tps: Numbers
    load_s: Numbers
    strength: Numbers
    context_tokens: Numbers
    warm: Numbers
    can: Numbers
    watts: Numbers
    input_usd: Numbers
    output_usd: Numbers
    remote: Numbers

    def __len__(self) -> int:
        return len(self.slots)


@dataclass(frozen=True, slots=True)
class Row:
    """Which model on which device a row is of; whether it is of use and fits the device's memory, or may when others leave it."""

    device: str
    model: ModelInfo
    name: str
    fits: bool
    short: bool = False


def row_of(device: Device, name: str) -> tuple[Row, list[float]]:
    """Give one row, and its figures but for the state. What a device says of itself may be nonsense: it must harm nobody but
    itself."""
    model = device.models[name]
    try:
        cells, unfit = _figures(device, model), filters.unfit(device, model)
    except (ArithmeticError, ValueError):
        return Row(device.name, model, name, fits=False), [math.nan] * FIGURES
    short = unfit is not None and unfit.for_now
    return Row(device.name, model, name, unfit is None, short), cells


def state_of(device: Device) -> list[float]:
    """Give the columns that change with every job, as far as they make sense."""
    try:
        return _state(device)
    except (ArithmeticError, ValueError):
        return [math.nan] * STATE


def _state(device: Device) -> list[float]:
    return [
        float(max(1, device.beat.slots)),
        jobs_of(device),
        float(device.free_slots),
        (1.0 - device.track.error_rate) * strain(device.beat).coolness,
        *waiting_of(device),
        device.track.first_token_s or 0.0,
    ]


def _figures(device: Device, model: ModelInfo) -> list[float]:
    beat = device.beat
    speed = beat.speeds.get(model.name) or NO_SPEED
    size, remote, loaded = model.size_bytes or _FALLBACK_SIZE, beat.remote, device.holds(model)
    decode_tps = _positive(speed.decode_tps) or (REMOTE_TPS if remote else _bandwidth(device) / size)
    return [
        decode_tps,
        _positive(speed.prefill_tps) or PREFILL_TO_DECODE * decode_tps,
        0.0 if loaded else (_positive(speed.load_s) or size / LOAD_BPS),
        strength(model, remote=remote),
        float(min(model.context_tokens or math.inf, _given(model.most_context_tokens))),
        float(loaded),
        float(filters.abilities(device, model)),
        math.nan if remote else active_w(beat),
        *usd_per_token(device, model),
        float(remote),
        float(beat.needs_key),
        float(bool(speed.decode_tps)),
    ]


def usd_per_token(device: Device, model: ModelInfo) -> tuple[float, float]:
    """Give the prices of a token read and of one written. A model of the house that names none costs nothing; what a provider asks
    for one that names none nobody knows: NaN."""
    unknown = math.nan if device.beat.remote else 0.0
    read, written = model.input_usd_per_mtok, model.output_usd_per_mtok
    return unknown if read is None else read / 1e6, unknown if written is None else written / 1e6


def strength(model: ModelInfo, *, remote: bool = False) -> float:
    """Map a model's size to [0, 1], by the logarithm: 0.25 B gives 0, 1 B 0.25, 8 B 0.61, 70 B 1. Providers don't tell the size
    of theirs."""
    if remote and not model.parameters_b and not model.size_bytes:
        return REMOTE_STRENGTH
    if model.parameters_b is not None and model.parameters_b > 0:
        billions = model.parameters_b
    else:
        billions = model.size_bytes / 0.65e9 if model.size_bytes else 1.0  # ~0.65 bytes/parameter at Q4_K_M
    return min(1.0, max(0.0, math.log2(billions / 0.25) / math.log2(70 / 0.25)))


def waiting_of(device: Device) -> tuple[float, float]:
    """Give the jobs that must end before one more gets a slot, and the room: `1 / (1 + jobs per slot)`. Half a job is what is left,
    on average, of the one that holds the slot; each full wave before it is a whole one."""
    slots, jobs = max(1, device.beat.slots), device.in_flight
    return 0.0 if device.free_slots else max(1, jobs // slots) - 0.5, slots / (slots + jobs)


def _bandwidth(device: Device) -> float:
    """Decoding is bound by memory bandwidth, so tokens/s x bytes of the model is about constant per device: what one model
    measured tells of the others."""
    known = [
        decode_tps * model.size_bytes
        for name, speed in device.beat.speeds.items()
        if (decode_tps := _positive(speed.decode_tps))
        and (model := device.models.get(canonical(name))) is not None
        and model.size_bytes
    ]
    return sum(known) / len(known) if known else BANDWIDTH_BPS


def _given(limit: int | None) -> float:
    return math.inf if limit is None else limit


def _positive(measured: float | None) -> float | None:
    """Give a measured value, or None for one that no measurement gives: devices are strangers."""
    return measured if measured is not None and measured > 0 else None

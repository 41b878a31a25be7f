"""The fleet as columns of numbers, one row for each model of each device, kept from decision to decision; it decides nothing.

A decision looks at all rows at once, so its cost hardly grows with the fleet. What does not depend on the request is worked out
when a device's heartbeat changes, and not for every job.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.messages import ModelInfo, Speed
from dispatcher.fleet import Device, Fleet, canonical
from dispatcher.outcomes import Removed
from dispatcher.routing import filters

Numbers = NDArray[np.float64]
Rows = NDArray[np.intp]

BANDWIDTH_BPS = 7e9
"""Prior for a device that measured nothing: a Pi 5 decodes qwen2.5:1.5b (1 GB) at 7.5 tokens/s (dambergn/ollama-benchmarks)."""

LOAD_BPS = 150e6
"""Prior for loading from an SD card or a slow SSD."""

PREFILL_TO_DECODE = 8.0
"""Prior: prefill runs some 3 (Pi) to 35 (Orin) times as fast as decode (device profiles of the simulator)."""

ACTIVE_W = 6.0
"""Prior for a device that does not say what it draws: Pis and Jetsons take 3 to 10 W above idle (profiles of the simulator)."""

LEAST_ACTIVE_W = 0.1

REMOTE_STRENGTH = 0.9
"""Prior for a provider's model of unknown size: as one of 40 B, which the small ones among them match on public tests."""

REMOTE_TPS = 50.0
"""Prior for a provider's speed, until the agent has measured it."""

COOL_C, HOT_C = 70.0, 90.0
"""Jetsons and Pis start to throttle at 80 to 97 degrees C; the score falls before that."""

_FALLBACK_SIZE = 1_000_000_000
_NO_ROWS = np.empty(0, dtype=np.intp)
_COLUMNS = 16
STRENGTHS, CONTEXT, CAN = 8, 9, 11
"""Columns that filters and tiers look at; the order is that of `Options`."""

_STATE_COLUMNS = 5
"""The first ones, which change with every job."""


@dataclass(slots=True)
class Options:
    """The rows that are left, each column of shape (rows,): what a strategy may look at. Speeds in tokens/s, `load_s` 0 for a
    model in memory, `steady` = (1 - error rate) x coolness, `context_tokens` what model and memory hold, `can` is `Ability`,
    `watts` those of a job above idle, NaN for a remote device; prices in US dollars per token, 0 for none; `remote` 1 for models
    that run elsewhere."""

    slots: Numbers
    in_flight: Numbers
    free: Numbers
    steady: Numbers
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
    """Which model on which device a row is of, and whether it makes text and fits the device's memory."""

    device: str
    model: ModelInfo
    name: str
    fits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One device in the table: its rows, from `start` to `stop`."""

    device: Device
    start: int
    stop: int
    standing: Removed | None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The table as it was at one decision: never changed, so that a reason can still be worked out later."""

    blocks: Mapping[str, Block]
    rows: Sequence[Row]
    by_model: Mapping[str, Rows]
    usable: NDArray[np.bool_]
    candidates: Rows
    cells: Numbers
    topics: Mapping[str, NDArray[np.bool_]]
    remote: bool
    """Whether any device is remote."""

    def of_model(self, name: str) -> Rows:
        """Give the rows of one model that can take jobs."""
        rows = self.by_model.get(name, _NO_ROWS)
        return rows[self.usable[rows]]

    def where(self, devices: Iterable[str]) -> NDArray[np.bool_]:
        """Tell which rows are of these devices."""
        there = np.zeros(len(self.rows), dtype=np.bool_)
        for name in devices:
            block = self.blocks.get(name)
            if block is not None:
                there[block.start : block.stop] = True
        return there


class Table:
    """Follows a fleet. `view` is cheap when little has changed since the last call."""

    def __init__(self) -> None:
        self._in_order: list[Device] = []
        self._view = _built([])

    def view(self, fleet: Fleet) -> View:
        """Give the columns of a fleet, brought up to date."""
        now = list(fleet.devices.values())
        before, self._in_order = self._in_order, now
        if len(now) != len(before):
            self._view = _built(now)
            return self._view
        changed = [new for new, old in zip(now, before, strict=True) if new is not old]
        if changed:
            self._view = _patched(self._view, changed) or _built(now)
        return self._view


def _built(devices: Sequence[Device]) -> View:
    blocks: dict[str, Block] = {}
    rows: list[Row] = []
    columns: list[list[float]] = []
    for device in sorted(devices, key=lambda one: one.name):
        start = len(rows)
        for name in sorted(device.models):
            row, figures = _row(device, name)
            rows.append(row)
            columns.append(figures)
        blocks[device.name] = Block(device=device, start=start, stop=len(rows), standing=filters.standing(device))
    by_model: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        by_model.setdefault(row.name, []).append(number)
    cells = np.array(columns, dtype=np.float64).reshape(len(rows), _COLUMNS).T.copy()
    usable = _usable(blocks, rows)
    return View(
        blocks=blocks,
        rows=rows,
        by_model={name: np.array(numbers, dtype=np.intp) for name, numbers in by_model.items()},
        usable=usable,
        candidates=usable.nonzero()[0],
        cells=cells,
        topics=_topics(blocks, len(rows)),
        remote=any(device.beat.remote for device in devices),
    )


def _patched(view: View, changed: Sequence[Device]) -> View | None:
    """Give the view with some devices as they are now; None when its rows are others."""
    blocks, rows, cells = dict(view.blocks), list(view.rows), view.cells.copy()
    usable, topics = view.usable.copy(), view.topics
    for device in changed:
        old = blocks.get(device.name)
        if old is None or (device.models is not old.device.models and device.models.keys() != old.device.models.keys()):
            return None
        if device.beat is not old.device.beat and device.beat.topics != old.device.beat.topics:
            return None
        block = Block(device=device, start=old.start, stop=old.stop, standing=filters.standing(device))
        blocks[device.name] = block
        if device.beat is old.device.beat:  # the commonest change by far: a job began or ended there
            cells[:_STATE_COLUMNS, block.start : block.stop] = [[figure] for figure in _state(device)]
        else:
            for number in range(block.start, block.stop):
                rows[number], cells[:, number] = _row(device, rows[number].name)
        for number in range(block.start, block.stop):
            usable[number] = block.standing is None and rows[number].fits
    return View(
        blocks=blocks,
        rows=rows,
        by_model=view.by_model,
        usable=usable,
        candidates=usable.nonzero()[0],
        cells=cells,
        topics=topics,
        remote=view.remote or any(device.beat.remote for device in changed),
    )


def _row(device: Device, name: str) -> tuple[Row, list[float]]:
    """Give one row. What a device says of itself may be nonsense: it must harm nobody but itself."""
    model = device.models[name]
    try:
        cells = [*_state(device), *_figures(device, model)]
        fits = filters.unfit(device, model) is None
    except (ArithmeticError, ValueError):
        cells, fits = [math.nan] * _COLUMNS, False
    return Row(device.name, model, name, fits), cells


def _state(device: Device) -> list[float]:
    """Give the columns that change with every job."""
    return [
        float(max(1, device.beat.slots)),
        float(device.in_flight),
        float(device.free_slots),
        (1.0 - device.track.error_rate) * coolness(device),
        device.track.first_token_s or 0.0,
    ]


def _figures(device: Device, model: ModelInfo) -> list[float]:
    speed = device.beat.speeds.get(model.name) or Speed()
    size, remote = model.size_bytes or _FALLBACK_SIZE, device.beat.remote
    decode_tps = _positive(speed.decode_tps) or (REMOTE_TPS if remote else _bandwidth(device) / size)
    return [
        decode_tps,
        _positive(speed.prefill_tps) or PREFILL_TO_DECODE * decode_tps,
        0.0 if model.loaded else (_positive(speed.load_s) or size / LOAD_BPS),
        strength(model, remote=remote),
        float(min(model.context_tokens or math.inf, _given(model.most_context_tokens))),
        float(model.loaded),
        float(filters.abilities(model)),
        math.nan if remote else active_w(device),
        (model.input_usd_per_mtok or 0.0) / 1e6,
        (model.output_usd_per_mtok or 0.0) / 1e6,
        float(remote),
    ]


def active_w(device: Device) -> float:
    """Give what a job draws above idle; nothing of ours when it runs elsewhere."""
    if device.beat.remote:
        return 0.0
    busy_w = _positive(device.beat.busy_w)
    return ACTIVE_W if busy_w is None else max(LEAST_ACTIVE_W, busy_w - (device.beat.idle_w or 0.0))


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


def coolness(device: Device) -> float:
    """Give 1 for a cool device, 0 for one at 90 degrees C; a device that does not say is taken for cool."""
    celsius = device.beat.temperature_c
    cool = 1.0 if celsius is None else min(1.0, max(0.0, (HOT_C - celsius) / (HOT_C - COOL_C)))
    return cool / 2 if device.beat.throttled else cool


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


def _usable(blocks: Mapping[str, Block], rows: Sequence[Row]) -> NDArray[np.bool_]:
    return np.array([blocks[row.device].standing is None and row.fits for row in rows], dtype=np.bool_)


def _topics(blocks: Mapping[str, Block], count: int) -> dict[str, NDArray[np.bool_]]:
    """Give for each topic which rows belong to a device that is meant for it."""
    topics: dict[str, NDArray[np.bool_]] = {}
    for block in blocks.values():
        for topic in block.device.beat.topics:
            topics.setdefault(topic, np.zeros(count, dtype=np.bool_))[block.start : block.stop] = True
    return topics

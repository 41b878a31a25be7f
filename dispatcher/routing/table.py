"""The fleet as columns of numbers, one row for each model of each device, kept from decision to decision; it decides nothing.

A decision looks at all rows at once, so its cost hardly grows with the fleet. What does not depend on the request is worked out
when a device's heartbeat changes, and not for every job.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dispatcher.fleet import Device, Fleet
from dispatcher.outcomes import Price, Removed
from dispatcher.routing import filters
from dispatcher.routing.draw import DRAWS, draws_of, jobs_of
from dispatcher.routing.figures import CAN, FIGURES, STATE, Numbers, Row, Rows, row_of, state_of, waiting_of
from dispatcher.routing.terms import TopicGroups

Mask = NDArray[np.bool_]

MOST_MASKS = 512
"""Masks that are kept for one layout: a few for each tenant with rules, and one for each limit."""

MOST_SETS = 16
"""Sets of names that are kept for one layout: of a thousand devices one takes 32 KB."""

_NO_ROWS = np.empty(0, dtype=np.intp)


@dataclass(slots=True, kw_only=True)
class Block:
    """One device in the table: its rows, from `start` to `stop`, and its number among the devices that have rows."""

    device: Device
    start: int
    stop: int
    number: int
    standing: Removed | None


@dataclass(slots=True, kw_only=True)
class Layout:
    """What stays while devices come and go with their jobs: which row is of which device and model. `device_of` numbers the devices
    that have rows, in the order of `devices`, which is that of their names; `sites` says where each stands; `bare` are those
    without."""

    by_model: Mapping[str, Rows]
    devices: Sequence[str]
    sites: Sequence[str | None]
    device_of: Rows
    first_of: Rows
    bare: Sequence[str]
    topics: TopicGroups
    _masks: dict[Hashable, Mask] = field(default_factory=dict)
    _sets: dict[bytes, frozenset[str]] = field(default_factory=dict)

    def named(self, devices: Mask) -> frozenset[str]:
        """Name the devices that a mask of them tells: the same object for the same ones, since each of a thousand waiting jobs
        keeps what limits keep from it, and mostly that is the same."""
        key = devices.tobytes()
        found = self._sets.get(key)
        if found is None:
            if len(self._sets) >= MOST_SETS:
                self._sets.clear()
            found = self._sets[key] = frozenset(self.devices[number] for number in devices.nonzero()[0].tolist())
        return found

    def mask(self, key: Hashable, make: Callable[[], Mask]) -> Mask:
        """Give a mask that depends on names alone, worked out once."""
        found = self._masks.get(key)
        if found is None:
            if len(self._masks) >= MOST_MASKS:
                self._masks.clear()
            found = self._masks[key] = make()
        return found


@dataclass(slots=True, kw_only=True)
class View:
    """The table as it was at one decision: never changed, so that a reason can still be worked out later, by a thread too."""

    blocks: Mapping[str, Block]
    rows: Sequence[Row]
    layout: Layout
    usable: Mask
    candidates: Rows
    state: Numbers
    figures: Numbers
    draws: Numbers
    """A column for each device of `layout.devices`: see `draw`."""
    prices: Sequence[Price]
    remote: bool
    """Whether any device is remote."""
    _open: tuple[Sequence[object], Mask] | None = None

    def open_by(self, rules: Sequence[object], make: Callable[[], Mask]) -> Mask:
        """Give the mask that follows from this view and from `rules`, worked out once for the same objects. The last one is kept:
        all decisions of a time have the same rules."""
        if self._open is not None:
            before, found = self._open
            if len(before) == len(rules) and all(one is other for one, other in zip(before, rules, strict=True)):
                return found
        made = make()
        made.setflags(write=False)
        self._open = rules, made
        return made

    def of_model(self, name: str) -> Rows:
        """Give the rows of one model that can take jobs."""
        rows = self.layout.by_model.get(name, _NO_ROWS)
        return rows[self.usable[rows]]

    def where(self, devices: Iterable[str]) -> Mask:
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

    def fork(self) -> Table:
        """Give a table that begins as this one is now and goes its own way: for a thread, and for fleets that might be."""
        other = Table()
        other._in_order, other._view = self._in_order, self._view
        return other

    def view(self, fleet: Fleet) -> View:
        """Give the columns of a fleet, brought up to date."""
        now = list(fleet.devices.values())
        before, self._in_order = self._in_order, now
        if len(now) != len(before):
            self._view = _built(now)
            return self._view
        changed = [new for new, old in zip(now, before, strict=True) if new is not old]
        if changed:
            self._view = patched(self._view, changed) or _built(now)
        return self._view


def patched(view: View, changed: Sequence[Device]) -> View | None:
    """Give the view with some devices as they are now; None when its rows are others. The commonest change by far is that a job
    began or ended there, and then the state alone is copied."""
    blocks, state, beats = dict(view.blocks), view.state.copy(), False
    for device in changed:
        old = blocks.get(device.name)
        if old is None or _other_rows(old.device, device):
            return None
        blocks[device.name] = _moved(old, device, state)
        beats = beats or _said_more(old.device, device) or blocks[device.name].standing is not old.standing
    if not beats:
        return View(
            blocks=blocks,
            rows=view.rows,
            layout=view.layout,
            usable=view.usable,
            candidates=view.candidates,
            state=state,
            figures=view.figures,
            draws=view.draws,
            prices=view.prices,
            remote=view.remote,
        )
    return _reread(view, blocks, state, changed)


def _other_rows(old: Device, new: Device) -> bool:
    if new.models is not old.models and new.models.keys() != old.models.keys():
        return True
    said, before = new.beat, old.beat
    return said is not before and (said.topics, said.remote, said.site) != (before.topics, before.remote, before.site)


def _said_more(old: Device, new: Device) -> bool:
    return new.beat is not old.beat or new.answered != old.answered


def _moved(old: Block, device: Device, state: Numbers) -> Block:
    """Give a device's block as it is now, and write its state."""
    before, there = old.device, slice(old.start, old.stop)
    if device.beat is before.beat and device.track is before.track:
        state[1, there], state[2, there] = jobs_of(device), device.free_slots
        state[4, there], state[5, there] = waiting_of(device)
        if device.liveness is before.liveness and device.breaker is before.breaker:
            return Block(device=device, start=old.start, stop=old.stop, number=old.number, standing=old.standing)
    else:
        for column, figure in enumerate(state_of(device)):
            state[column, there] = figure
    standing = filters.standing(device)
    return Block(
        device=device,
        start=old.start,
        stop=old.stop,
        number=old.number,
        standing=old.standing if standing == old.standing else standing,
    )


def _reread(view: View, blocks: Mapping[str, Block], state: Numbers, changed: Sequence[Device]) -> View:
    """Take in what heartbeats say."""
    rows, figures, usable = list(view.rows), view.figures.copy(), view.usable.copy()
    draws = view.draws.copy()
    for device in changed:
        block = blocks[device.name]
        if _said_more(view.blocks[device.name].device, device):
            if block.stop > block.start:
                draws[:, block.number] = draws_of(device.beat)
            for number in range(block.start, block.stop):
                rows[number], figures[:, number] = row_of(device, rows[number].name)
        for number in range(block.start, block.stop):
            usable[number] = block.standing is None and rows[number].fits
    remote = any(device.beat.remote for device in changed)
    return View(
        blocks=blocks,
        rows=rows,
        layout=view.layout,
        usable=usable,
        candidates=_chatting(usable, figures),
        state=state,
        figures=figures,
        draws=draws,
        prices=_prices(blocks) if remote else view.prices,
        remote=view.remote,
    )


def _built(devices: Sequence[Device]) -> View:
    blocks: dict[str, Block] = {}
    rows: list[Row] = []
    state: list[list[float]] = []
    figures: list[list[float]] = []
    draws: list[list[float]] = []
    for device in sorted(devices, key=lambda one: one.name):
        start = len(rows)
        for name in sorted(device.models):
            row, cells = row_of(device, name)
            rows.append(row)
            figures.append(cells)
        state.extend([state_of(device)] * len(device.models))
        draws.extend([draws_of(device.beat)] if device.models else [])
        blocks[device.name] = Block(
            device=device,
            start=start,
            stop=len(rows),
            number=len(draws) - 1,
            standing=filters.standing(device),
        )
    usable = np.array([blocks[row.device].standing is None and row.fits for row in rows], dtype=np.bool_)
    columns = _columns(figures, FIGURES)
    return View(
        blocks=blocks,
        rows=rows,
        layout=_layout(blocks, rows),
        usable=usable,
        candidates=_chatting(usable, columns),
        state=_columns(state, STATE),
        figures=columns,
        draws=_columns(draws, DRAWS),
        prices=_prices(blocks),
        remote=any(device.beat.remote for device in devices),
    )


def _chatting(usable: Mask, figures: Numbers) -> Rows:
    """Give the rows among which `auto` may choose: who embeds must name the model."""
    rows = usable.nonzero()[0]
    chatting: Rows = rows[(figures[CAN, rows].astype(np.int64) & int(filters.Ability.TEXT)) > 0]
    return chatting


def _columns(rows: list[list[float]], width: int) -> Numbers:
    return np.array(rows, dtype=np.float64).reshape(len(rows), width).T.copy()


def _layout(blocks: Mapping[str, Block], rows: Sequence[Row]) -> Layout:
    by_model: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        by_model.setdefault(row.name, []).append(number)
    there = [block for block in blocks.values() if block.stop > block.start]
    sizes = np.array([block.stop - block.start for block in there], dtype=np.intp)
    return Layout(
        by_model={name: np.array(numbers, dtype=np.intp) for name, numbers in by_model.items()},
        devices=[block.device.name for block in there],
        sites=[block.device.beat.site for block in there],
        device_of=np.repeat(np.arange(len(there)), sizes),
        first_of=np.array([block.start for block in there], dtype=np.intp),
        bare=[name for name, block in blocks.items() if block.stop == block.start],
        topics=TopicGroups.of([block.device.beat.topics for block in there], sizes),
    )


def _prices(blocks: Mapping[str, Block]) -> list[Price]:
    """Give the prices of remote models that cost something."""
    return [
        Price(model.name, name, model.input_usd_per_mtok or 0.0, model.output_usd_per_mtok or 0.0)
        for name, block in blocks.items()
        if block.device.beat.remote
        for model in block.device.models.values()
        if model.input_usd_per_mtok or model.output_usd_per_mtok
    ]

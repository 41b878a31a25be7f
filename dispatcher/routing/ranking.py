"""The candidates of a decision, best first, over the columns that it was made from: a candidate is made when it is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import overload

import numpy as np

from dispatcher.outcomes import Candidate, Ranking, Terms, Work
from dispatcher.routing.cloud import most_of
from dispatcher.routing.figures import MEASURED, Rows
from dispatcher.routing.predict import job_j, job_usd
from dispatcher.routing.strain import strain
from dispatcher.routing.strategies.seam import Scene, Scores

_AT_ONCE = 64
"""Names are looked up in such portions: mostly the first one is enough."""


class Ranked(Ranking):
    """The ranking of a scene by scores; `order` are the places of its rows, best first."""

    __slots__ = ("_made", "_order", "_scene", "_scores")

    def __init__(self, scene: Scene, scores: Scores, order: Rows) -> None:
        self._scene = scene
        self._scores = scores
        self._order = order
        self._made: dict[int, Candidate] = {}

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, place: int) -> Candidate: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Candidate]: ...
    def __getitem__(self, place: int | slice) -> Candidate | Sequence[Candidate]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self._order)))]
        found = self._made.get(place)
        if found is None:
            found = self._made[place] = _candidate(self._scene, self._scores, int(self._order[place]))
        return found

    def names(self) -> Iterator[tuple[str, str]]:
        rows, kept = self._scene.view.rows, self._scene.kept
        for begin in range(0, len(self._order), _AT_ONCE):
            for number in kept[self._order[begin : begin + _AT_ONCE]].tolist():
                row = rows[number]
                yield row.device, row.model.name

    def devices(self) -> Iterator[str]:
        numbers, names = self._scene.device_of[self._order], self._scene.view.layout.devices
        return (names[number] for number in dict.fromkeys(numbers.tolist()))

    def on(self, device: str) -> Candidate | None:
        block = self._scene.view.blocks.get(device)
        if block is None:
            return None
        rows = self._scene.kept[self._order]
        places = ((rows >= block.start) & (rows < block.stop)).nonzero()[0]
        return self[int(places[0])] if len(places) else None

    def roomy(self) -> Iterator[int]:
        free, order = self._scene.options.free, self._order
        if len(order) and free[order[0]] > 0.0:  # mostly it is, and nobody asks for the others
            yield 0
        yield from ((free[order[1:]] > 0.0).nonzero()[0] + 1).tolist()

    def work(self) -> Work | None:
        if not len(self._order):
            return None
        predicted = self._scene.predicted
        work_s = (predicted.total_s - predicted.wait_s)[self._order]
        sure = self._scene.view.figures[MEASURED, self._scene.kept[self._order]].all()
        return Work(float(work_s.min()), float((work_s - predicted.load_s[self._order]).min()) if sure else 0.0)

    def above(self, detail: str, bound: float) -> Ranking:
        column = self._scores.details.get(detail)
        chosen = self._order[:0] if column is None else self._order[column[self._order] > bound]
        return Ranked(self._scene, self._scores, chosen)

    def at_hand(self) -> Ranking:
        options = self._scene.options
        chosen = (options.warm > 0.0) & (options.remote == 0.0)
        return Ranked(self._scene, self._scores, self._order[chosen[self._order]])

    def picked(self, places: Sequence[int]) -> Ranking:
        return Ranked(self._scene, self._scores, self._order[np.array(places, dtype=np.intp)])


def _candidate(scene: Scene, scores: Scores, place: int) -> Candidate:
    row, options, predicted, parts = scene.view.rows[scene.kept[place]], scene.options, scene.predicted, scene.terms
    warm, remote = options.warm.item(place) > 0.0, options.remote.item(place) > 0.0
    said = Terms(parts.tokens.item(place), parts.topic.item(place), parts.health.item(place))
    score = scores.values.item(place)
    beat = scene.view.blocks[row.device].device.beat
    strained = strain(beat).why
    input_usd, output_usd = options.input_usd.item(place), options.output_usd.item(place)
    most, wanted = most_of(scene.ask, input_usd, output_usd), scene.ask.wanted
    load_s, prefill_s, decode_s = (
        predicted.load_s.item(place),
        predicted.prefill_s.item(place),
        predicted.decode_s.item(place),
    )
    cost_usd = job_usd(wanted, input_usd, output_usd)
    cached = predicted.cached_tokens
    warm_tokens = 0 if cached is None else int(cached.item(place))
    return Candidate(
        device=row.device,
        model=row.model.name,
        score=score,
        terms=said,
        reason=_reason(scene.ask.strategy, score, said, strained, warm=warm, warm_tokens=warm_tokens),
        warm=warm,
        warm_tokens=warm_tokens,
        simulated=beat.simulated,
        strain=strained,
        predicted_load_s=load_s,
        predicted_first_token_s=predicted.first_token_s.item(place),
        predicted_total_s=predicted.total_s.item(place),
        predicted_wait_s=predicted.wait_s.item(place),
        predicted_energy_j=None if remote else job_j(options.watts.item(place), load_s, prefill_s, decode_s),
        predicted_cost_usd=cost_usd if isfinite(cost_usd) else None,
        most_cost_usd=most.cost_usd,
        most_tokens=most.tokens,
        remote=remote,
        details={name: column.item(place) for name, column in scores.details.items()},
    )


def _reason(strategy: str, score: float, parts: Terms, strained: Sequence[str], *, warm: bool, warm_tokens: int) -> str:
    under = f"; under strain: {', '.join(strained)}" if strained else ""
    read = f"; warm prefix: {warm_tokens} tokens" if warm_tokens else ""
    return (
        f"{'model loaded' if warm else 'model to load'}{read}; {strategy} score {score:.2f} "
        f"(fit {parts.tokens:.2f}, topic {parts.topic:.2f}, health {parts.health:.2f}){under}"
    )

"""How often the page's views ask, as their modules say it, beside the bench that acts like them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from dispatcher.bridge.pages.assets import UI
from dispatcher.lab.speed.door.pages import ENERGY_S, LATENCY_S

_CALL = re.compile(r"(?<!function )\buse(Get|Read)\(")
_PLACE = {"Get": 1, "Read": 2}
"""Which argument says how often, of each of the hooks that read (`core/parts.js`)."""


def test_the_bench_asks_as_often_as_the_views() -> None:
    """Latency by its shorter periods, and Energy. No other view asks more often than Energy: such a one is to be measured."""
    modules = {file.stem: file.read_text() for file in (UI / "views").rglob("*.js")}
    asks = {name: sorted(often) for name, module in modules.items() if (often := [*every(module)])}

    assert {"activity": [30], "energy": [ENERGY_S], "fleet": [60], "latency": [LATENCY_S, 30]} == asks


@pytest.mark.parametrize(
    ("module", "found"),
    [
        ("const a = useGet(path, 60);", [60]),
        ("useGet(query('/x', { a, b: [1, 2] }), period > 3600 ? 30 : 5)", [30, 5]),
        ("useRead(async (signal) => {\n  return get(`/x?${a}`, { signal });\n}, [a, b], 30);", [30]),
        ("useGet(path, more ? 0 : 30)", [30]),
        ("useGet(path); useRead(read, [7]);", []),
        ("export function useRead(read, by = [], everyS = 0) {}", []),
    ],
)
def test_intervals_are_found(module: str, found: list[int]) -> None:
    """Whatever stands before them; zero is never, and a condition is no interval."""
    assert found == [*every(module)]


def every(module: str) -> Iterator[int]:
    """Give the seconds after which a module asks again, of each place that does."""
    for call in _CALL.finditer(module):
        told = [*_arguments(module[call.end() :])]
        if len(told) > (place := _PLACE[call[1]]):
            yield from filter(None, map(int, re.findall(r"\d+", told[place].rpartition("?")[2])))


def _arguments(behind: str) -> Iterator[str]:
    """Give the arguments of a call, whose bracket has just been opened."""
    depth, begin = 0, 0
    for place, sign in enumerate(behind):
        depth += (sign in "([{") - (sign in ")]}")
        if depth < 0 or (not depth and sign == ","):
            yield behind[begin:place]
            begin = place + 1
        if depth < 0:
            return

"""What a process shows to Prometheus: counters, histograms, and figures taken when somebody looks; it alone knows the vendor.

Counting is plain arithmetic in the process's own loop; the vendor only writes the page, in a thread, from values that change no
more. Nothing here is global: two of these in one process know nothing of one another.
"""

from __future__ import annotations

import importlib.util
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.logs import get_logger

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

log = get_logger("metrics")

OTHER = "other"
MOST_NAMES = 200
"""Devices, or models, that one process names; a series for each of thousands would fill a Prometheus on a small machine."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""From a cached answer to a long one on a Raspberry Pi."""
TOKENS_PER_SECOND = (0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0, 128.0, 256.0)

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Counters or gauges of one name; `labels` are the names of the values in each key of `points`."""

    name: str
    help: str
    labels: Labels = ()
    points: Mapping[Labels, float]
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Spread:
    """How often what was observed fell into each bucket, the last one without a bound, and the sum."""

    hits: tuple[int, ...]
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spreads:
    """Histograms of one name."""

    name: str
    help: str
    labels: Labels
    bounds: tuple[float, ...]
    points: Mapping[Labels, Spread]


Family = Numbers | Spreads
Source = Callable[[], Iterable[Family]]


class Names:
    """Bounds a label: the first ones are named, all later ones are `other` until one of those is freed."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, name: str | None) -> str:
        """Give what stands for a name; nothing for none."""
        if not name or name in self._known:
            return name or ""
        if len(self._known) >= self._most:
            return OTHER
        self._known.add(name)
        return name

    def free(self, name: str) -> None:
        """Make room for another one; whoever shows the label drops what it shows of this one."""
        self._known.discard(name)


class Counter:
    """A sum that only grows, for each set of labels. Its page name ends in `_total`."""

    def __init__(self, name: str, help: str, labels: Labels) -> None:  # noqa: A002  # the vendor's and everybody's word
        self._name, self._help, self._labels = name, help, labels
        self._points: dict[Labels, float] = {} if labels else {(): 0.0}

    def add(self, *labels: str, by: float = 1.0) -> None:
        """Count; `labels` are values, in the order of the names."""
        self._points[labels] = self._points.get(labels, 0.0) + by

    def forget(self, label: str, value: str) -> None:
        """Drop the sums that have this value of a label."""
        for key in _having(self._points, self._labels, label, value):
            del self._points[key]

    def family(self) -> Family:
        """Give it as it is now."""
        return Numbers(name=self._name, help=self._help, labels=self._labels, points=dict(self._points), counts=True)


class Histogram:
    """How often observations fell between bounds, for each set of labels."""

    def __init__(self, name: str, help: str, labels: Labels, bounds: Sequence[float]) -> None:  # noqa: A002  # as above
        self._name, self._help, self._labels, self._bounds = name, help, labels, tuple(bounds)
        self._hits: dict[Labels, list[int]] = {}
        self._totals: dict[Labels, float] = {}

    def observe(self, value: float, *labels: str) -> None:
        """Take in one observation; `labels` as with a counter."""
        hits = self._hits.get(labels)
        if hits is None:
            hits = self._hits[labels] = [0] * (len(self._bounds) + 1)
        hits[bisect_left(self._bounds, value)] += 1  # a bound belongs to its bucket
        self._totals[labels] = self._totals.get(labels, 0.0) + value

    def forget(self, label: str, value: str) -> None:
        """Drop what was observed with this value of a label."""
        for key in _having(self._hits, self._labels, label, value):
            del self._hits[key], self._totals[key]

    def family(self) -> Family:
        """Give it as it is now."""
        points = {key: Spread(tuple(hits), self._totals[key]) for key, hits in self._hits.items()}
        return Spreads(name=self._name, help=self._help, labels=self._labels, bounds=self._bounds, points=points)


def _having(points: Iterable[Labels], names: Labels, label: str, value: str) -> list[Labels]:
    place = names.index(label) if label in names else None
    return [] if place is None else [key for key in points if key[place] == value]


class Metrics:
    """All that one process shows. Names are checked by the vendor when the page is written."""

    def __init__(self) -> None:
        self._kept: list[Counter | Histogram] = []
        self._sources: list[Source] = []
        self._ill: set[str] = set()

    def counter(self, name: str, help: str, *labels: str) -> Counter:  # noqa: A002  # as above
        """Make a counter; `name` without `_total`."""
        made = Counter(name, help, labels)
        self._kept.append(made)
        return made

    def histogram(self, name: str, help: str, *labels: str, bounds: Sequence[float] = SECONDS) -> Histogram:  # noqa: A002  # as above
        """Make a histogram."""
        made = Histogram(name, help, labels, bounds)
        self._kept.append(made)
        return made

    def ask(self, source: Source) -> None:
        """Ask `source` at each look; it must return at once."""
        self._sources.append(source)

    def forget(self, label: str, value: str) -> None:
        """Drop what was counted for one value of a label: of a device that is gone for good. To Prometheus its series end."""
        for one in self._kept:
            one.forget(label, value)

    def families(self) -> list[Family]:
        """Give all as it is now, in values that change no more. A source that fails is left out, and logged once."""
        found = [one.family() for one in self._kept]
        for source in self._sources:
            try:
                found += source()
            except Exception:
                name = getattr(source, "__qualname__", repr(source))
                if name not in self._ill:
                    self._ill.add(name)
                    log.exception("metrics.source_failed", source=name)
        return found


def gauge(name: str, help: str, points: Mapping[Labels, float] | float, *labels: str) -> Numbers:  # noqa: A002  # as above
    """Say what is now; a number where there are no labels."""
    return Numbers(name=name, help=help, labels=labels, points=points if isinstance(points, Mapping) else {(): points})


def available() -> bool:
    """Tell whether the vendor is installed (the extra `metrics`)."""
    return importlib.util.find_spec("prometheus_client") is not None


def written(families: Iterable[Family], accept: str = "") -> tuple[bytes, str]:
    """Write the page, and give its content type; what the process itself takes (processor, memory) is added. Any thread may."""
    # It brings an HTTP server and TLS along, 60 ms on a desktop: only who is looked at pays for that.
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415
    from prometheus_client.process_collector import ProcessCollector  # noqa: PLC0415

    class Page:
        def collect(self) -> Iterable[Metric]:
            yield from map(_vendors, families)
            yield from ProcessCollector(registry=None).collect()

    encode, kind = choose_encoder(accept)
    return encode(Page()), kind


def _vendors(family: Family) -> Metric:
    from prometheus_client.metrics_core import (  # noqa: PLC0415  # as above
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    if isinstance(family, Numbers):
        kind = CounterMetricFamily if family.counts else GaugeMetricFamily
        numbers = kind(family.name, family.help, labels=family.labels)
        for labels, value in family.points.items():
            numbers.add_metric(labels, value)
        return numbers
    spreads = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, spread in family.points.items():
        below, buckets = 0, []
        for bound, hits in zip((*family.bounds, float("inf")), spread.hits, strict=True):
            below += hits
            buckets.append((_bound(bound), float(below)))
        spreads.add_metric(labels, buckets, spread.total)
    return spreads


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(bound)

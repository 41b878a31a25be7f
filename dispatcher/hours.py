"""Hours of the week in which something holds; it knows neither clock nor time zone: the moment is handed in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MIN = 24 * 60
WEEK_MIN = 7 * DAY_MIN

EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class Moment:
    """A minute of the week: the day from 0, Monday, and the minute of that day."""

    weekday: int
    minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From one minute of the day to another, which no more belongs to it: the next day's where it is not later. Of a window that
    crosses midnight `days` are those on which it begins."""

    from_min: int = 0
    to_min: int = DAY_MIN
    days: frozenset[int] = EVERY_DAY

    def holds(self, moment: Moment) -> bool:
        """Tell whether a moment is inside."""
        at = moment.weekday * DAY_MIN + moment.minute
        return any(start <= at < stop for start, stop in self._spans())

    def overlaps(self, other: Window) -> bool:
        """Tell whether two have a minute of the week in common."""
        theirs = list(other._spans())
        return any(start < until and since < stop for start, stop in self._spans() for since, until in theirs)

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Give it as minutes of the week: what goes beyond Sunday's midnight is Monday's."""
        length = (self.to_min - self.from_min) % DAY_MIN or DAY_MIN
        for day in sorted(self.days):
            start = day * DAY_MIN + self.from_min
            yield start, min(start + length, WEEK_MIN)
            if start + length > WEEK_MIN:
                yield 0, start + length - WEEK_MIN

    def __str__(self) -> str:
        hours = "" if self.to_min - self.from_min == DAY_MIN else f"{_text(self.from_min)} to {_text(self.to_min)}"
        days = "" if self.days == EVERY_DAY else ", ".join(DAYS[day] for day in sorted(self.days))
        return " on ".join(part for part in (hours, days) if part) or "always"


def _text(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"

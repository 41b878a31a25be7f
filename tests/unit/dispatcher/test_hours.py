"""Hours of the week and what energy costs in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.hours import DAY_MIN, DAYS, EVERY_DAY, Moment, Window
from dispatcher.tariff import NO_RATE, Hours, Rate, rate_at

WINDOWS = st.builds(
    lambda start, length, days: Window(from_min=start, to_min=(start + length - 1) % DAY_MIN + 1, days=days),
    st.integers(0, DAY_MIN - 1),
    st.integers(1, DAY_MIN - 1),
    st.frozensets(st.integers(0, 6), min_size=1),
)
MOMENTS = st.builds(Moment, st.integers(0, 6), st.integers(0, DAY_MIN - 1))


def at(text: str) -> Moment:
    """A moment written as `fri 22:30`."""
    day, _, clock = text.partition(" ")
    hour, _, minute = clock.partition(":")
    return Moment(DAYS.index(day), int(hour) * 60 + int(minute))


NIGHT = Window(from_min=22 * 60, to_min=6 * 60)
FRIDAY_NIGHT = Window(from_min=22 * 60, to_min=6 * 60, days=frozenset({4}))
SUNDAY_NIGHT = Window(from_min=22 * 60, to_min=6 * 60, days=frozenset({6}))
WEEKEND = Window(days=frozenset({5, 6}))


@pytest.mark.parametrize(
    ("window", "moment", "expected"),
    [
        (NIGHT, "tue 22:00", True),
        (NIGHT, "tue 05:59", True),
        (NIGHT, "tue 06:00", False),
        (NIGHT, "tue 21:59", False),
        (FRIDAY_NIGHT, "fri 23:00", True),
        (FRIDAY_NIGHT, "sat 05:59", True),  # it began on Friday
        (FRIDAY_NIGHT, "fri 05:00", False),  # that one began on Thursday
        (FRIDAY_NIGHT, "sat 22:00", False),
        (SUNDAY_NIGHT, "mon 03:00", True),  # the week begins anew
        (SUNDAY_NIGHT, "sun 03:00", False),
        (WEEKEND, "sat 00:00", True),
        (WEEKEND, "sun 23:59", True),
        (WEEKEND, "mon 00:00", False),
        (Window(), "wed 12:00", True),
    ],
)
def test_a_window_holds(window: Window, moment: str, expected: bool) -> None:
    """From its first minute to before its last, across midnight and the week's end; its days are those on which it begins."""
    assert expected == window.holds(at(moment))


@given(WINDOWS, MOMENTS)
def test_a_window_is_what_its_hours_and_days_say(window: Window, moment: Moment) -> None:
    """It holds where the time of day is inside and the day is one of its own, or that of yesterday behind midnight."""
    minute, crosses = moment.minute, window.to_min <= window.from_min
    today = minute >= window.from_min and (crosses or minute < window.to_min)
    yesterday = crosses and minute < window.to_min
    expected = (today and moment.weekday in window.days) or (yesterday and (moment.weekday - 1) % 7 in window.days)

    assert expected == window.holds(moment)


@given(WINDOWS, WINDOWS)
def test_two_overlap_where_both_hold(one: Window, other: Window) -> None:
    """Two windows overlap if one holds in the first minute of a day's beginning of the other: both ways round."""
    begins = [(one, Moment(day, other.from_min)) for day in other.days]
    begins += [(other, Moment(day, one.from_min)) for day in one.days]

    assert one.overlaps(other) == other.overlaps(one) == any(window.holds(moment) for window, moment in begins)


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (NIGHT, "22:00 to 06:00"),
        (FRIDAY_NIGHT, "22:00 to 06:00 on fri"),
        (WEEKEND, "sat, sun"),
        (Window(from_min=60, to_min=DAY_MIN, days=EVERY_DAY), "01:00 to 24:00"),
        (Window(), "always"),
    ],
)
def test_a_window_is_told_in_words(window: Window, words: str) -> None:
    """As people write it."""
    assert words == str(window)


def test_what_hours_do_not_say_is_as_at_other_times() -> None:
    """A price by the hour leaves the grid factor as it is, and the other way round."""
    flat = Rate(per_kwh=0.3, currency="CHF", g_co2e_per_kwh=400.0)
    hours = (Hours(window=NIGHT, per_kwh=0.2), Hours(window=Window(from_min=720, to_min=780), g_co2e_per_kwh=90.0))

    assert [
        Rate(per_kwh=0.2, currency="CHF", g_co2e_per_kwh=400.0),
        Rate(per_kwh=0.3, currency="CHF", g_co2e_per_kwh=90.0),
        flat,
        NO_RATE,
    ] == [
        rate_at(flat, hours, at("mon 23:00")),
        rate_at(flat, hours, at("mon 12:30")),
        rate_at(flat, hours, at("mon 13:00")),
        rate_at(NO_RATE, (), at("mon 13:00")),
    ]

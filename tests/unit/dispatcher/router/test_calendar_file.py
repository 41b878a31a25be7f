"""Limits, schedules and tariffs in the routing file, and the policy of a moment that comes of them."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from common.errors import ConfigError
from dispatcher.hours import Moment, Window
from dispatcher.router.policy_file import PolicyFile, policy_from
from dispatcher.router.timetable import Timetable, moment_of, no_zone
from dispatcher.routing import RoutingPolicy
from dispatcher.routing.ask import Caps
from dispatcher.routing.limits import Calendar, Limit, Schedule, Scope, When
from dispatcher.tariff import Hours, Rate

PRICED = RoutingPolicy(rate=Rate(per_kwh=0.3, currency="CHF", g_co2e_per_kwh=100.0))

WHOLE = """
timezone = "Europe/Berlin"
[caps]
drain_throttled = true
[caps.sites]
attic = 25
[caps.devices]
"pi*" = 0
[[limit]]
name = "house"
watts = 60
[[limit]]
name = "night"
site = "attic"
watts = 0
from = "22:00"
to = "06:00"
days = ["fri", "sat"]
[[limit]]
name = "dear"
device = "orin*"
watts = 15.5
tariff_above = 0.4
[[limit]]
name = "spare"
watts = 20
on_battery = true
battery_below_percent = 40
[[schedule]]
name = "eco"
strategy = "energy:eco"
days = ["sun"]
[tariff]
currency = "EUR"
per_kwh = 0.32
[[tariff.hours]]
from = "17:00"
to = "24:00"
per_kwh = 0.45
g_co2e_per_kwh = 500
"""


def test_the_whole_of_it() -> None:
    """Every key arrives: what depends on the moment in the calendar, what does not at once."""
    night = Window(from_min=22 * 60, to_min=6 * 60, days=frozenset({4, 5}))

    assert policy_from(WHOLE, PRICED) == RoutingPolicy(
        caps=Caps(drain_throttled=True, sites={"attic": 25.0}, devices={"pi*": 0.0}),
        rate=Rate(per_kwh=0.32, currency="EUR", g_co2e_per_kwh=100.0),
        limits=(
            Limit(name="house", watts=60.0),
            Limit(name="spare", watts=20.0, on_battery=True, battery_below_percent=40.0),
        ),
        calendar=Calendar(
            limits=(
                Limit(name="night", watts=0.0, scope=Scope.SITE, of="attic", when=When(window=night)),
                Limit(name="dear", watts=15.5, scope=Scope.DEVICE, of="orin*", when=When(tariff_above=0.4)),
            ),
            schedules=(Schedule(name="eco", strategy="energy:eco", when=When(window=Window(days=frozenset({6})))),),
            hours=(Hours(window=Window(from_min=1020, to_min=1440), per_kwh=0.45, g_co2e_per_kwh=500.0),),
            timezone="Europe/Berlin",
        ),
    )


LIMIT = '[[limit]]\nname = "x"\nwatts = 1\n'
HOURS = "[[tariff.hours]]\nper_kwh = 1\n"
EVENING = HOURS + 'from = "17:00"\nto = "20:00"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[limit]]\nwatts = 1", "limit.0.name"),
        ('[[limit]]\nname = "a\\u001b[2Jb"\nwatts = 1', "limit.0.name='a\\x1b[2Jb': a name is one line"),
        ('[[limit]]\nname = "a\\nb"\nwatts = 1', "limit.0.name='a\\nb': a name is one line"),
        (
            '[[schedule]]\nname = "a\\nb"\nstrategy = "hybrid"\ntariff_above = 1',
            "schedule.0.name='a\\nb': a name is one line",
        ),
        ('[[limit]]\nname = "x"', "limit.0.watts"),
        (LIMIT + "wats = 1", "limit.0.wats"),
        (LIMIT + "watts = -1", "no TOML"),  # twice the same key
        ('[[limit]]\nname = "x"\nwatts = -1', "limit.0.watts=-1"),
        ('[[limit]]\nname = "x"\nwatts = nan', "limit.0.watts=nan"),
        ('[[limit]]\nname = "x"\nwatts = "60"', "limit.0.watts='60'"),
        (LIMIT + LIMIT, "limit.1.name='x': another limit has this name"),
        (LIMIT + 'site = "a"\ndevice = "b"', "site and device are both given"),
        (LIMIT + 'site = ""', "limit.0.site=''"),
        (LIMIT + 'from = "17:00"', "from and to belong together"),
        (LIMIT + 'from = "17:00"\nto = "17:00"', "from and to are the same"),
        (LIMIT + 'from = "24:00"\nto = "17:00"', 'from is at most "23:59"'),
        (LIMIT + 'from = "25:00"\nto = "17:00"', "limit.0.from='25:00': a time of day is written as"),
        (LIMIT + 'from = 17:00:00\nto = "18:00"', "limit.0.from=datetime.time(17, 0)"),
        (LIMIT + "days = []", "limit.0.days=[]"),
        (LIMIT + 'days = ["monday"]', "limit.0.days.0='monday': a day is one of mon, tue"),
        (LIMIT + "on_battery = false", "on_battery can only be true"),
        (LIMIT + "battery_below_percent = 101", "limit.0.battery_below_percent=101"),
        (LIMIT + "tariff_above = 0.4", "'x': tariff_above=0.4 needs a price"),
        ('[[schedule]]\nname = "x"\nstrategy = "perf"', "schedule.0={"),
        ('[[schedule]]\nname = "x"\nstrategy = "best"\ndays = ["mon"]', "schedule.0.strategy='best'"),
        (
            '[workloads.code]\na = 1\n[[schedule]]\nname = "x"\nstrategy = "weighted:none"\ndays = ["mon"]',
            "schedule.0.strategy='weighted:none'",
        ),
        ('[tariff]\ncurrency = "euro"', "tariff.currency='euro'"),
        ("[tariff]\nper_kwh = -1", "tariff.per_kwh=-1"),
        (HOURS, "from and to, or days, are missing"),
        ('[[tariff.hours]]\ndays = ["mon"]', "per_kwh and g_co2e_per_kwh are both missing"),
        (
            EVENING + HOURS + 'from = "19:59"\nto = "06:00"',
            "tariff.hours.1=19:59 to 06:00: it overlaps tariff.hours.0, 17:00",
        ),
        (EVENING + HOURS + 'days = ["sun"]', "tariff.hours.1=sun: it overlaps tariff.hours.0"),
        ('timezone = "Europe/Berlyn"', "there is no time zone 'Europe/Berlyn'"),
        ('timezone = "../../etc/passwd"', "there is no time zone '../../etc/passwd'"),
        ('timezone = ""', "timezone=''"),
        ("[caps.sites]\nattic = -1", "caps.sites.attic=-1"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    """The error names the place, the value and what was expected; nothing is taken in silence."""
    with pytest.raises(ConfigError) as refusal:
        policy_from(text, RoutingPolicy())
    assert words in refusal.value.message


def test_hours_side_by_side_do_not_overlap() -> None:
    """One may end when the next begins, across midnight too."""
    policy = policy_from(EVENING + HOURS + 'from = "20:00"\nto = "17:00"', RoutingPolicy())

    assert 2 == len(policy.calendar.hours)


def test_a_price_of_the_settings_will_do() -> None:
    """`tariff_above` needs no [tariff] where DROVER_TARIFF_PER_KWH is set."""
    assert [0.2] == [
        limit.when.tariff_above for limit in policy_from(LIMIT + "tariff_above = 0.2", PRICED).calendar.limits
    ]


def test_a_machine_without_time_zones_is_told_what_to_install() -> None:
    """The name may be right there: the message says what is missing, and the way round it."""
    assert "apt install tzdata" in no_zone("Europe/Berlin", known=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-07-01T12:00:00+00:00", Moment(2, 14 * 60)),  # summer time
        ("2026-01-01T23:30:00+00:00", Moment(4, 30)),  # Friday there
    ],
)
def test_hours_are_those_of_the_time_zone(text: str, expected: Moment) -> None:
    """Day and minute are those that a clock in Berlin shows."""
    assert expected == moment_of(datetime.fromisoformat(text).timestamp(), "Europe/Berlin")


# -- from minute to minute -----------------------------------------------------------------------------------------------------

EVENINGS = """
timezone = "UTC"
[[limit]]
name = "peak"
watts = 0
from = "17:00"
to = "20:00"
"""


class Wall:
    """A clock on the wall that is put forward."""

    def __init__(self, text: str) -> None:
        self.set(text)

    def set(self, text: str) -> None:
        self.now_s = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("UTC")).timestamp()

    def __call__(self) -> float:
        return self.now_s


def test_a_window_opens_and_closes() -> None:
    """From its first second on, and no longer than to its last."""
    owner, wall = policy_from(EVENINGS, RoutingPolicy()), Wall("2026-07-01T16:59:59")
    timetable, seen = Timetable(wall), []
    for clock in ("16:59:59", "17:00:00", "19:59:59.9", "20:00:00", "20:00:30"):
        wall.set(f"2026-07-01T{clock}")
        seen.append([limit.name for limit in timetable.at_present(owner).limits])

    assert [[], ["peak"], ["peak"], [], []] == seen


def test_a_policy_is_the_same_object_until_it_changes() -> None:
    """What others keep by it stays good for hours; without hours it is the owner's own."""
    owner, wall = policy_from(EVENINGS, RoutingPolicy()), Wall("2026-07-01T12:00:00")
    timetable = Timetable(wall)
    first = timetable.at_present(owner)
    wall.set("2026-07-01T13:00:00")

    assert first is timetable.at_present(owner)
    assert PRICED is timetable.at_present(PRICED)


def test_a_file_that_changes_is_heeded_at_once(tmp_path: Path) -> None:
    """Also in the minute whose policy is known already."""
    path, wall = tmp_path / "routing.toml", Wall("2026-07-01T18:00:00")
    path.write_text(EVENINGS)
    rules, timetable = PolicyFile(path, RoutingPolicy()), Timetable(wall)
    before = timetable.at_present(rules.policy)
    path.write_text(EVENINGS.replace("20:00", "18:00"))
    os.utime(path, ns=(1, 1))
    rules.refresh()
    rules.refresh()

    assert (["peak"], []) == (
        [limit.name for limit in before.limits],
        [limit.name for limit in timetable.at_present(rules.policy).limits],
    )

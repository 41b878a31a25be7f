"""The owner's policy at this moment: limits, strategy and prices by the hour; asked for each decision, and worked out once a
minute."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from common.errors import ConfigError
from common.logs import get_logger
from dispatcher.hours import Moment
from dispatcher.routing import RoutingPolicy

log = get_logger("router.timetable")


class Timetable:
    """Keeps the policy of the current minute. `unix_s` is the machine's clock."""

    def __init__(self, unix_s: Callable[[], float]) -> None:
        self._unix_s = unix_s
        self._owner: RoutingPolicy | None = None
        self._minute = -1
        self._now: RoutingPolicy | None = None

    def at_present(self, owner: RoutingPolicy) -> RoutingPolicy:
        """Give the policy as it is now; the same object for as long as nothing changes, since others keep what follows from it."""
        if owner.calendar.empty:
            return owner
        minute = int(self._unix_s() // 60)
        if self._now is None or owner is not self._owner or minute != self._minute:
            found = owner.at(moment_of(minute * 60, owner.calendar.timezone))
            if found != self._now:
                self._now = found
                limits = [limit.name for limit in found.limits]
                log.info("policy.hours", limits=limits, strategy=found.strategy, rate=str(found.rate))
            self._owner, self._minute = owner, minute
        return self._now


def moment_of(unix_s: float, timezone: str) -> Moment:
    """Give the minute of the week in a time zone; in that of the machine where none is named. Raises `ConfigError`."""
    local = (
        datetime.fromtimestamp(unix_s, zone_of(timezone)) if timezone else datetime.fromtimestamp(unix_s).astimezone()
    )
    return Moment(local.weekday(), local.hour * 60 + local.minute)


@cache
def zone_of(name: str) -> ZoneInfo:
    """Give a time zone by its name. Raises `ConfigError` for one that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(no_zone(name, known=bool(available_timezones()))) from error


def no_zone(name: str, *, known: bool) -> str:
    """Say that there is no such time zone; `known` tells whether the machine has any."""
    if known:
        return f"there is no time zone {name!r:.60}: write one as Europe/Berlin"
    return (
        f"the time zone {name!r:.60} is not to be had, since this machine has no time zones at all: install them "
        "(apt install tzdata, or pip install tzdata), or leave timezone out to use the machine's own time"
    )

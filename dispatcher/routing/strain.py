"""How near a device is to failing for heat or for want of power: its coolness, which the health term is multiplied by, and why in
words. A device under strain loses score before it loses jobs; nothing here takes it out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from common.messages import Heartbeat
from common.throttling import Throttle, kind_of

COOL_C, HOT_C = 70.0, 90.0
"""Jetsons and Pis start to throttle at 80 to 97 degrees C; the score falls before that."""

KEPT = {
    Throttle.UNDER_VOLTAGE: 0.25,
    Throttle.THERMAL: 0.5,
    Throttle.OVER_CURRENT: 0.75,
    Throttle.SOFT_LIMIT: 0.8,
    Throttle.FREQUENCY_CAP: 0.85,
}
"""The share of its health that a device keeps, by the gravest reason that it gives; choices, and no measurements. Under-voltage
comes before a reset, which costs all jobs there. Events of over-current come by the thousand on an Orin in its fastest mode, and
hardly slow it; the gentle limits cost speed, which the measured tokens per second show as well."""

KEPT_UNKNOWN = 0.5
"""For a device that is throttled and does not say why, or in words that we don't know."""

NEAR_CAP, KEPT_AT_CAP = 0.9, 0.6
"""From this share of the watts that its power mode allows on, down to what is kept when it draws them all: there the board begins
to cut its clocks."""

MOST_NAMED, MOST_CHARS = 3, 80
"""Reasons that are told, and characters of each: they travel with every answer."""

_WATTS = re.compile(r"(?<![0-9.])(\d{1,4})\s*W(?![a-z])", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Strain:
    """`coolness` is 1 for a device at ease and 0 for one at 90 degrees C; `why` names what lowers it, the gravest first."""

    coolness: float
    why: tuple[str, ...] = ()


EASE = Strain(1.0)


def strain(beat: Heartbeat) -> Strain:
    """Judge by what the last heartbeat says: the product of heat, the gravest reason of throttling, and the room below the cap."""
    parts = [part for part in _parts(beat) if part.coolness < 1.0]
    if not parts:
        return EASE
    coolness = 1.0
    for part in parts:
        coolness *= part.coolness
    gravest = sorted(parts, key=lambda part: part.coolness)
    return Strain(coolness, tuple(why for part in gravest for why in part.why)[:MOST_NAMED])


def _parts(beat: Heartbeat) -> Iterator[Strain]:
    yield _heat(beat.temperature_c)
    yield _throttled(beat)
    yield _cap(beat)


def _heat(celsius: float | None) -> Strain:
    """A device that does not say is taken for cool."""
    if celsius is None:
        return EASE
    return Strain(min(1.0, max(0.0, (HOT_C - celsius) / (HOT_C - COOL_C))), (f"{celsius:.0f} °C",))


def _throttled(beat: Heartbeat) -> Strain:
    """The gravest reason counts; a second one makes it no better, and no worse."""
    if not beat.throttling:
        return Strain(KEPT_UNKNOWN, ("throttled",)) if beat.throttled else EASE
    known = sorted((_kept(text), text) for text in beat.throttling)
    return Strain(known[0][0], tuple(_plain(text) for _, text in known))


def _plain(text: str) -> str:
    """Bound a device's words, and leave nothing in them that a terminal obeys."""
    return "".join(char if char.isprintable() else " " for char in text[:MOST_CHARS])


def _kept(text: str) -> float:
    kind = kind_of(text)
    return KEPT_UNKNOWN if kind is None else KEPT[kind]


def _cap(beat: Heartbeat) -> Strain:
    """How near what it draws is to what its mode allows, where both are known; an estimate is no proof."""
    allowed_w = mode_w(beat.power_mode)
    if not beat.watts_measured or beat.watts is None or not allowed_w:
        return EASE
    over = (beat.watts / allowed_w - NEAR_CAP) / (1.0 - NEAR_CAP)
    if over <= 0.0:
        return EASE
    return Strain(1.0 - (1.0 - KEPT_AT_CAP) * min(1.0, over), (f"draws {beat.watts:.1f} of {allowed_w:.0f} W",))


@lru_cache(maxsize=256)
def mode_w(mode: str | None) -> float | None:
    """Read the watts that a mode is named for, as in `15W` or `MODE_15W_6CORE`; `MAXN` has none."""
    found = _WATTS.search(mode) if mode else None
    return float(found[1]) if found else None

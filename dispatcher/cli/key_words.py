"""Budgets, spans and shares of keys as people write and read them; pure, the present is passed in."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

from common.errors import BadRequest
from common.key_requests import LONGEST_OVERLAP_S, MOST_AMOUNT, Limit
from common.keys import MOST_NAME_CHARS, Budget, Grant, Period, Scope, Unit, parse
from dispatcher.cli import times

_BUDGET = re.compile(r"(\d{1,14}(?:\.\d{1,9})?)\s*([A-Za-z]+)(?:/([A-Za-z]+))?", re.ASCII)
_UNITS = {
    "tokens": (Unit.TOKENS, 1),
    "token": (Unit.TOKENS, 1),
    "ktokens": (Unit.TOKENS, 10**3),
    "mtokens": (Unit.TOKENS, 10**6),
    "usd": (Unit.MONEY, 10**6),
    "j": (Unit.ENERGY, 10**3),
    "kj": (Unit.ENERGY, 10**6),
    "wh": (Unit.ENERGY, 3600 * 10**3),
    "kwh": (Unit.ENERGY, 3600 * 10**6),
}
_PERIODS = {"day": Period.DAY, "month": Period.MONTH, "ever": Period.EVER}
_AHEAD = re.compile(r"(\d{1,5})\s*(min|h|d|w)", re.ASCII)
_UNIT_S = {"min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def budget(text: str) -> Limit:
    """Read a budget: `100000tokens/day`, `5usd/month`, `2kWh/month`, `500J`. Raises `BadRequest`."""
    found = _BUDGET.fullmatch(text.strip())
    unit = _UNITS.get(found[2].lower()) if found else None
    period = _PERIODS.get((found[3] or "ever").lower()) if found else None
    if found is None or unit is None or period is None:
        raise BadRequest(
            f"--budget {text[:60]!r} is no budget: write for example 100000tokens/day, 5usd/month, 2kWh/month or 500J; units are "
            "tokens, usd, J, kJ, Wh and kWh, periods day, month and ever"
        )
    amount = Decimal(found[1]) * unit[1]
    if amount != amount.to_integral_value() or not 1 <= amount <= MOST_AMOUNT:
        raise BadRequest(f"--budget {text[:60]!r} is too small, too large or too fine: {_bounds(unit[0])}")
    return Limit(unit=unit[0], limit=int(amount), period=period)


def _bounds(unit: Unit) -> str:
    match unit:
        case Unit.TOKENS:
            return f"whole tokens, from 1 to {MOST_AMOUNT}"
        case Unit.MONEY:
            return "from 0.000001 to 10000000 usd, with six digits behind the point"
        case Unit.ENERGY:
            return "whole millijoules, from 0.001 J to 2777 kWh"


def budgets(some: list[str]) -> tuple[Limit, ...]:
    """Read several. Raises `BadRequest`, also for two of one unit and period."""
    found = tuple(map(budget, some))
    if len({(one.unit, one.period) for one in found}) < len(found):
        raise BadRequest("--budget is given twice for one unit and period: give one of them")
    return found


def scopes(some: list[str]) -> tuple[Scope, ...]:
    """Read scopes. Raises `BadRequest`."""
    try:
        return tuple(dict.fromkeys(Scope(one) for one in some))
    except ValueError:
        wrong = next(one for one in some if one not in set(Scope))
        raise BadRequest(f"--scope {wrong[:60]!r} is none: there are {', '.join(Scope)}") from None


def expiry(text: str, *, now: datetime) -> float:
    """Read when a key ends: so long from now, as `90d`, or a date. Raises `BadRequest`, also for what is over."""
    if ahead := _AHEAD.fullmatch(text.strip()):
        until = now.timestamp() + int(ahead[1]) * _UNIT_S[ahead[2]]
    else:
        try:
            until = _date(text)
        except BadRequest:
            raise BadRequest(
                f"--expires {text[:60]!r} is no moment: write for example 90d, 12h or 2027-01-31"
            ) from None
    if until <= now.timestamp():
        raise BadRequest(f"--expires {text[:60]!r} is over already: `drover keys revoke` ends a key now")
    return until


def _date(text: str) -> float:
    if not re.match(r"\d{4}-", text.strip()):
        raise BadRequest("no date")
    return times.moment(text, now=datetime.now(UTC), option="--expires")


def overlap_s(text: str) -> float:
    """Read how long a secret that is replaced lives on: `0`, `1h`, `7d`. Raises `BadRequest`."""
    found = _AHEAD.fullmatch(text.strip())
    if found is None and text.strip() != "0":
        raise BadRequest(f"--overlap {text[:60]!r} is no time: write for example 0, 1h or 7d")
    lasts_s = int(found[1]) * _UNIT_S[found[2]] if found else 0.0
    if lasts_s > LONGEST_OVERLAP_S:
        most = f"{LONGEST_OVERLAP_S / _UNIT_S['d']:g}d"
        raise BadRequest(f"--overlap {text[:60]!r} is too long: a secret that is replaced lives on for {most} at most")
    return lasts_s


def which(text: str) -> str:
    """Give what names a key; of one that is written out, as it leaked maybe, its id: the rest goes nowhere. Raises `BadRequest`
    and `Unauthorized`, which quote nothing."""
    if text.startswith(("dr_", "drs_")):
        return parse(text).id
    if not 1 <= len(text) <= MOST_NAME_CHARS or not text.isprintable():
        raise BadRequest(f"a key is named by its id, or its name, of 1 to {MOST_NAME_CHARS} characters")
    return text


def used(one: Budget) -> str:
    """Say what is used of a budget, with what is set aside, and of how much: `1200/100000 tokens/day`."""
    scale, unit = {Unit.TOKENS: (1, "tokens"), Unit.MONEY: (10**6, "usd"), Unit.ENERGY: _energy(one.limit)}[one.unit]
    period = "" if one.period is Period.EVER else f"/{one.period}"
    return f"{_number(one.spent + one.reserved, scale)}/{_number(one.limit, scale)} {unit}{period}"


def _energy(millijoules: int) -> tuple[int, str]:
    if millijoules >= 3600 * 10**6:
        return 3600 * 10**6, "kWh"
    return (3600 * 10**3, "Wh") if millijoules >= 3600 * 10**3 else (10**3, "J")


def _number(amount: int, scale: int) -> str:
    """Write an amount with at most four digits behind the point, and none that tell nothing."""
    if scale == 1:
        return str(amount)
    return f"{amount / scale:.4f}".rstrip("0").rstrip(".")


def state(grant: Grant, *, now: datetime) -> str:
    """Say whether a key may be used."""
    if grant.revoked:
        return "revoked"
    if grant.expires_unix_s is not None and grant.expires_unix_s <= now.timestamp():
        return "expired"
    return "live"


def day(unix_s: float | None, absent: str) -> str:
    """Write a moment for a table, in UTC."""
    return absent if unix_s is None else datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M")

"""Moments as people write them: `24h`, `7d`, `today`, a date; pure, the present is passed in."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from common.errors import BadRequest

_AGO = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(s|min|m|h|d|w)", re.ASCII)
_UNIT_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DAYS_AGO = {"today": 0, "yesterday": 1}


def moment(text: str, *, now: datetime, option: str) -> float:
    """Give the seconds since 1970 that a text means: so long before `now`, the beginning of a day, or a date as ISO 8601 has it.

    What has no zone is of UTC, as the ledger's days are. Raises `BadRequest` that names the option.
    """
    wanted = text.strip()
    if ago := _AGO.fullmatch(wanted):
        return now.timestamp() - float(ago[1]) * _UNIT_S[ago[2]]
    if wanted.lower() == "now":
        return now.timestamp()
    if (days := _DAYS_AGO.get(wanted.lower())) is not None:
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight - timedelta(days=days)).timestamp()
    try:
        found = datetime.fromisoformat(wanted)
    except ValueError:
        raise BadRequest(
            f"{option} {text[:40]!r} is no moment: write for example 24h, 7d, today, 2026-11-20 or 2026-11-20T18:30+01:00"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def span(since: str | None, until: str | None, *, now: datetime) -> tuple[float | None, float | None]:
    """Read both ends of a time; absent is open. Raises `BadRequest`, also where the end comes first."""
    begin = None if since is None else moment(since, now=now, option="--since")
    end = None if until is None else moment(until, now=now, option="--until")
    if begin is not None and end is not None and begin >= end:
        raise BadRequest(f"--since {since} is not before --until {until}")
    return begin, end

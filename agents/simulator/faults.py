"""Faults on demand: which one the next requests meet; it does not know how a fault is acted out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class FaultKind(StrEnum):
    """What can go wrong on request."""

    NONE = "none"
    HANG = "hang"  # loads, then sends no token until the order is replaced, while /api/ps answers on
    CRASH_MID_STREAM = "crash_mid_stream"  # the connection is cut after some tokens
    SLOW = "slow"  # every duration is multiplied
    BUSY_503 = "busy_503"  # refused at once
    WRONG_JSON = "wrong_json"  # a malformed line after some tokens
    ERROR_500 = "error_500"  # the runner dies: a status, or an error line once tokens were sent
    THROTTLE = "throttle"  # the board holds its clocks down: every duration is multiplied, and its sensors say why
    NO_GPU = "no_gpu"  # models run on the CPU in silence: likewise slower, and /api/ps shows it


LASTING = frozenset((FaultKind.THROTTLE, FaultKind.NO_GPU))
"""These befall the device and not some requests."""

SLOWING = LASTING | {FaultKind.SLOW}

_FACTORS = {FaultKind.SLOW: 4.0, FaultKind.THROTTLE: 2.0, FaultKind.NO_GPU: 4.0}
_REASON = "thermal throttling: ordered by a fault"
_MOST_REASONS, _MOST_CHARS = 16, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault order. `times` is how many requests still meet it; None is until cleared. `lifted` tells a request that met it
    when another order, or none, has taken its place. `reasons` are what the sensors of a throttled device say."""

    kind: FaultKind = FaultKind.NONE
    after_tokens: int = 0
    factor: float = 1.0
    times: int | None = None
    reasons: tuple[str, ...] = ()
    lifted: asyncio.Event = field(default_factory=asyncio.Event, compare=False, repr=False)

    def to_wire(self) -> dict[str, Any]:
        """Give the order as the admin surface shows it."""
        return {
            "kind": self.kind.value,
            "after_tokens": self.after_tokens,
            "factor": self.factor,
            "times": self.times,
            "reasons": list(self.reasons),
        }

    @property
    def slowdown(self) -> float:
        """What every duration of a request that meets it is multiplied by."""
        return self.factor if self.kind in SLOWING else 1.0


NO_FAULT = Fault()


class BadFault(ValueError):
    """A fault order that can't be obeyed; the message says which field, what it was, and what would do."""


class FaultBox:
    """Holds the one standing order. Each request takes it once, at its start."""

    def __init__(self) -> None:
        self.standing = NO_FAULT
        self._replaced = asyncio.Event()

    def set(self, fault: Fault) -> None:
        """Replace the standing order; requests that hang by the one before go on."""
        self.standing = fault
        self._replaced.set()
        self._replaced = asyncio.Event()

    def take(self) -> Fault:
        """Give the fault that this request meets, and count it."""
        fault = self.standing
        if fault.times is not None:
            left = fault.times - 1
            self.standing = replace(fault, times=left) if left > 0 else NO_FAULT
        return replace(fault, lifted=self._replaced)


def parse_fault(body: object) -> Fault:
    """Turn a decoded JSON body into an order; raise BadFault."""
    if not isinstance(body, dict):
        raise BadFault('the body must be an object such as {"kind": "hang", "times": 1}')
    unknown = sorted(set(body) - {"kind", "after_tokens", "factor", "times", "reasons"})
    if unknown:
        raise BadFault(f"unknown field {unknown[0]!r}; known are kind, after_tokens, factor, times, reasons")
    kind = _kind(body)
    if kind in LASTING and body.get("times") is not None:
        raise BadFault(f"times is not for {kind.value}, which lasts until it is cleared; got {body['times']!r}")
    times = None if body.get("times") is None else _whole(body, "times", 1)
    factor = _factor(body, kind)
    after = _whole(body, "after_tokens", 0) if "after_tokens" in body else _default_after(kind)
    if kind is FaultKind.NONE:
        return NO_FAULT
    return Fault(kind=kind, after_tokens=after, factor=factor, times=times, reasons=_reasons(body, kind))


def _kind(body: Mapping[str, Any]) -> FaultKind:
    try:
        return FaultKind(str(body.get("kind")))
    except ValueError:
        known = ", ".join(kind.value for kind in FaultKind)
        raise BadFault(f"kind must be one of {known}; got {body.get('kind')!r}") from None


def _whole(body: Mapping[str, Any], field: str, least: int) -> int:
    value = body[field]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadFault(f"{field} must be a whole number of at least {least}; got {value!r}")
    return value


def _factor(body: Mapping[str, Any], kind: FaultKind) -> float:
    value = body.get("factor", _FACTORS.get(kind, 1.0))
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 10_000:
        raise BadFault(f"factor must be a number above 0 and at most 10000; got {value!r}")
    return float(value)


def _reasons(body: Mapping[str, Any], kind: FaultKind) -> tuple[str, ...]:
    value = body.get("reasons", [_REASON] if kind is FaultKind.THROTTLE else [])
    texts = (
        [one for one in value if isinstance(one, str) and 0 < len(one) <= _MOST_CHARS]
        if isinstance(value, list)
        else []
    )
    if not isinstance(value, list) or len(texts) < len(value) or len(value) > _MOST_REASONS:
        raise BadFault(
            f"reasons must be a list of at most {_MOST_REASONS} texts of 1 to {_MOST_CHARS} characters; got {value!r:.200}"
        )
    if texts and kind is not FaultKind.THROTTLE:
        raise BadFault(f"reasons are for throttle alone, not for {kind.value}")
    if kind is FaultKind.THROTTLE and not texts:
        raise BadFault('reasons must name one at least, such as "under-voltage"')
    return tuple(texts)


def _default_after(kind: FaultKind) -> int:
    return 3 if kind in (FaultKind.CRASH_MID_STREAM, FaultKind.WRONG_JSON) else 0

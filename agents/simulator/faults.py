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


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault order. `times` is how many requests still meet it; None is until cleared. `lifted` tells a request that met it
    when another order, or none, has taken its place."""

    kind: FaultKind = FaultKind.NONE
    after_tokens: int = 0
    factor: float = 1.0
    times: int | None = None
    lifted: asyncio.Event = field(default_factory=asyncio.Event, compare=False, repr=False)

    def to_wire(self) -> dict[str, Any]:
        """Give the order as the admin surface shows it."""
        return {
            "kind": self.kind.value,
            "after_tokens": self.after_tokens,
            "factor": self.factor,
            "times": self.times,
        }


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
    unknown = sorted(set(body) - {"kind", "after_tokens", "factor", "times"})
    if unknown:
        raise BadFault(f"unknown field {unknown[0]!r}; known are kind, after_tokens, factor, times")
    kind = _kind(body)
    times = None if body.get("times") is None else _whole(body, "times", 1)
    factor = _factor(body)
    after = _whole(body, "after_tokens", 0) if "after_tokens" in body else _default_after(kind)
    return NO_FAULT if kind is FaultKind.NONE else Fault(kind=kind, after_tokens=after, factor=factor, times=times)


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


def _factor(body: Mapping[str, Any]) -> float:
    value = body.get("factor", 4.0 if body.get("kind") == FaultKind.SLOW else 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 10_000:
        raise BadFault(f"factor must be a number above 0 and at most 10000; got {value!r}")
    return float(value)


def _default_after(kind: FaultKind) -> int:
    return 3 if kind in (FaultKind.CRASH_MID_STREAM, FaultKind.WRONG_JSON) else 0

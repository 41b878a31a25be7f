"""How HTTP says each of our errors: the one place where a typed error becomes a status; it knows no body."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

from common.energy import Energy
from common.errors import (
    CapacityError,
    DeadlineInfeasible,
    FleetError,
    NotPermitted,
    QueueFull,
    QuotaSpent,
    RequestError,
    Stopping,
    TooMany,
)
from dispatcher.bridge.headers import ENERGY_HEADER, JOB_HEADER, energy_text, header_text


class Verdict(NamedTuple):
    """How HTTP says it: the status, and OpenAI's `type`."""

    status: int
    kind: str


GONE = 499
"""Nobody is there any more to read an answer, or somebody else cancelled it: no registered status says that; proxies write this."""

OURS = "server_error"
THEIRS = "invalid_request_error"

STATUSES: Mapping[str, Verdict] = {
    "error": Verdict(500, OURS),
    "request": Verdict(400, THEIRS),
    "bad_request": Verdict(400, THEIRS),
    "too_large": Verdict(413, THEIRS),
    "unknown_model": Verdict(404, THEIRS),
    "unknown_device": Verdict(404, THEIRS),
    "not_allowed": Verdict(403, "permission_error"),
    "unauthorized": Verdict(401, "authentication_error"),
    "too_dear": Verdict(400, THEIRS),
    "unsupported": Verdict(400, THEIRS),
    "context_length_exceeded": Verdict(400, THEIRS),
    "unknown_job": Verdict(404, THEIRS),
    "unknown_key": Verdict(404, THEIRS),
    "unknown_conversation": Verdict(404, THEIRS),
    "conversation_conflict": Verdict(409, THEIRS),
    "unreadable_file": Verdict(400, THEIRS),
    "duplicate_job": Verdict(409, THEIRS),
    "capacity": Verdict(503, OURS),
    "cache": Verdict(503, OURS),
    "no_device": Verdict(503, OURS),
    "queue_full": Verdict(429, "rate_limit_error"),
    "rate_limit": Verdict(429, "rate_limit_error"),
    "quota_spent": Verdict(429, "insufficient_quota"),
    "deadline": Verdict(504, OURS),
    # Not a time-out: it was refused at once, and later, or with more time, the same request may do.
    "deadline_infeasible": Verdict(503, OURS),
    "stopping": Verdict(503, OURS),
    "no_dispatcher": Verdict(503, OURS),
    "attempt": Verdict(502, OURS),
    "busy": Verdict(503, OURS),
    "budget": Verdict(503, OURS),
    "device_lost": Verdict(502, OURS),
    "silent": Verdict(504, OURS),
    "backend": Verdict(502, OURS),
    "not_loadable": Verdict(502, OURS),
    "garbled": Verdict(502, OURS),
    "interrupted": Verdict(502, OURS),
    "cancelled": Verdict(GONE, THEIRS),
    "bus": Verdict(503, OURS),
    "disconnected": Verdict(503, OURS),
    "no_responders": Verdict(503, OURS),
    "not_permitted": Verdict(503, OURS),
    "bus_timeout": Verdict(504, OURS),
    "no_streams": Verdict(503, OURS),
    "stream_conflict": Verdict(409, OURS),
    "stream": Verdict(503, OURS),
    "ledger": Verdict(503, OURS),
    "config": Verdict(500, OURS),
    "labels": Verdict(500, OURS),
    "weights": Verdict(500, OURS),
    "weights_mismatch": Verdict(500, OURS),
    "internal": Verdict(500, OURS),
}


class NothingThere(RequestError):
    """There is nothing at this path."""

    code = "not_found"


class WrongMethod(RequestError):
    """The path does not take this method."""

    code = "method_not_allowed"


class BodyLate(RequestError):
    """The body did not come in time."""

    code = "body_timeout"


class HeadLate(RequestError):
    """The headers did not come in time."""

    code = "head_timeout"


class HeadTooLarge(RequestError):
    """The headers are too large, or too many."""

    code = "headers_too_large"


class Crowded(CapacityError):
    """Too many connections are open."""

    code = "too_many_connections"


class WrongType(RequestError):
    """The body is of a type that is not taken here."""

    code = "unsupported_media_type"


OF_HTTP: Mapping[str, Verdict] = {
    NothingThere.code: Verdict(404, THEIRS),
    WrongMethod.code: Verdict(405, THEIRS),
    BodyLate.code: Verdict(408, THEIRS),
    WrongType.code: Verdict(415, THEIRS),
    HeadLate.code: Verdict(408, THEIRS),
    HeadTooLarge.code: Verdict(431, THEIRS),
    Crowded.code: Verdict(503, OURS),
}
"""What can be wrong with a request before anybody has read it; the fleet knows no such errors."""

_KNOWN: Mapping[str, Verdict] = {**STATUSES, **OF_HTTP}

NEVER_BEGUN = frozenset({Stopping.code, QueueFull.code, DeadlineInfeasible.code, TooMany.code})

MOST_RETRY_AFTER_S = 120
"""The openai package does not come again at all for a longer wait; who needs the whole truth reads the message."""


def verdict(error: FleetError) -> Verdict:
    """The status of an error; of its nearest known ancestor, if the code is newer than this table."""
    codes = (getattr(cls, "code", "") for cls in type(error).__mro__)
    return next((_KNOWN[code] for code in codes if code in _KNOWN), STATUSES["error"])


def _hopeless(error: FleetError) -> bool:
    """Tell whether a budget has nothing for this request in the time in which clients come again by themselves, or ever; or the
    bridge has no right to what is asked."""
    if isinstance(error, NotPermitted):
        return True
    wait_s = error.retry_after_s
    return isinstance(error, QuotaSpent) and (wait_s is None or wait_s > MOST_RETRY_AFTER_S)


def headers_of(error: FleetError, *, job: str | None, accepted: bool, taken: Energy | None) -> dict[str, str]:
    """Give the headers of an answer that is an error.

    Once the fleet had accepted the job, clients are told not to send it again by themselves: it may have run. A dispatcher
    that stops gives its jobs up, and another one is glad to take them; what the line refuses was never begun. Nor need they come
    again for a budget that is spent for long.
    """
    status, _ = verdict(error)
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(min(MOST_RETRY_AFTER_S, max(1, math.ceil(error.retry_after_s))))
    if (accepted and error.code not in NEVER_BEGUN) or status == HTTPStatus.CONFLICT or _hopeless(error):
        headers["x-should-retry"] = "false"
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    if job is not None:
        headers[JOB_HEADER] = header_text(job)
    if taken is not None:
        headers[ENERGY_HEADER] = header_text(energy_text(taken))
    return headers

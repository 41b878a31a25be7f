"""JetStream on the wire: what is asked of it and how its answers are read, as pure functions; it knows no bus.

ADR-1, ADR-8, ADR-13, ADR-15 and ADR-31 say how.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from common import codec
from common.bus import KEPT_HEADER, Delivery
from common.bus.streams import ConsumerSpec, Kept, StreamSpec
from common.errors import BadRequest, FleetError, QueueFull, StreamConflict, StreamError, StreamsUnavailable

API = "$JS.API"
NS = 1_000_000_000

_WRONG_LAST = 10071
IN_USE = 10058
NOT_FOUND = frozenset({10037, 10043})
"""Error codes of the server: a stream of that name with other settings is there; no such message."""

_NO_STREAMS = frozenset({10039, 10076})
_FULL = "maximum"
"""Stands in what a full stream says (10077): `maximum messages exceeded`, `maximum bytes exceeded`."""
_NO_ROOM = frozenset({10023})

_REFUSALS: Mapping[int, type[FleetError]] = {
    _WRONG_LAST: StreamConflict,
    **dict.fromkeys(_NO_STREAMS, StreamsUnavailable),
    **dict.fromkeys(_NO_ROOM, QueueFull),
}

_OURS = frozenset(
    {"Nats-Stream", "Nats-Subject", KEPT_HEADER, "Nats-Time-Stamp", "Nats-Last-Sequence", "Status", "Description"}
)
"""What the server says of a message that it gives, or may say instead of one."""


def stream_config(spec: StreamSpec) -> dict[str, Any]:
    """Write a stream as the server wants it."""
    return {
        "name": spec.name,
        "subjects": list(spec.subjects),
        "retention": str(spec.retention),
        "storage": "memory" if spec.in_memory else "file",
        "discard": "old" if spec.drop_oldest else "new",
        "max_msgs": spec.max_messages or -1,
        "max_bytes": spec.max_bytes or -1,
        "max_age": int(spec.max_age_s * NS),
        "max_msgs_per_subject": spec.max_per_subject or -1,
        "max_msg_size": -1,
        "max_consumers": -1,
        "duplicate_window": int(_window_s(spec) * NS),
        "num_replicas": 1,
        "allow_direct": True,
        "allow_rollup_hdrs": spec.name.startswith("KV_"),
    }


def consumer_config(spec: ConsumerSpec) -> dict[str, Any]:
    """Write a consumer as the server wants it."""
    return {
        "durable_name": spec.name,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": int(spec.ack_wait_s * NS),
        "max_deliver": spec.max_deliver,
        "max_ack_pending": spec.max_ack_pending,
        "filter_subject": spec.subject,
        "replay_policy": "instant",
    }


def _window_s(spec: StreamSpec) -> float:
    """A window longer than the age is refused by the server."""
    return min(spec.duplicate_window_s, spec.max_age_s) if spec.max_age_s else spec.duplicate_window_s


def read_answer(delivery: Delivery, doing: str) -> dict[str, Any]:
    """Read what the server answered. Raises the typed error that it holds."""
    try:
        body = codec.decode(delivery.data)
    except BadRequest as error:
        raise StreamError(f"{doing}: the answer is no object: let nobody else reply there") from error
    fault = body.get("error")
    if isinstance(fault, dict):
        raise _refusal(fault, doing)
    return body


def _refusal(fault: Mapping[str, Any], doing: str) -> FleetError:
    code, said = int(fault.get("err_code", 0)), str(fault.get("description", ""))
    cls = QueueFull if _FULL in said and "exceeded" in said else _REFUSALS.get(code, StreamError)
    way_out = ": try again later, or raise its limits" if cls is QueueFull else ""
    return cls(f"{doing} failed: {said or code}{way_out}", err_code=code)


def read_kept(answer: Delivery) -> Kept:
    """Read a message that a stream gives."""
    headers = answer.headers
    return Kept(
        subject=headers["Nats-Subject"],
        data=answer.data,
        seq=int(headers[KEPT_HEADER]),
        stored_unix_s=_unix_s(headers["Nats-Time-Stamp"]),
        headers={name: value for name, value in headers.items() if name not in _OURS},
    )


_FRACTION = re.compile(r"\.(\d{1,9})")


def _unix_s(stamp: str) -> float:
    """Read RFC 3339 with nanoseconds, of which Python takes six digits."""
    return datetime.fromisoformat(_FRACTION.sub(lambda found: f".{found[1][:6]:0<6}", stamp)).timestamp()


def ack_tokens(reply: str) -> tuple[int, int, int, int, int]:
    """Give deliveries, stream sequence, consumer sequence, time of storing in ns, and how many are pending."""
    tokens = reply.split(".")
    # $JS.ACK.<stream>.<consumer>.a.b.c.d.e, or $JS.ACK.<domain>.<account>.<stream>.<consumer>.a.b.c.d.e[.<random>]
    start = 4 if len(tokens) == 9 else 6
    a, b, c, d, e = (int(token) for token in tokens[start : start + 5])
    return a, b, c, d, e

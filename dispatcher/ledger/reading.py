"""From a message of the stream to an entry, or to why it is none; pure."""

from __future__ import annotations

from typing import Any

from common import codec
from common.bus.streams import Kept
from common.errors import BadRequest
from common.records import DEVICE, JOB, POWER, DeviceEntry, Entry, JobEntry, PowerEntry
from common.subjects import Subjects
from dispatcher.ledger.store import Came, Read, Rejected

MOST_BYTES = 256 * 1024
"""Ten times what the largest honest record has."""

_NULS = (b"\0", b"\\u0000")
"""A text has the character only where its bytes have one of these: MessagePack the first, JSON the second."""


def read(kept: Kept, subjects: Subjects) -> Came:
    """Read a message. What it says of its tenant or device must be what its subject says: permissions stand on that."""
    if len(kept.data) > MOST_BYTES:
        return Rejected(kept, f"it has {len(kept.data)} bytes: at most {MOST_BYTES} are taken")
    what, name = subjects.tokens(kept.subject)[1:]
    try:
        wire = codec.decode(kept.data)
        entry, named = _entry(what, wire)
    except BadRequest as error:
        return Rejected(kept, error.message)
    if named != name:
        return Rejected(kept, f"it is of {named!r}, and its subject of {name!r}")
    if any(nul in kept.data for nul in _NULS) and _has_nul(wire):
        return Rejected(kept, "a text has the character NUL, which PostgreSQL can't keep")
    return Read(kept, entry)


def _entry(what: str, wire: dict[str, Any]) -> tuple[Entry, str]:
    match what:
        case "job":
            job = codec.build(JobEntry, wire)
            return job, job.tenant
        case "device":
            device = codec.build(DeviceEntry, wire)
            return device, device.device
        case "power":
            power = codec.build(PowerEntry, wire)
            return power, power.device
    raise BadRequest(f"{what!r} is no kind of record: {JOB}, {DEVICE} and {POWER} are")


def _has_nul(value: Any) -> bool:
    """Tell whether any text in it has one."""
    match value:
        case str():
            return "\0" in value
        case bytes():  # taken for a text
            return 0 in value
        case dict():
            return any(_has_nul(key) or _has_nul(part) for key, part in value.items())
        case list():
            return any(map(_has_nul, value))
    return False

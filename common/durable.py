"""Jobs that survive every process, as they travel and lie in streams; it knows neither who runs nor who sends them.

A job lies in the queue until a dispatcher has stored its result. What happens to it is told by notes on a subject of its own,
in a second stream: any number of them, and one final. What can't be answered goes to a third, with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ulid import ULID

from common import codec
from common.bus.streams import Kept
from common.errors import BadRequest, FleetError, from_wire
from common.messages import Count, Document, Number, Token
from common.subjects import Subjects, as_token, is_token

JOB_HEADER = "Nx-Job"
RETRY_HEADER = "Nx-Retry"
"""Number of the dead letter that a job was taken from again: its result is another one than that of its life before."""


class Stage(StrEnum):
    """How far a durable job is."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({Stage.DONE, Stage.FAILED, Stage.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What happened to a job. `tries` numbers its tries by dispatchers, `attempt` the deliveries to devices in this one.

    A final note has the `answer`, as a live request gets it in one piece, or the `error`.
    """

    job: Token
    tenant: Token
    state: Stage
    at_unix_s: Number
    tries: Count = 0
    attempt: Count | None = None
    device: str | None = None
    model: str | None = None
    reason: str | None = None
    position: Count | None = None
    again_s: Number | None = None
    answer: Document | None = None
    error: Document | None = None
    fingerprint: str | None = None
    """Names what was asked: another request under the same id is refused for as long as this is kept."""

    @property
    def final(self) -> bool:
        return self.state in FINAL

    @property
    def failure(self) -> FleetError | None:
        """The typed error of a note that has one."""
        return None if self.error is None else from_wire(self.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A job that could not be answered, and why. `payload` is what its producer sent, if that was an object, else `raw` in hex.

    One too large for a letter is in `raw` too, object or not, without its last `cut_bytes`.
    """

    job: Token
    tenant: Token
    priority: str
    reason: Token
    tries: Count
    submitted_unix_s: Number
    at_unix_s: Number
    seq: Count
    error: Document | None = None
    payload: Document | None = None
    raw: str | None = None
    cut_bytes: Count = 0


def encode_note(note: Note) -> bytes:
    """Write a note: JSON, since people read it."""
    return codec.encode(codec.plain(note))


def read_note(kept: Kept) -> Note:
    """Read a note. Raises `BadRequest`, also for one of another job than its subject names: a producer may have the stream's answer
    about a job of its own stored under any subject, and the answer says whose it is."""
    note = codec.build(Note, codec.decode(kept.data))
    if not kept.subject.endswith(f".{note.tenant}.{note.job}"):
        raise BadRequest(f"what lies under {kept.subject} is a note of job {note.job} of {note.tenant}")
    return note


def read_letter(kept: Kept) -> Letter:
    """Read a dead letter. Raises `BadRequest`."""
    return codec.build(Letter, codec.decode(kept.data))


@dataclass(frozen=True, slots=True)
class Names:
    """The streams of one fleet; those of a fleet with another prefix have other names."""

    root: str = "LLM"

    @classmethod
    def below(cls, subjects: Subjects) -> Names:
        """Give the names for a prefix."""
        if subjects.prefix == Subjects().prefix:
            return cls()
        return cls(subjects.prefix.replace(".", "_").upper())

    @property
    def jobs(self) -> str:
        return f"{self.root}_JOBS"

    @property
    def results(self) -> str:
        return f"{self.root}_RESULTS"

    @property
    def dead(self) -> str:
        return f"{self.root}_DLQ"

    @property
    def advisories(self) -> str:
        return f"{self.root}_ADVISORIES"

    @property
    def answers(self) -> str:
        return f"{self.root}_ANSWERS"

    @property
    def records(self) -> str:
        return f"{self.root}_RECORDS"

    @property
    def claims(self) -> str:
        return f"{self.root}_CLAIMS"


def message_id(tenant: str, job: str) -> str:
    """The id under which a submission is stored once; two tenants may use the same job ids."""
    return f"{tenant}.{job}"


def final_id(tenant: str, job: str, retry: str = "") -> str:
    """The id under which a result is stored once, in each life of the job."""
    return f"{tenant}.{job}-final" + (f"-{retry}" if retry else "")


def dead_id(tenant: str, job: str, retry: str = "") -> str:
    """The id under which a dead letter is stored once, in each life of the job."""
    return f"{tenant}.{job}-dead" + (f"-{retry}" if retry else "")


def job_id(kept: Kept, named: str | None) -> str:
    """Give the job's id, the same at each delivery.

    1. The field `job` of the body. 2. The header `Nx-Job`. 3. The id under which it was stored once. 4. None was given: time and
    number of the message in the stream.
    """
    for given in (named, kept.headers.get(JOB_HEADER), kept.headers.get("Nats-Msg-Id")):  # 1, 2, 3
        if given:
            return _token(given)
    stamp = int(kept.stored_unix_s * 1000).to_bytes(6) + kept.seq.to_bytes(10)
    return str(ULID.from_bytes(stamp))  # 4


def job_id_of(kept: Kept) -> str:
    """Give the id of a job whose body was not read yet."""
    return job_id(kept, named(body(kept)))


def body(kept: Kept) -> Mapping[str, Any] | None:
    """Read what a producer sent; None when it is no object."""
    try:
        return codec.decode_request(kept.data)
    except BadRequest:
        return None


def named(wire: Mapping[str, Any] | None) -> str | None:
    """Give the id that a producer wrote into the body; one that can't be a name is none."""
    job = wire.get("job") if wire else None
    return job if isinstance(job, str) and is_token(job) else None


def _token(given: str) -> str:
    if is_token(given):
        return given
    return f"{as_token(given)[:40]}-{hashlib.sha256(given.encode()).hexdigest()[:16]}"

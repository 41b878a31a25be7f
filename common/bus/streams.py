"""Streams that survive their readers: what Drover needs of JetStream, as values and two small protocols; it knows no vendor.

Nothing here is newer than nats-server 2.9: that server ignores what it does not know (`filter_subjects`, per-message TTL),
two of them dangerously, and a newer one in strict mode refuses what it does not know. So only what both know is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from common.bus import Delivery


class Retention(StrEnum):
    """When a message leaves its stream."""

    LIMITS = "limits"  # by age and size alone
    WORK_QUEUE = "workqueue"  # when it is acknowledged


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """A stream as it should be. A full one refuses what is new; 0 means no limit."""

    name: str
    subjects: tuple[str, ...]
    retention: Retention = Retention.LIMITS
    in_memory: bool = False
    max_messages: int = 0
    max_bytes: int = 0
    max_age_s: float = 0.0
    max_per_subject: int = 0
    duplicate_window_s: float = 120.0
    drop_oldest: bool = False
    """Make room by forgetting the oldest message, instead of refusing the new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSpec:
    """A standing reader of a stream, shared by all who pull from it; each message is acknowledged by itself."""

    stream: str
    name: str
    subject: str
    ack_wait_s: float
    max_deliver: int
    max_ack_pending: int = 10_000


@dataclass(frozen=True, slots=True)
class Stored:
    """What the server says of a message that it has stored. `duplicate` tells that it had it already, under `seq`."""

    seq: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A message as it lies in a stream."""

    subject: str
    data: bytes
    seq: int
    stored_unix_s: float
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamState:
    """How full a stream is."""

    messages: int
    size_bytes: int
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Up to which number a consumer has delivered each message at least once, and up to which all are settled for it; `pending` are
    those that it has not delivered yet."""

    delivered: int
    settled: int
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A value in a bucket, and its revision."""

    value: bytes
    revision: int


class Pulled(Protocol):
    """A message that was pulled, and is this reader's until `ack_wait` after its last sign of life."""

    @property
    def kept(self) -> Kept: ...

    @property
    def deliveries(self) -> int:
        """How often it was delivered, this time included."""
        ...

    async def ack(self, *, sync: bool = False) -> None:
        """It is done; with `sync` return when the server knows. Raises `BusError`."""
        ...

    async def nak(self, delay_s: float = 0.0) -> None:
        """Let it be delivered again, after `delay_s`."""
        ...

    async def term(self) -> None:
        """Let it never be delivered again; return when the server knows."""
        ...

    async def in_progress(self) -> None:
        """Say that it is still being worked on: `ack_wait` begins anew."""
        ...


class Puller(Protocol):
    """One reader's end of a consumer."""

    async def fetch(self, batch: int, *, wait_s: float = 0.0) -> Sequence[Pulled]:
        """Give up to `batch` messages: what is there, or the first that come within `wait_s`; none is no error.

        What arrives after the end of a cancelled fetch is given by the next one, so that it may give more than `batch`.
        Raises `BusError`.
        """
        ...


class Bucket(Protocol):
    """Keys with values, changed by compare-and-set. A key is made of subject tokens."""

    async def create(self, key: str, value: bytes) -> int:
        """Set what is not there, and give its revision. Raises `StreamConflict` when it is."""
        ...

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Set what is at `revision`, and give the new one. Raises `StreamConflict` when it is not."""
        ...

    async def offer(self, key: str, value: bytes, *, reply: str) -> None:
        """Send what is to be set if it is not there, and don't wait: the server's word comes to `reply`, for `offered` to read.

        What is published behind it on the same connection reaches nobody before the server has the offer.
        """
        ...

    def offered(self, word: Delivery) -> int:
        """Read the server's word on an offer, and give the revision. Raises `StreamConflict` when the key was there,
        `StreamsUnavailable` when nobody stores it, `QueueFull` and other `StreamError`s."""
        ...

    async def get(self, key: str) -> Entry | None: ...

    async def delete(self, revision: int) -> bool:
        """Forget what is at `revision`, for good and without a marker; False when it has changed since."""
        ...


class Streams(Protocol):
    """Streams on one server. All methods raise `StreamsUnavailable` where the server has none, and `BusError`."""

    async def declare(self, spec: StreamSpec) -> None:
        """Have the stream be there as it should be; nothing happens when it is."""
        ...

    async def declare_consumer(self, spec: ConsumerSpec) -> None:
        """Have the consumer be there as it should be."""
        ...

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        msg_id: str = "",
        expected_last: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Stored:
        """Store a message; on return the server has it.

        The same `msg_id` within the stream's window is stored once. With `expected_last` the newest message of the subject must
        have that number (0: there is none), or `StreamConflict` is raised. Raises `QueueFull` when the stream is full.
        """
        ...

    async def last(self, stream: str, subject: str) -> Kept | None:
        """Give the newest message of a subject."""
        ...

    async def next(self, stream: str, subject: str, from_seq: int) -> Kept | None:
        """Give the first message of a subject (wildcards allowed) at `from_seq` or later."""
        ...

    async def delete(self, stream: str, seq: int) -> bool:
        """Take a message out; False when it is not there.

        Never one that a work queue has not delivered yet: nats-server 2.9.10 then counts one too few as pending, and never
        delivers the last message.
        """
        ...

    async def purge(self, stream: str, subject: str) -> int:
        """Take out all messages of a subject; gives their number."""
        ...

    async def state(self, stream: str) -> StreamState:
        """Say how full a stream is. Raises `StreamError` when there is none of that name."""
        ...

    async def progress(self, stream: str, consumer: str) -> Progress:
        """Say how far a consumer is."""
        ...

    def puller(self, stream: str, consumer: str) -> AbstractAsyncContextManager[Puller]:
        """Read from a consumer, across reconnects."""
        ...

    def bucket(self, name: str) -> Bucket:
        """Give a bucket; its stream is `bucket_spec(name)`."""
        ...


def bucket_spec(name: str, *, max_age_s: float, in_memory: bool) -> StreamSpec:
    """Give the stream behind a bucket, as other NATS clients know it; what nobody sets anew is forgotten after `max_age_s`."""
    return StreamSpec(
        name=f"KV_{name}",
        subjects=(f"$KV.{name}.>",),
        in_memory=in_memory,
        max_age_s=max_age_s,
        max_per_subject=1,
    )

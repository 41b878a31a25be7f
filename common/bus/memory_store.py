"""One stream of a `MemoryStreams` server: its messages, and what it refuses; it knows no wire, no reader and no clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from common.bus.memory import matches
from common.bus.streams import Kept

ID_HEADER = "Nats-Msg-Id"
LAST_HEADER = "Nats-Expected-Last-Subject-Sequence"

_FRAME_BYTES = 30
"""What the file store of a server adds to each message; headers take four more."""


class Refusal(Exception):
    """What the server says instead of doing it."""

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(description)
        self.wire = {"code": code, "err_code": err_code, "description": description}


@dataclass(frozen=True, slots=True)
class Limits:
    """A stream's config, as far as it decides anything; 0 and less mean no limit."""

    messages: int
    size_bytes: int
    age_s: float
    per_subject: int
    window_s: float
    drop_oldest: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Limits:
        """Read what a client has declared."""
        return cls(
            messages=int(config.get("max_msgs", -1)),
            size_bytes=int(config.get("max_bytes", -1)),
            age_s=int(config.get("max_age", 0)) / 1e9,
            per_subject=int(config.get("max_msgs_per_subject", -1)),
            window_s=int(config.get("duplicate_window", 0)) / 1e9,
            drop_oldest=config.get("discard", "old") == "old",
        )


@dataclass(slots=True)
class MemoryStream:
    """The messages of one stream, by their numbers."""

    name: str
    config: dict[str, Any]
    last_seq: int = 0
    size_bytes: int = 0
    messages: dict[int, Kept] = field(default_factory=dict)
    _first: int = 1
    _by_subject: dict[str, list[int]] = field(default_factory=dict)
    _ids: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def subjects(self) -> list[list[str]]:
        return [subject.split(".") for subject in self.config["subjects"]]

    @property
    def work_queue(self) -> bool:
        return bool(self.config.get("retention") == "workqueue")

    @property
    def limits(self) -> Limits:
        return Limits.of(self.config)

    @property
    def first_seq(self) -> int:
        """The number of the oldest message; of an empty stream, the one that the next will have."""
        while self._first <= self.last_seq and self._first not in self.messages:
            self._first += 1
        return self._first

    def store(self, subject: str, data: bytes, headers: Mapping[str, str], now_s: float) -> tuple[int, bool]:
        """Keep a message; gives its number, and whether it was there already. Raises `Refusal`.

        In the order of the server: 1. an id that is known makes it a duplicate, whatever else it expects; 2. compare-and-set;
        3. a stream that is full refuses, or forgets its oldest.
        """
        self.expire(now_s)
        msg_id = headers.get(ID_HEADER, "")
        if msg_id and msg_id in self._ids:  # 1
            return self._ids[msg_id][0], True
        if LAST_HEADER in headers:  # 2
            last = self._by_subject.get(subject, [0])[-1]
            if int(headers[LAST_HEADER]) != last:
                raise Refusal(400, 10071, f"wrong last sequence: {last}")
        limits, size = self.limits, _size_bytes(subject, data, headers)
        if not limits.drop_oldest:  # 3
            self._require_room(limits, subject, len(data) + _header_bytes(headers))
        self.last_seq += 1
        self.messages[self.last_seq] = Kept(
            subject=subject, data=data, seq=self.last_seq, stored_unix_s=int(now_s * 1e6) / 1e6, headers=dict(headers)
        )
        self._by_subject.setdefault(subject, []).append(self.last_seq)
        self.size_bytes += size
        if msg_id:
            self._ids[msg_id] = (self.last_seq, now_s)
        return self.last_seq, False

    def _require_room(self, limits: Limits, subject: str, size: int) -> None:
        """Raise `Refusal` when a new message has no place, and does not take that of an older one of its subject."""
        if 0 < limits.per_subject <= len(self._by_subject.get(subject, ())):
            return
        if 0 < limits.messages <= len(self.messages):
            raise Refusal(503, 10077, "maximum messages exceeded")
        if 0 < limits.size_bytes <= self.size_bytes + size:
            raise Refusal(503, 10077, "maximum bytes exceeded")

    def surplus(self, subject: str) -> Iterator[int]:
        """Give the numbers of what has to go, now that a message of this subject was stored."""
        limits = self.limits
        mine = self._by_subject.get(subject, [])
        while 0 < limits.per_subject < len(mine):
            yield mine[0]
        while 0 < limits.messages < len(self.messages) or 0 < limits.size_bytes < self.size_bytes:
            yield self.first_seq

    def remove(self, seq: int) -> Kept | None:
        """Take a message out; None when it is not there. Its id stays known."""
        kept = self.messages.pop(seq, None)
        if kept is None:
            return None
        mine = self._by_subject[kept.subject]
        mine.remove(seq)
        if not mine:
            del self._by_subject[kept.subject]
        self.size_bytes -= _size_bytes(kept.subject, kept.data, kept.headers)
        return kept

    def expire(self, now_s: float) -> None:
        """Forget what is too old: messages, and ids. It is done when somebody looks, and seen by nobody before."""
        limits = self.limits
        while limits.age_s and self.messages and self.messages[self.first_seq].stored_unix_s <= now_s - limits.age_s:
            self.remove(self.first_seq)
        while self._ids:
            oldest = next(iter(self._ids))
            if self._ids[oldest][1] > now_s - limits.window_s:
                break
            del self._ids[oldest]

    def last(self, subject: str) -> Kept | None:
        """Give the newest message of a subject."""
        if subject in self._by_subject:
            return self.messages[self._by_subject[subject][-1]]
        pattern = subject.split(".")
        found = [seqs[-1] for name, seqs in self._by_subject.items() if matches(pattern, name.split("."))]
        return self.messages[max(found)] if found else None

    def next(self, subject: str, from_seq: int) -> Kept | None:
        """Give the first message of a subject at a number or behind it."""
        return next(self.after(subject, from_seq), None)

    def after(self, subject: str, from_seq: int) -> Iterator[Kept]:
        """Give all of them, the oldest first."""
        pattern = subject.split(".")
        for seq in range(max(from_seq, self.first_seq), self.last_seq + 1):
            kept = self.messages.get(seq)
            if kept is not None and matches(pattern, kept.subject.split(".")):
                yield kept

    def restarted(self, now_s: float) -> None:
        """Remember what a server finds on its disk: the ids of messages that are gone are none of it."""
        self._ids = {
            kept.headers[ID_HEADER]: (kept.seq, kept.stored_unix_s)
            for kept in self.messages.values()
            if ID_HEADER in kept.headers
        }
        self.expire(now_s)

    def update(self, config: Mapping[str, Any]) -> None:
        """Take another config."""
        self.config = dict(config)


def shown(kept: Kept, stream: str, stamp: str) -> Kept:
    """Give a message as the server does that is asked for it: what it says of it replaces what the sender has said."""
    said = {
        "Nats-Stream": stream,
        "Nats-Subject": kept.subject,
        "Nats-Sequence": str(kept.seq),
        "Nats-Time-Stamp": stamp,
    }
    return replace(kept, headers={**kept.headers, **said})


def _header_bytes(headers: Mapping[str, str]) -> int:
    if not headers:
        return 0
    return len("NATS/1.0\r\n\r\n") + sum(
        len(name.encode()) + len(value.encode()) + 4 for name, value in headers.items()
    )


def _size_bytes(subject: str, data: bytes, headers: Mapping[str, str]) -> int:
    return _FRAME_BYTES + len(subject) + len(data) + (4 + _header_bytes(headers) if headers else 0)

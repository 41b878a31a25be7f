"""One consumer of a `MemoryStreams` server: what it has delivered, what comes again and when; it knows no wire.

It does as nats-server 2.9.10, traps included: what was delivered as often as it may be stays in the stream, and a message that is
deleted before it was delivered costs the last one its delivery.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from common.bus.memory import matches
from common.bus.memory_store import MemoryStream
from common.bus.streams import Kept


@dataclass(slots=True, eq=False)
class Wanting:
    """A request for messages that is not over yet. `ends_s` None: it is over when nothing is there any more."""

    reply: str
    batch: int
    ends_s: float | None
    given: int = 0


@dataclass(slots=True)
class MemoryReader:
    """The state of one consumer. `exceeded` is called once for a message that has had all its deliveries, with their number."""

    stream: MemoryStream
    name: str
    config: dict[str, Any]
    exceeded: Callable[[MemoryReader, int, int], None]
    next_seq: int = 1
    delivered: int = 0
    """Deliveries in all."""
    pending: dict[int, float] = field(default_factory=dict)
    """Of messages that were delivered and not settled, when they come again."""
    again: list[int] = field(default_factory=list)
    """Those whose time has come."""
    counts: dict[int, int] = field(default_factory=dict)
    """How often messages were delivered, the first time not counted."""
    starved: set[int] = field(default_factory=set)
    wanting: list[Wanting] = field(default_factory=list)

    @property
    def subject(self) -> str:
        return str(self.config.get("filter_subject") or ">")

    @property
    def ack_wait_s(self) -> float:
        return int(self.config["ack_wait"]) / 1e9

    @property
    def settled(self) -> int:
        return min(self.pending) - 1 if self.pending else self.next_seq - 1

    def waiting(self) -> int:
        """Count what could be delivered now, as the server counts it: with what is never delivered."""
        return len(self.again) + sum(1 for _ in self.stream.after(self.subject, self.next_seq))

    def due(self, now_s: float) -> None:
        """Line up what nobody has given a sign of life for."""
        for seq in sorted(seq for seq, at_s in self.pending.items() if at_s <= now_s):
            if seq not in self.again:
                self.again.append(seq)
                self.pending[seq] = now_s + self.ack_wait_s

    def next_due_s(self) -> float | None:
        """Say when `due` has to be called next."""
        times = [at_s for seq, at_s in self.pending.items() if seq not in self.again]
        return min(times) if times else None

    def take(self, now_s: float) -> tuple[Kept, int] | None:
        """Deliver one, and say how often it has come: 1. what comes again, unless that was too often, 2. the next new one."""
        while self.again:  # 1
            seq = self.again.pop(0)
            self.counts[seq] = self.counts.get(seq, 0) + 1
            deliveries, most = self.counts[seq] + 1, int(self.config.get("max_deliver", -1))
            if 0 < most < deliveries:
                self.pending.pop(seq, None)
                if deliveries == most + 1:
                    self.exceeded(self, seq, most)
                continue
            found = self.stream.messages.get(seq)
            if found is not None:
                return self._given(found, now_s), deliveries
            self.pending.pop(seq, None)
        if len(self.pending) >= int(self.config.get("max_ack_pending", 1000)) > 0:
            return None
        kept = self._new()  # 2
        return None if kept is None else (self._given(kept, now_s), 1)

    def _new(self) -> Kept | None:
        """Go on to the next new message, over those that are none of its or are never delivered."""
        starved = False
        for kept in self.stream.after(self.subject, self.next_seq):
            if kept.seq in self.starved:
                starved = True
                continue
            self.next_seq = kept.seq + 1
            return kept
        if not starved:
            self.next_seq = max(self.next_seq, self.stream.last_seq + 1)
        return None

    def _given(self, kept: Kept, now_s: float) -> Kept:
        self.delivered += 1
        self.pending[kept.seq] = now_s + self.ack_wait_s
        return kept

    def settle(self, seq: int) -> None:
        """Have a message never come again."""
        self.pending.pop(seq, None)
        self.counts.pop(seq, None)
        if seq in self.again:
            self.again.remove(seq)

    def hand_back(self, seq: int, now_s: float, delay_s: float) -> None:
        """Have a message come again, now or after a while; one that is settled does not."""
        if seq not in self.pending:
            return
        if delay_s > 0:
            self.pending[seq] = now_s + delay_s
        elif seq not in self.again:
            self.again.append(seq)

    def progress(self, seq: int, now_s: float) -> None:
        """Begin its wait anew; nothing takes one back that was lined up to come again."""
        if seq in self.pending:
            self.pending[seq] = now_s + self.ack_wait_s

    def lost(self, kept: Kept) -> None:
        """A client has had a message deleted. Of one that was not delivered yet the server counts one too many, and passes over
        the last that waits."""
        if kept.seq < self.next_seq:
            self.settle(kept.seq)
            return
        if not matches(self.subject.split("."), kept.subject.split(".")):
            return
        waiting = [kept.seq for kept in self.stream.after(self.subject, self.next_seq) if kept.seq not in self.starved]
        if waiting:
            self.starved.add(waiting[-1])

    def crashed(self, *, forgets: bool) -> None:
        """Begin anew with what lies on the disk: requests are gone, and maybe also what was delivered and not settled."""
        self.wanting.clear()
        if forgets:
            self.pending.clear()
            self.again.clear()
            self.counts.clear()

"""Many answer streams over one subscription."""

from __future__ import annotations

import pytest

from common.bus import Delivery
from common.bus.memory import MemoryBroker, connect_memory
from common.bus.mux import ReplyMux, reply_mux
from common.errors import NoResponders

Heard = list[tuple[int, bytes]]


def test_slots_and_attempts() -> None:
    """A message reaches the slot that its subject names, with the number of the attempt."""
    mux, first, second = ReplyMux("_INBOX_disp.d1"), Heard(), Heard()
    with (
        mux.slot(lambda attempt, delivery: first.append((attempt, delivery.data))) as one,
        mux.slot(lambda attempt, delivery: second.append((attempt, delivery.data))) as two,
    ):
        mux.deliver(Delivery(one(1), b"a"))
        mux.deliver(Delivery(two(12), b"b"))
        mux.deliver(Delivery(one(2), b"c"))

    assert (first, second, mux.strays) == ([(1, b"a"), (2, b"c")], [(12, b"b")], 0)


def test_closed_slot() -> None:
    """After its slot is closed a late frame is counted, and reaches nobody: no later slot has the same subject."""
    mux, first, second = ReplyMux("r"), Heard(), Heard()
    with mux.slot(lambda attempt, delivery: first.append((attempt, delivery.data))) as one:
        late = one(1)
    with mux.slot(lambda attempt, delivery: second.append((attempt, delivery.data))) as two:
        mux.deliver(Delivery(late, b"late"))

        assert (two(1) != late, first, second, mux.strays) == (True, [], [], 1)


def test_slot_closes_on_error() -> None:
    """A slot is closed also when its user fails."""
    mux = ReplyMux("r")
    with pytest.raises(ZeroDivisionError), mux.slot(lambda _attempt, _delivery: None) as subject_of:
        raise ZeroDivisionError
    mux.deliver(Delivery(subject_of(1), b""))

    assert mux.strays == 1


@pytest.mark.parametrize(
    "tail", ["", "1", "1.", "1.x", "1.-1", "1.1.1", "1.\u00b2", "1.\u0663", "2.1", "x.1", ".1", "1. 1"]
)
def test_strange_subjects(tail: str) -> None:
    """A subject that names no open slot and no attempt in plain digits is a stray, and no error."""
    mux, heard = ReplyMux("r"), Heard()
    with mux.slot(lambda attempt, delivery: heard.append((attempt, delivery.data))):
        mux.deliver(Delivery(f"r.{tail}", b""))

    assert (heard, mux.strays) == ([], 1)


async def test_over_a_bus() -> None:
    """One subscription serves all slots, and ends with the context."""
    broker, heard = MemoryBroker(), Heard()
    async with connect_memory(broker) as here, connect_memory(broker) as there:
        async with reply_mux(here, "_INBOX_disp.d1") as mux:
            with mux.slot(lambda attempt, delivery: heard.append((attempt, delivery.data))) as subject_of:
                for attempt in (1, 2):
                    await there.publish(subject_of(attempt), b"frame")
                await there.flush()
        with pytest.raises(NoResponders):
            await there.request(subject_of(1), b"", timeout_s=10)

    assert heard == [(1, b"frame"), (2, b"frame")]

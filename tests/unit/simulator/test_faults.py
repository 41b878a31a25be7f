"""Fault orders: what is understood, what is refused, how long they last."""

from __future__ import annotations

import pytest

from agents.simulator.faults import NO_FAULT, BadFault, Fault, FaultBox, FaultKind, parse_fault


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"kind": "hang"}, Fault(kind=FaultKind.HANG)),
        ({"kind": "slow", "factor": 8, "times": 2}, Fault(kind=FaultKind.SLOW, factor=8.0, times=2)),
        ({"kind": "slow"}, Fault(kind=FaultKind.SLOW, factor=4.0)),
        ({"kind": "crash_mid_stream"}, Fault(kind=FaultKind.CRASH_MID_STREAM, after_tokens=3)),
        ({"kind": "crash_mid_stream", "after_tokens": 0}, Fault(kind=FaultKind.CRASH_MID_STREAM)),
        ({"kind": "error_500", "times": None}, Fault(kind=FaultKind.ERROR_500)),
        ({"kind": "none", "times": 5}, NO_FAULT),
        ({"kind": "no_gpu"}, Fault(kind=FaultKind.NO_GPU, factor=4.0)),
        (
            {"kind": "throttle", "reasons": ["under-voltage"]},
            Fault(kind=FaultKind.THROTTLE, factor=2.0, reasons=("under-voltage",)),
        ),
    ],
)
def test_an_order_is_understood(body: object, fault: Fault) -> None:
    """Left-out fields have sensible values."""
    assert parse_fault(body) == fault


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "object"),
        ({}, "kind"),
        ({"kind": "explode"}, "explode"),
        ({"kind": ["hang"]}, "kind"),
        ({"kind": "hang", "times": 0}, "times"),
        ({"kind": "hang", "times": True}, "times"),
        ({"kind": "hang", "after_tokens": -1}, "after_tokens"),
        ({"kind": "slow", "factor": 0}, "factor"),
        ({"kind": "slow", "factor": "x"}, "factor"),
        ({"kind": "hang", "for": 3}, "for"),
        ({"kind": "throttle", "times": 1}, "times"),
        ({"kind": "throttle", "reasons": []}, "reasons"),
        ({"kind": "throttle", "reasons": "hot"}, "reasons"),
        ({"kind": "throttle", "reasons": ["x" * 201]}, "reasons"),
        ({"kind": "slow", "reasons": ["hot"]}, "reasons"),
    ],
)
def test_a_bad_order_names_what_is_wrong(body: object, named: str) -> None:
    """The message says which field, and what would do."""
    with pytest.raises(BadFault, match=named):
        parse_fault(body)


def test_an_order_lasts_as_many_requests_as_it_says() -> None:
    """Two requests meet it, the third does not."""
    box = FaultBox()
    box.set(Fault(kind=FaultKind.HANG, times=2))

    assert [box.take().kind.value for _ in range(3)] == ["hang", "hang", "none"]


def test_an_order_without_number_lasts_until_it_is_replaced() -> None:
    """`times: null` is until cleared."""
    box = FaultBox()
    box.set(Fault(kind=FaultKind.HANG))
    taken = [box.take().kind.value for _ in range(3)]
    box.set(NO_FAULT)

    assert [*taken, box.take().kind.value] == ["hang", "hang", "hang", "none"]


@pytest.mark.parametrize(
    ("fault", "slowdown"),
    [
        (NO_FAULT, 1.0),
        (Fault(kind=FaultKind.HANG, factor=8.0), 1.0),
        (Fault(kind=FaultKind.SLOW, factor=8.0), 8.0),
        (Fault(kind=FaultKind.THROTTLE, factor=2.0), 2.0),
        (Fault(kind=FaultKind.NO_GPU, factor=4.0), 4.0),
    ],
)
def test_only_some_kinds_slow_down(fault: Fault, slowdown: float) -> None:
    """A factor means nothing to the others."""
    assert slowdown == fault.slowdown

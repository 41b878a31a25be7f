"""What an agent says of itself, built from values."""

from __future__ import annotations

import pytest

from agents.backends import Version
from agents.energy.sampler import Draw
from agents.heartbeat import Identity, heartbeat, state_of
from agents.inventory import Stock
from agents.tally import Workload
from agents.telemetry import Readings
from common import codec
from common.messages import DeviceState, Heartbeat, ModelInfo, Speed

IDENTITY = Identity(device="nano", boot="b1", interval_s=1.0, topics=("code",), backend="ollama", agent_version="0.1.0")
STOCK = Stock(
    seen=True, models=(ModelInfo(name="m", loaded=True),), version=Version("0.33.0-simulated", simulated=True)
)


@pytest.mark.parametrize(
    ("draining", "stock", "expected"),
    [
        (False, STOCK, DeviceState.READY),
        (False, Stock(), DeviceState.STARTING),
        (False, Stock(seen=True, fault="no Ollama answers"), DeviceState.FAULTY),
        (True, STOCK, DeviceState.DRAINING),
        (True, Stock(seen=True, fault="no Ollama answers"), DeviceState.DRAINING),
    ],
)
def test_the_state(*, draining: bool, stock: Stock, expected: DeviceState) -> None:
    """Draining wins over a fault: either way no job comes, and the operator asked for the one."""
    state, _ = state_of(Workload(slots=1, draining=draining), stock)

    assert state is expected


def test_a_fault_is_the_reason() -> None:
    """The heartbeat says why the device is out."""
    _, reason = state_of(Workload(slots=1), Stock(seen=True, fault="no Ollama answers"))

    assert reason == "no Ollama answers"


@pytest.mark.parametrize(
    ("stock", "expected"),
    [(STOCK, "two of one name"), (Stock(seen=True, fault="no Ollama answers"), "no Ollama answers; two of one name")],
)
def test_trouble_is_told_beside_the_state(stock: Stock, expected: str) -> None:
    """It does not change what the device can do, and hides no other reason."""
    built = heartbeat(IDENTITY, Workload(slots=1), stock, Readings(), seq=1, uptime_s=1.0, trouble="two of one name")

    assert (built.state, built.reason) == (state_of(Workload(slots=1), stock)[0], expected)


def test_a_heartbeat_carries_all_that_is_known() -> None:
    """Identity, load, models, speeds, sensors and counts stand in it, and it survives the wire."""
    workload = Workload(
        slots=2, in_flight=1, jobs_by_dispatcher={"d1": 1}, done=5, failed=2, refused=3, speeds={"m": Speed(jobs=5)}
    )
    readings = Readings(memory_total_bytes=8, memory_available_bytes=4, temperature_c=51.5)

    built = heartbeat(IDENTITY, workload, STOCK, readings, seq=7, uptime_s=12.3456)

    expected = Heartbeat(
        device="nano",
        boot="b1",
        seq=7,
        interval_s=1.0,
        state=DeviceState.READY,
        slots=2,
        in_flight=1,
        jobs_by_dispatcher={"d1": 1},
        models=(ModelInfo(name="m", loaded=True),),
        speeds={"m": Speed(jobs=5)},
        topics=("code",),
        memory_total_bytes=8,
        memory_available_bytes=4,
        temperature_c=51.5,
        backend="ollama",
        backend_version="0.33.0-simulated",
        simulated=True,
        embeds=True,
        agent_version="0.1.0",
        uptime_s=12.346,
        done=5,
        failed=2,
        refused=3,
    )
    assert expected == codec.build(Heartbeat, codec.decode(codec.encode(codec.plain(built))))


def test_a_closed_backend_says_why_and_for_how_long() -> None:
    """It is ready and has no free slot: whoever waits is told what for."""
    workload = Workload(slots=0, in_flight=0, closed="the rate limit is used up", closed_s=58.3)
    built = heartbeat(IDENTITY, workload, STOCK, Readings(), seq=7, uptime_s=1.0)

    assert (DeviceState.READY, "the rate limit is used up", 58.3) == (built.state, built.reason, built.closed_s)


def test_the_last_heartbeat_says_stopped() -> None:
    """Whatever the backend's state was."""
    built = heartbeat(IDENTITY, Workload(slots=1), Stock(), Readings(), seq=1, uptime_s=1.0, stopped=True)

    assert built.state is DeviceState.STOPPED


def test_what_was_read_counts_before_what_is_known_of_the_kind() -> None:
    """The watts of now, and the learnt ones instead of the profile's."""
    readings = Readings(idle_w=3.0, busy_w=9.0)
    draw = Draw(watts=7.5, measured=True, source="ina3221", idle_w=4.0)
    beat = heartbeat(IDENTITY, Workload(slots=1), STOCK, readings, seq=1, uptime_s=1.0, draw=draw)

    assert (beat.watts, beat.watts_measured, beat.watts_source, beat.idle_w, beat.busy_w) == (
        7.5,
        True,
        "ina3221",
        4.0,
        9.0,
    )

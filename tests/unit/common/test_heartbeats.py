"""Heartbeats off the bus: what is taken for one, and by whom."""

from __future__ import annotations

import math
from typing import Any

import pytest

from common import codec
from common.bus import Delivery
from common.bus.memory import MemoryBroker, connect_memory
from common.clock import LoopClock
from common.errors import BadRequest
from common.heartbeats import read_heartbeat
from common.messages import Heartbeat
from common.subjects import Subjects
from dispatcher.bridge.presence import hear_fleet
from dispatcher.cli.board import Board
from dispatcher.settings import RosterSection

SUBJECTS = Subjects()


def delivery(device: str, subject: str) -> Delivery:
    return Delivery(subject, codec.encode(codec.plain(Heartbeat(device=device, boot="b", seq=1, interval_s=60.0))))


def test_a_heartbeat_on_its_own_subject_is_read() -> None:
    """The value that was sent."""
    assert read_heartbeat(delivery("nano", "llm.v1.hb.nano"), SUBJECTS).device == "nano"


@pytest.mark.parametrize(
    "arrived",
    [
        delivery("nano", "llm.v1.hb.orin"),
        delivery("na.no", "llm.v1.hb.na.no"),
        delivery("*", "llm.v1.hb.*"),
        Delivery("llm.v1.hb.nano", b"{}"),
        Delivery("llm.v1.hb.nano", b"hello"),
        Delivery("llm.v1.hb.nano", b'{"device":' + b"[" * 100 + b"]" * 100 + b"}"),
    ],
    ids=lambda arrived: arrived.subject + " " + repr(arrived.data[:30]),
)
def test_what_is_no_heartbeat_of_its_subjects_device_is_refused(arrived: Delivery) -> None:
    """A device speaks for itself alone, and a device's name is one token."""
    with pytest.raises(BadRequest):
        read_heartbeat(arrived, SUBJECTS)


UNKNOWN = {"watts": None, "idle_w": None, "busy_w": None, "temperature_c": None, "battery_percent": None}


def figures(**said: Any) -> dict[str, float | None]:
    told = {**codec.plain(Heartbeat(device="nano", boot="b", seq=1)), **said}
    beat = read_heartbeat(Delivery("llm.v1.hb.nano", codec.encode(told, codec.Encoding.MSGPACK)), SUBJECTS)
    return {name: getattr(beat, name) for name in UNKNOWN}


@pytest.mark.parametrize("absurd", [-5.0, 5000.1, 1e9, 1e300, math.nan, math.inf, -math.inf, "hot", [], {}, 2**63])
def test_what_can_be_no_figure_is_absent(absurd: object) -> None:
    """A failed sensor takes nobody out of the fleet, and nobody sums up what it says."""
    said = {name: -300.0 if name == "temperature_c" and absurd == -5.0 else absurd for name in UNKNOWN}

    assert UNKNOWN == figures(**said)


def test_figures_at_their_bounds_are_read() -> None:
    """What a device can draw, however hot or cold it is."""
    said = {"watts": 5000.0, "idle_w": 0, "busy_w": 9.5, "temperature_c": -100.0, "battery_percent": 100}

    assert said == figures(**said)


def test_the_board_hears_no_device_for_another() -> None:
    """`drover devices` shows whom the server let speak."""
    board = Board()
    board.hear(SUBJECTS, delivery("ghost", "llm.v1.hb.nano"))
    board.hear(SUBJECTS, delivery("nano", "llm.v1.hb.nano"))

    assert ["nano"] == [line.name for line in board.lines()]


async def test_the_bridge_hears_no_device_for_another() -> None:
    """What `/v1/models` lists comes from those who own their subject."""
    async with (
        connect_memory(MemoryBroker()) as bus,
        hear_fleet(bus, SUBJECTS, RosterSection(), LoopClock()) as presence,
    ):
        presence.hear(delivery("ghost", "llm.v1.hb.nano"))
        presence.hear(delivery("nano", "llm.v1.hb.nano"))

        assert ["nano"] == list(presence.fleet().devices)

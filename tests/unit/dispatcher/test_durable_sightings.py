"""What was seen of the fleet over time: since when it is as it is, and what devices had that are gone."""

from __future__ import annotations

import pytest

from common.messages import DeviceState
from dispatcher.durable.sightings import MOST, Sightings
from dispatcher.fleet import Device, Liveness
from tests.unit.dispatcher.builders import bare, device, fleet, model

NANO, ORIN = device("nano"), device("orin", model("big:70b"))


@pytest.mark.parametrize(
    ("now", "since_s"),
    [
        (NANO, 1.0),
        (device("nano", boot="boot-2"), 5.0),
        (device("nano", liveness=Liveness.SUSPECT), 5.0),
        (device("nano", state=DeviceState.FAULTY), 5.0),
        (device("nano", model(), model("big:70b")), 5.0),
        (device("nano", seq=7), 1.0),  # the next heartbeat
    ],
)
def test_since_when_a_device_is_as_it_is(now: Device, since_s: float) -> None:
    """Seen at 1 s, and again at 5 s: what changes who may come begins anew, and a heartbeat alone does not."""
    seen = Sightings()
    seen.look(fleet(NANO), 1.0)
    seen.look(fleet(now), 5.0)

    assert since_s == seen.since_s(None)


def test_a_newcomer_changes_the_fleet_and_nobody_else() -> None:
    """Orin comes at 5 s: the fleet is new since then, and nano as old as before."""
    seen = Sightings()
    seen.look(fleet(NANO), 1.0)
    seen.look(fleet(NANO, ORIN), 5.0)

    assert (5.0, 1.0) == (seen.since_s(None), seen.since_s("nano"))


@pytest.mark.parametrize(
    ("later", "had"),
    [
        ([NANO], True),  # forgotten by the roster
        ([NANO, bare("orin", state=DeviceState.FAULTY, boot="boot-2")], True),  # it starts anew
        ([NANO, device("orin", model("small:1b"))], False),  # it was taken away
    ],
    ids=["gone", "starting", "deleted"],
)
def test_what_a_device_had_that_is_not_there(later: list[Device], *, had: bool) -> None:
    """Its last word on its models counts, until it says otherwise."""
    seen = Sightings()
    seen.look(fleet(NANO, ORIN), 1.0)
    seen.look(fleet(*later), 5.0)

    assert (had, False) == (seen.had("big:70b", None), seen.had("big:70b", "nano"))


def test_devices_are_remembered_within_a_bound() -> None:
    """Of more names than any fleet has the oldest are forgotten."""
    seen = Sightings()
    seen.look(fleet(*(device(f"d{number}") for number in range(MOST + 1))), 1.0)

    assert (False, True) == (seen.had("llama3.2:1b", "d0"), seen.had("llama3.2:1b", "d1"))

"""What was drawn while somebody watched, in virtual time."""

from __future__ import annotations

import pytest

from common.energy import PowerSample
from common.messages import MOST_W, DeviceState, Heartbeat
from dispatcher.cli.drawn import HELD, SLACK_S, Drawn

WATTS = 10.0
SAMPLED_S = 10.0
"""What an idle device waits between two samples."""


def beat(watts: float | None = WATTS, state: DeviceState = DeviceState.READY) -> Heartbeat:
    return Heartbeat(device="pi", boot="b", seq=1, watts=watts, state=state)


def sample(energy_j: float, boot: str = "b") -> PowerSample:
    return PowerSample(
        device="pi", boot=boot, seq=1, at_unix_s=0.0, watts=WATTS, rail="in", source="ina", measured=True,
        uncertainty=0.05, energy_j=energy_j,
    )  # fmt: skip


def watched(from_s: float, to_s: float, *, first_sample_s: float | None, watts: float = WATTS) -> Drawn:
    """Watch a device that sends a heartbeat in the middle of each second, and samples with its counter."""
    drawn = Drawn()
    for half in range(int(from_s * 2), int(to_s * 2) + 1):
        at_s = half / 2
        if half % 2:
            drawn.beat(beat(watts), at_s)
        elif first_sample_s is not None and at_s >= first_sample_s and not (at_s - first_sample_s) % SAMPLED_S:
            drawn.sample(sample(7000.0 + WATTS * at_s), at_s)
    return drawn


@pytest.mark.parametrize("first_sample_s", [None, 100.0, 101.0, 104.0, 109.0])
@pytest.mark.parametrize("watched_s", [3.0, 27.0, 30.0])
def test_constant_watts_come_out_right(first_sample_s: float | None, watched_s: float) -> None:
    """Whenever its samples come, and also if none does: within the second until the first heartbeat."""
    drawn = watched(100.0, 100.0 + watched_s, first_sample_s=first_sample_s).joules(100.0 + watched_s)

    assert pytest.approx(WATTS * watched_s, abs=WATTS) == drawn


def test_the_counter_knows_better_than_heartbeats() -> None:
    """Between two samples what it says counts, whatever the heartbeats said: they miss what goes on between two of them."""
    drawn = watched(0.0, 10.0, first_sample_s=0.0, watts=1.0)

    assert WATTS * 10.0 == drawn.joules(10.0)


def test_a_silent_device_draws_nobody_knows_what() -> None:
    """Its last watts hold until it counts as silent; what its counter says afterwards is what it has drawn."""
    drawn = Drawn()
    drawn.sample(sample(0.0), 0.0)
    drawn.beat(beat(), 0.0)
    silent = drawn.joules(60.0)
    drawn.sample(sample(600.0), 60.0)

    assert (WATTS * HELD, 600.0) == (silent, drawn.joules(60.0))


@pytest.mark.parametrize(
    ("restarted_j", "joules"),
    [(5.0, 20.0), (25.0, 25.0)],
    ids=["what heartbeats told before the restart", "more than they told"],
)
def test_an_agent_that_starts_anew_counts_from_nothing(restarted_j: float, joules: float) -> None:
    """Its new counter does not tell of what was drawn before: the heartbeats do."""
    drawn = Drawn()
    drawn.sample(sample(900.0), 0.0)
    for second in (0.0, 1.0):
        drawn.beat(beat(), second)
    drawn.sample(sample(restarted_j, boot="c"), 2.0)

    assert joules == drawn.joules(2.0)


def test_a_good_bye_ends_it() -> None:
    """A device that was stopped draws nothing more that anybody knows of, and one without watts nothing that anybody knows."""
    drawn = Drawn()
    drawn.beat(beat(), 0.0)
    drawn.beat(beat(state=DeviceState.STOPPED), 1.0)
    drawn.beat(beat(None), 2.0)

    assert WATTS == drawn.joules(4.0)


def test_more_than_a_device_can_draw_is_not_believed() -> None:
    """A counter that leaps is believed as far as any device could have drawn meanwhile, and one that sinks not at all."""
    drawn = Drawn()
    for number, energy_j in enumerate((0.0, 1e12, 5.0)):
        drawn.sample(sample(energy_j), 2.0 * number)

    assert MOST_W * (2.0 + SLACK_S) == drawn.joules(4.0)

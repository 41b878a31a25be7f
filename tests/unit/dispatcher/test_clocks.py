"""The clocks of an attempt: which runs in which phase, and when it strikes."""

from __future__ import annotations

import pytest

from common.frames import Ack, End, Frame, KeepAlive, Phase, RouteNote, Token
from dispatcher.delivery.clocks import Clock, Expected, Limits, Progress, heard, strikes

LIMITS = Limits(accept_s=1.0, load_s=100.0, first_token_s=30.0, between_tokens_s=40.0, stall_s=5.0, doubt_s=500.0)
SENT_S = 10.0
FAR_S = 1000.0

ACK = Ack()
LOAD = KeepAlive(Phase.LOAD)
PREFILL = KeepAlive(Phase.PREFILL)
DECODE = KeepAlive(Phase.DECODE)
THINKS = KeepAlive(Phase.DECODE, silent_s=0.5)
HANGS = KeepAlive(Phase.DECODE, silent_s=30.0)
TOKEN = Token(0, "x")

Heard = list[tuple[float, Frame]]


def after(*events: tuple[float, Frame]) -> Progress:
    """The progress of an attempt sent at 10 s, after these frames at these times."""
    progress = Progress(SENT_S)
    for now_s, frame in events:
        progress = heard(progress, frame, now_s)
    return progress


def alive(until_s: int, frame: Frame) -> Heard:
    """A frame each second, from 11 s on."""
    return [(float(second), frame) for second in range(11, until_s + 1)]


@pytest.mark.parametrize(
    ("events", "strikes_at_s", "clock"),
    [
        ([], 11.0, Clock.ACCEPT),  # 10 + 1
        ([(10.5, LOAD)], 11.0, Clock.ACCEPT),  # only an acknowledgement accepts
        ([(10.1, ACK)], 15.1, Clock.STALL),  # 10.1 + 5
        ([(10.1, ACK), (14.0, PREFILL)], 19.0, Clock.STALL),  # 14 + 5
        ([(10.0, ACK), *alive(37, PREFILL)], 40.0, Clock.FIRST_TOKEN),  # 10 + 30, before 37 + 5
        ([(10.0, ACK), *alive(60, LOAD)], 65.0, Clock.STALL),  # loading is not held against the first token: 60 + 5
        ([(10.0, ACK), *alive(109, LOAD)], 111.0, Clock.LOAD),  # 11 + 100, before 109 + 5
        ([(10.0, ACK), *alive(60, LOAD), (61.0, PREFILL), (87.0, PREFILL)], 91.0, Clock.FIRST_TOKEN),  # 61 + 30
        ([(10.0, ACK), (12.0, TOKEN)], 17.0, Clock.STALL),  # 12 + 5: no other clock runs any more
        ([(10.0, ACK), (12.0, TOKEN), *alive(50, DECODE)], 52.0, Clock.BETWEEN_TOKENS),  # 12 + 40: its backend hangs
        ([(10.0, ACK), *alive(48, DECODE)], 51.0, Clock.BETWEEN_TOKENS),  # 11 + 40, counted from the change of phase
        ([(10.0, ACK), (12.0, TOKEN), *alive(90, THINKS)], 95.0, Clock.STALL),  # it produces what nobody sees
        ([(10.0, ACK), (12.0, TOKEN), (48.0, HANGS)], 53.0, Clock.STALL),  # 48 - 30 + 40 = 58 comes later
        ([(10.0, ACK), (12.0, TOKEN), (55.0, HANGS)], 60.0, Clock.STALL),
        ([(10.0, ACK), (12.0, TOKEN), *alive(50, LOAD)], 52.0, Clock.BETWEEN_TOKENS),  # a phase can't go back
    ],
)
def test_the_earliest_clock_strikes(events: Heard, strikes_at_s: float, clock: Clock) -> None:
    """The clock that strikes first is that of the phase, or the silence."""
    assert (strikes_at_s, clock) == strikes(after(*events), LIMITS, Expected(), FAR_S)


@pytest.mark.parametrize(
    "events",
    [[], [(10.1, ACK)], [(10.1, ACK), (10.2, LOAD)], [(10.1, ACK), (10.2, TOKEN)]],
)
def test_the_deadline_runs_in_every_phase(events: Heard) -> None:
    """The job's own deadline strikes whatever the device does."""
    assert (10.5, Clock.TOTAL) == strikes(after(*events), LIMITS, Expected(), 10.5)


def test_the_times_are_kept_for_the_record() -> None:
    """Acceptance and first token are noted once, when they happened."""
    progress = after((10.25, ACK), (11.0, PREFILL), (12.5, TOKEN), (13.0, TOKEN), (14.0, End()))

    assert (10.25, 12.5, 14.0, Phase.DECODE) == (
        progress.accepted_s,
        progress.first_token_s,
        progress.heard_s,
        progress.phase,
    )


def test_a_frame_out_of_place_is_a_sign_of_life_and_no_more() -> None:
    """A frame that a device never sends leaves the phase as it is."""
    before = after((10.0, ACK))
    progress = heard(before, RouteNote("job", "nano", "m", "r", 1), 12.0)

    assert (12.0, before.phase, before.silent_since_s) == (progress.heard_s, progress.phase, progress.silent_since_s)

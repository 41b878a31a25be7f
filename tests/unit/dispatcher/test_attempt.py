"""One attempt: frames in order, whose word counts for what, and how it went."""

from __future__ import annotations

import pytest

from common import errors
from common.errors import FleetError
from common.frames import Ack, End, Err, Frame, KeepAlive, Phase, RouteNote, Token
from common.messages import Usage
from dispatcher.delivery.attempt import LiveAttempt
from dispatcher.delivery.clocks import Clock, Limits
from tests.unit.dispatcher.builders import candidate

LIMITS = Limits(accept_s=1.0, load_s=30.0, first_token_s=60.0, between_tokens_s=20.0, stall_s=3.0, doubt_s=5.0)


def attempt(**expected: float) -> LiveAttempt:
    """An attempt that was sent at 10 s."""
    return LiveAttempt(3, candidate("orin", **expected), LIMITS, sent_s=10.0)


def played(*arrivals: Frame | FleetError) -> tuple[list[str], str]:
    """The text that an attempt gave, and its outcome by its code."""
    one, text = attempt(), []
    try:
        for arrival in arrivals:
            taken = one.take(arrival, 11.0)
            if isinstance(taken, str):
                text.append(taken)
    except FleetError as error:
        return text, error.code
    return text, "ok"


@pytest.mark.parametrize(
    "arrivals",
    [
        [Token(1, "b")],
        [Token(0, "a"), Token(2, "c")],
        [Token(0, "a"), Token(0, "a")],
        [End(tokens=1)],
        [Token(0, "a"), End(tokens=0)],
        [Token(0, "a"), End(tokens=2)],
        [RouteNote("j", "d", "m", "r", 1)],
    ],
)
def test_a_gap_is_never_shown(arrivals: list[Frame]) -> None:
    """A missing, repeated or foreign frame ends the attempt, and gives no text."""
    text, outcome = played(Ack(), *arrivals)

    assert (["a"][: len(text)], "garbled") == (text, outcome)


@pytest.mark.parametrize("usage", [Usage(prompt_tokens=2**62), Usage(completion_tokens=10**9 + 1)])
def test_tokens_without_measure_fail_the_attempt(usage: Usage) -> None:
    """Two answers of 2^62 tokens have a sum that no database can hold, and nobody could ask for sums any more."""
    assert ([], "garbled") == played(Ack(), End(usage=usage))


def test_a_whole_answer() -> None:
    """Tokens in order, and an end that counts them."""
    assert (["a", "b"], "ok") == played(
        Ack(boot="b"), Token(0, "a"), KeepAlive(Phase.DECODE), Token(1, "b"), End(tokens=2)
    )


@pytest.mark.parametrize(
    ("said", "taken_for"),
    [
        (errors.BackendError("x"), "backend"),  # of itself, and of the request, it knows
        (errors.DeviceBusy("x"), "backend"),  # it had accepted, and would accept again
        (errors.BadRequest("x"), "bad_request"),
        (errors.JobCancelled("x"), "cancelled"),
        (errors.DeadlineExceeded("x"), "backend"),  # its clock may be wrong
        (errors.BusDisconnected("x"), "backend"),  # its bus is not ours
        (errors.InternalError("x"), "backend"),  # its bug is not ours
        (errors.NoDevice("x"), "backend"),
        (FleetError("of a newer version"), "backend"),
    ],
)
def test_whose_word_counts_for_what(said: FleetError, taken_for: str) -> None:
    """A device is believed about itself and the request; whatever else it says means that this attempt failed."""
    assert ([], taken_for) == played(Ack(), Err(said))


def test_a_refusal_before_the_acceptance_is_one() -> None:
    """A device without a free slot says so at once, and has not failed."""
    assert ([], "busy") == played(Err(errors.DeviceBusy("x")))


def test_the_attempt_as_it_went() -> None:
    """The record of an attempt has its times since the publish, and its outcome in a word."""
    one = attempt()
    one.take(Ack(), 10.5)
    one.take(Token(0, "a"), 12.0)
    kept = one.account(errors.DeviceSilent("no frame"), outrun=False, queued_s=0.5, now_s=15.0)

    assert (3, "orin", "silent", "no frame", 0.5, 0.5, 2.0, 5.0) == (
        kept.number,
        kept.device,
        kept.outcome,
        kept.detail,
        kept.queued_s,
        kept.accept_s,
        kept.first_token_s,
        kept.total_s,
    )


def alive(one: LiveAttempt, phase: Phase, until_s: int) -> None:
    """Say so each second, from 11 s on, so that no stall strikes."""
    for second in range(11, until_s + 1):
        one.take(KeepAlive(phase), float(second))


def test_doubts_come_again_while_the_silence_lasts() -> None:
    """A silent device is doubted when its silence is longer than usual, at three times that, and so on to the last clock."""
    one, struck = attempt(predicted_first_token_s=4.0), []
    one.take(Ack(), 10.0)
    for until_s in (17, 33, 49, 65, 69):
        alive(one, Phase.PREFILL, until_s)
        struck.append(one.strikes(1000.0))
        one.doubt()

    doubts = [(at_s, Clock.DOUBT) for at_s in (18.0, 34.0, 50.0, 66.0)]  # 10 + 2 x 4 x (1, 3, 5, 7)
    assert [*doubts, (70.0, Clock.FIRST_TOKEN)] == struck  # 10 + 60


def test_a_doubt_comes_again_after_a_sign_of_life() -> None:
    """Between tokens each silence is a new one."""
    one = attempt()
    one.take(Ack(), 10.0)
    one.take(Token(0, "a"), 11.0)
    one.doubt()
    one.take(Token(1, "b"), 12.0)
    for second in range(13, 16):
        one.take(KeepAlive(Phase.DECODE, silent_s=second - 12.0), float(second))

    assert (17.0, Clock.DOUBT) == one.strikes(1000.0)  # 12 + 5


def test_a_load_has_the_time_that_its_device_usually_takes() -> None:
    """The clock follows the prediction where that is longer than the setting, and waits once more when told to."""
    one = attempt(predicted_load_s=40.0)
    one.take(Ack(), 10.0)
    alive(one, Phase.LOAD, 11)
    for _ in range(9):
        one.doubt()
    alive(one, Phase.LOAD, 130)
    struck = one.strikes(1000.0)
    more = one.load_on()
    alive(one, Phase.LOAD, 250)

    assert ((131.0, Clock.LOAD), True, (251.0, Clock.LOAD)) == (struck, more, one.strikes(1000.0))  # 11 + 3 x 40; twice
    assert not one.load_on()


@pytest.mark.parametrize(
    ("error", "cost_usd"),
    [
        (errors.BackendError("broke", cost_usd=0.25, cost_estimated=True), 0.25),
        (errors.BudgetSpent("no more", cost_usd=0.25, cost_estimated=True), 0.25),  # told in other words, once accepted
        (errors.BackendError("broke"), None),
        (errors.BackendError("broke", cost_usd="much"), None),
        (errors.BackendError("broke", cost_usd=-1.0), None),
    ],
)
def test_what_a_device_says_that_a_failure_has_cost(error: FleetError, cost_usd: float | None) -> None:
    """It is kept, and what is no amount is not."""
    one = attempt()
    one.take(Ack(), 11.0)
    with pytest.raises(FleetError) as caught:
        one.take(Err(error), 11.0)
    account = one.account(caught.value, outrun=False, queued_s=0.0, now_s=12.0)

    assert (account.cost_usd, account.cost_estimated) == (cost_usd, cost_usd is not None)

"""Watching one attempt: frames in order, text in pieces, and whose word counts for what."""

from __future__ import annotations

import pytest

from common import errors
from common.errors import FleetError
from common.frames import Ack, End, Err, Frame, KeepAlive, Phase, RouteNote, Token
from dispatcher.delivery.clocks import Progress
from dispatcher.delivery.watch import Watch
from tests.unit.dispatcher.builders import candidate

Batches = list[list[Frame | FleetError]]


class Script:
    """Gives batches of arrivals, and writes down what it is told."""

    def __init__(self, batches: Batches) -> None:
        self.boot: str | None = None
        self.shown: list[str] = []
        self.phases: list[Phase] = []
        self._batches = batches

    async def next_frames(self, progress: Progress) -> list[Frame | FleetError]:
        """Give the next batch; after the last one a clock strikes."""
        if not self._batches:
            raise errors.DeviceSilent("the script is over")
        return self._batches.pop(0)

    async def text(self, pieces: list[str]) -> None:
        self.shown.append("".join(pieces))

    async def silent(self, frame: KeepAlive) -> None:
        self.phases.append(frame.phase)


async def watch(*batches: list[Frame | FleetError]) -> tuple[Script, str]:
    """Watch a script to its end; give it, and the outcome by its code."""
    script = Script(list(batches))
    try:
        await Watch(script, 1, candidate(), sent_s=0.0).run()
    except FleetError as error:
        return script, error.code
    return script, "ok"


async def test_text_that_arrives_together_goes_on_as_one_piece() -> None:
    """A burst of tokens is one piece for the producer."""
    script, outcome = await watch([Ack(boot="b")], [Token(0, "a"), Token(1, "b")], [Token(2, "c"), End(tokens=3)])

    assert (["ab", "c"], "ok", "b") == (script.shown, outcome, script.boot)


async def test_text_that_arrives_with_its_failure_is_not_shown() -> None:
    """What nobody has seen can be begun again on another device."""
    script, outcome = await watch([Ack(), Token(0, "a"), Err(errors.BackendError("x"))])

    assert ([], "backend") == (script.shown, outcome)


@pytest.mark.parametrize(
    "batch",
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
async def test_a_gap_is_never_shown(batch: list[Frame | FleetError]) -> None:
    """A missing, repeated or foreign frame ends the attempt, and the batch that it came in is not shown."""
    script, outcome = await watch([Ack()], batch)

    assert ([], "garbled") == (script.shown, outcome)


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
async def test_whose_word_counts_for_what(said: FleetError, taken_for: str) -> None:
    """A device is believed about itself and the request; whatever else it says means that this attempt failed."""
    _, outcome = await watch([Ack(), Err(said)])

    assert taken_for == outcome


async def test_a_refusal_before_the_acceptance_is_one() -> None:
    """A device without a free slot says so at once, and has not failed."""
    _, outcome = await watch([Err(errors.DeviceBusy("x"))])

    assert outcome == "busy"


async def test_signs_of_life_are_passed_on() -> None:
    """Keep-alives reach the producer, and what the dispatcher itself finds ends the attempt."""
    script, outcome = await watch(
        [Ack(), KeepAlive(Phase.LOAD)], [KeepAlive(Phase.PREFILL)], [errors.DeviceLost("gone")]
    )

    assert ([Phase.LOAD, Phase.PREFILL], "device_lost") == (script.phases, outcome)


async def test_the_attempt_as_it_went() -> None:
    """The record of an attempt has its times since the publish, and its outcome in a word."""
    one = Watch(Script([]), 3, candidate("orin"), sent_s=10.0)
    kept = one.attempt(errors.DeviceSilent("no accept"), queued_s=0.5, now_s=11.5)

    assert (3, "orin", "silent", "no accept", 0.5, None, None, 1.5) == (
        kept.number,
        kept.device,
        kept.outcome,
        kept.detail,
        kept.queued_s,
        kept.accept_s,
        kept.first_token_s,
        kept.total_s,
    )

"""What a job has taken: all attempts, those apart that came to nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import energy
from common.energy import Energy
from common.errors import BackendError, FleetError, JobCancelled
from common.frames import Ack, End, Err, KeepAlive, Phase, Token
from common.messages import Usage
from dispatcher.delivery.attempt import LiveAttempt
from dispatcher.delivery.clocks import Limits
from dispatcher.ledger.rows import share_rows
from dispatcher.outcomes import Attempt, Cached, CacheOutcome, Delivered
from dispatcher.record.account import record, route
from dispatcher.record.energy import accounted
from dispatcher.record.entries import job_entry
from dispatcher.tariff import NO_RATE, Rate
from tests.unit.dispatcher.builders import attempt, candidate, job

LIMITS = Limits(accept_s=1.0, load_s=30.0, first_token_s=60.0, between_tokens_s=20.0, stall_s=3.0, doubt_s=5.0)
END = End(usage=Usage(prompt_tokens=5, completion_tokens=20))
EUR = Rate(per_kwh=0.36, currency="EUR", g_co2e_per_kwh=360.0)


def of(joules: float, **fields: object) -> Energy:
    return replace(Energy(joules=joules, measured=True, source="ina3221", uncertainty=0.02), **fields)


def tried(number: int, outcome: str, joules: float | None, **fields: object) -> Attempt:
    return replace(attempt(number, f"d{number}", outcome), energy=None if joules is None else of(joules), **fields)


def spent(*attempts: Attempt, end: End | None = END, **fields: object) -> Energy | None:
    return account(*attempts, end=end, **fields).energy


def account(*attempts: Attempt, end: End | None = END, **fields: object) -> Delivered:
    return accounted(Delivered(attempts=attempts, end=end, **fields), NO_RATE)  # type: ignore[arg-type]


def parts(delivered: Delivered) -> list[tuple[float, float, int] | None]:
    """The joules, the lost ones and the tokens of each attempt."""
    known = [one.energy for one in delivered.attempts]
    return [None if one is None else (one.joules, one.lost_joules, one.tokens) for one in known]


def test_losing_attempts_count_and_are_told_apart() -> None:
    """A hedge that was outrun took 4 J of 10."""
    assert (10.0, 4.0, 0.5) == (
        (told := spent(tried(1, "outrun", 4.0), tried(2, "ok", 6.0))).joules,  # type: ignore[union-attr]
        told.lost_joules,  # type: ignore[union-attr]
        told.joules_per_token,  # type: ignore[union-attr]
    )


def test_text_that_another_went_on_with_is_not_lost() -> None:
    """The first device began the answer, a second failed without a word, the third finished it."""
    told = spent(
        tried(1, "device_lost", 3.0, first_token_s=0.2),
        tried(2, "backend", 1.0, first_token_s=None),
        tried(3, "ok", 5.0, continues=True),
    )

    assert (9.0, 1.0) == (told.joules, told.lost_joules)  # type: ignore[union-attr]


def test_a_weak_answer_that_nobody_saw_is_lost() -> None:
    """It ended well, and a stronger one was given."""
    told = spent(tried(1, "ok", 2.0, first_token_s=0.1), tried(2, "ok", 7.0, first_token_s=0.1))

    assert (9.0, 2.0) == (told.joules, told.lost_joules)  # type: ignore[union-attr]


def test_of_a_failed_job_all_is_lost() -> None:
    """Whatever was shown of it was no answer."""
    told = spent(tried(1, "backend", 2.0), tried(2, "deadline", 3.0, first_token_s=0.3), end=None)

    assert (5.0, 5.0, None) == (told.joules, told.lost_joules, told.joules_per_token)  # type: ignore[union-attr]


def test_models_elsewhere_take_nothing_that_is_known() -> None:
    """None is not 0 J; and where one of two is known, that is told."""
    assert spent(tried(1, "ok", None)) is None
    assert 2.0 == spent(tried(1, "backend", 2.0), tried(2, "ok", None)).joules  # type: ignore[union-attr]


def test_each_attempt_has_its_part_of_the_whole() -> None:
    """What was lost, and who wrote which of the 20 tokens: of those that the first device says it wrote, no more than there are."""
    hedged = account(tried(1, "outrun", 50.0), tried(2, "ok", 30.0))
    weak = account(tried(1, "ok", 2.0), tried(2, "ok", 7.0))
    begun = replace(tried(1, "device_lost", 3.0, first_token_s=0.2), energy=of(3.0, tokens=8, lost_joules=9.0))
    continued = account(begun, tried(2, "ok", 5.0, continues=True))
    boasting = replace(begun, energy=of(3.0, tokens=2**62))

    assert [(50.0, 50.0, 0), (30.0, 0.0, 20)] == parts(hedged)
    assert [(2.0, 2.0, 0), (7.0, 0.0, 20)] == parts(weak)
    assert [(3.0, 0.0, 8), (5.0, 0.0, 12)] == parts(continued)
    assert [(3.0, 0.0, 20), (5.0, 0.0, 0)] == parts(account(boasting, tried(2, "ok", 5.0, continues=True)))
    assert [(3.0, 3.0, 0), None] == parts(account(begun, tried(2, "ok", None)))


def test_an_answer_that_could_not_be_sent_is_lost_after_all() -> None:
    """It was accounted as given."""
    sent = account(tried(1, "ok", 6.0, first_token_s=0.1))
    unsent = accounted(replace(sent, end=None, error=BackendError("too large")), NO_RATE)

    assert ([(6.0, 0.0, 20)], [(6.0, 6.0, 0)]) == (parts(sent), parts(unsent))
    assert (6.0, 6.0, 0) == ((told := unsent.energy).joules, told.lost_joules, told.tokens)  # type: ignore[union-attr]


def test_a_hit_takes_nothing() -> None:
    """And says that it is from the cache."""
    told = spent(cached=Cached(outcome=CacheOutcome.HIT))

    assert (0.0, "cache", 20, 0.0) == (told.joules, told.source, told.tokens, told.uncertainty)  # type: ignore[union-attr]


def test_the_record_of_a_job_has_it_priced() -> None:
    """1 kWh at 0.36 EUR and 360 g."""
    delivered = Delivered(attempts=(tried(1, "ok", 3.6e6),), end=END)
    kept = record(job(), accounted(delivered, EUR), total_s=1.0, record="r-1")

    assert kept.energy is not None
    assert (0.36, "EUR", 360.0) == (pytest.approx(kept.energy.cost), kept.energy.currency, kept.energy.co2e_g)


def test_a_failed_job_tells_what_it_took_in_its_account() -> None:
    """An answer has it in the final frame instead."""
    gone = account(tried(1, "backend", 2.0), end=None, error=BackendError("broke"))
    good = account(tried(1, "ok", 2.0))

    assert 2.0 == route(job(), gone, total_s=1.0)["energy"]["lost_joules"]
    assert "energy" not in route(job(), good, total_s=1.0)


TRIED = st.lists(st.tuples(st.sampled_from(["ok", "outrun", "backend"]), st.floats(0.0, 1e6)), min_size=1, max_size=9)


@given(TRIED, st.booleans())
def test_the_shares_of_the_ledger_are_those_of_the_record(tries: list[tuple[str, float]], cut: bool) -> None:
    """Each attempt's own, and no more than these; of a record that is cut there is a rest, with what was lost."""
    attempts = [tried(number, outcome, joules) for number, (outcome, joules) in enumerate(tries, 1)]
    told = account(*attempts, end=END if any(outcome == "ok" for outcome, _ in tries) else None)
    whole = job_entry(record(job(), told, total_s=1.0, record=f"{0:026d}"), "d1", lambda device: None)
    entry = replace(whole, attempts=whole.attempts[-1:]) if cut else whole
    shares = list(share_rows(entry))

    assert whole.energy is not None
    assert cut or 0 not in [row["number"] for row in shares]
    dust = 1e-8 * whole.energy.joules
    assert (pytest.approx(whole.energy.joules, abs=dust), pytest.approx(whole.energy.lost_joules, abs=dust)) == (
        sum(row["joules"] for row in shares),
        sum(row["lost_joules"] for row in shares),
    )
    assert all(row["lost_joules"] in {0.0, row["joules"]} for row in shares if row["number"])


def heard(
    *arrivals: object, error: FleetError | None = None, ends_s: float = 16.0, **expected: float | None
) -> Energy | None:
    """What an attempt is held to have taken that was sent at 10 s and heard all this at 12 s."""
    one = LiveAttempt(1, replace(candidate("orin"), **expected), LIMITS, sent_s=10.0)  # type: ignore[arg-type]
    raised: FleetError | None = error
    for arrival in arrivals:
        try:
            one.take(arrival, 12.0)  # type: ignore[arg-type]
        except FleetError as said:
            raised = said
    return one.account(raised, outrun=False, queued_s=0.0, now_s=ends_s).energy


def test_an_answer_has_what_its_device_says() -> None:
    """In the end frame."""
    assert of(12.5) == heard(Ack(), Token(0, "a"), End(tokens=1, energy=of(12.5)))


def test_an_attempt_that_failed_has_what_its_device_says() -> None:
    """In the details of the error."""
    failed = BackendError("broke", energy=energy.to_wire(of(3.0)))

    assert of(3.0) == heard(Ack(), Err(failed))


PREDICTED: dict[str, float | None] = {"predicted_energy_j": 50.0, "predicted_total_s": 10.0, "predicted_wait_s": 0.0}
"""5 W."""


@pytest.mark.parametrize(
    "hostile", [of(1e12), of(3.0, idle_joules=1e12), of(35_001.0)], ids=["joules", "idle", "just too much"]
)
def test_more_than_a_device_can_draw_is_not_believed(hostile: Energy) -> None:
    """5 kW, for the 6 s since it was sent, and one for its meter; it is estimated instead."""
    ended = heard(Ack(), End(tokens=0, energy=hostile), **PREDICTED)
    failed = heard(Ack(), Err(BackendError("broke", energy=energy.to_wire(hostile))), **PREDICTED)

    assert (20.0, "prediction", 20.0) == (ended.joules, ended.source, failed.joules)  # type: ignore[union-attr]
    assert heard(Ack(), End(tokens=0, energy=hostile), **PREDICTED | {"predicted_energy_j": None}) is None
    assert 35_000.0 == heard(Ack(), End(tokens=0, energy=of(35_000.0))).joules  # type: ignore[union-attr]


def test_an_estimate_ends_where_devices_do() -> None:
    """A device may say of itself what it likes, and predictions come from that."""
    told = heard(Ack(), Err(BackendError("broke")), **PREDICTED | {"predicted_energy_j": 1e12})

    assert 35_000.0 == told.joules  # type: ignore[union-attr]


def test_what_was_lost_and_paid_is_not_for_the_device_to_say() -> None:
    """It does not know whether its text was given, nor the tariff."""
    said = of(3.0, lost_joules=2.0, cost=7.0, currency="USD", co2e_g=1.0)

    assert of(3.0) == heard(Ack(), End(tokens=0, energy=said))


@pytest.mark.parametrize(
    "garbage", ["much", {"joules": -1}, {"joules": "x"}, None, 7, {"joules": float("nan")}, {"source": 1}]
)
def test_what_can_t_be_read_is_not_believed(garbage: object) -> None:
    """It is estimated instead: 5 W for the 4 s since it was accepted."""
    told = heard(Ack(), Err(BackendError("broke", energy=garbage)), **PREDICTED)

    assert (20.0, False, "prediction") == (told.joules, told.measured, told.source)  # type: ignore[union-attr]


def test_one_that_was_not_heard_any_more_is_estimated() -> None:
    """It was recalled in the middle, and its last words come too late."""
    told = heard(Ack(), KeepAlive(Phase.PREFILL), error=JobCancelled("on request"), **PREDICTED)

    assert (20.0, False) == (told.joules, told.measured)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [([], PREDICTED), ([Ack()], PREDICTED | {"predicted_energy_j": None})],
    ids=["never accepted", "a model elsewhere"],
)
def test_nothing_is_made_up(arrivals: list[object], expected: dict[str, float | None]) -> None:
    """Who never took the job took nothing of it; of a model elsewhere nobody knows."""
    assert heard(*arrivals, error=JobCancelled("on request"), **expected) is None

"""The record of a job, and the account that travels with its answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.errors import BackendError, JobCancelled, NoDevice, QueueFull
from common.frames import End, Finish
from common.messages import EngineTimings, Usage
from dispatcher.bridge.openai.reply import account
from dispatcher.outcomes import Cascaded, Delivered, JobState, Price, Settled
from dispatcher.record.account import record, refusal, route
from dispatcher.record.events import summary
from tests.unit.dispatcher.builders import attempt, candidate, job

JOB = job(name="j-1", tenant="acme", model="llama3.2")
DECISION = Settled(
    strategy="hybrid",
    leaders=(candidate(),),
    weights={"tokens": 0.4, "topic": 0.2, "health": 0.4},
    features={"complexity": 0.1},
)
END = End(
    finish=Finish.LENGTH,
    usage=Usage(prompt_tokens=7, completion_tokens=30),
    engine=EngineTimings(load_s=1.0, prefill_s=0.5, decode_s=2.0),
)
ANSWERED = Delivered(
    attempts=(
        attempt(1, "pi5", "device_lost", total_s=0.4, detail="gone"),
        attempt(2, "nano", accept_s=0.02, total_s=3.0),
    ),
    decision=DECISION,
    chosen=candidate("nano", score=0.71239, simulated=True),
    end=END,
    queue_s=0.25,
    first_token_s=1.8,
)
FAILED = Delivered(
    attempts=(attempt(1, "pi5", "backend"),), decision=DECISION, chosen=candidate("pi5"), error=BackendError("broke")
)
UNPLACED = Delivered(decision=DECISION, error=NoDevice("nobody"))


@pytest.mark.parametrize(
    ("delivered", "state", "error"),
    [
        (ANSWERED, JobState.DONE, None),
        (FAILED, JobState.FAILED, "backend"),
        (UNPLACED, JobState.FAILED, "no_device"),
        (Delivered(error=JobCancelled("on request")), JobState.CANCELLED, "cancelled"),
    ],
)
def test_a_record_says_how_it_ended(delivered: Delivered, state: JobState, error: str | None) -> None:
    """Done, failed or cancelled, with the error's code."""
    kept = record(JOB, delivered, total_s=3.5, record="r-1")

    assert (state, error, "j-1", "acme", 3.5, "llama3.2") == (
        kept.state,
        kept.error,
        kept.job,
        kept.tenant,
        kept.total_s,
        kept.asked_model,
    )


def test_a_record_says_who_answered_and_at_what_price() -> None:
    """Device, model, terms, tokens and times stand in the record of an answered job."""
    kept = record(JOB, ANSWERED, total_s=3.5, record="r-1")

    assert ("nano", "llama3.2:1b", "hybrid", 0.71239, 2, 30, "length", 0.25, 1.8, True) == (
        kept.device,
        kept.model,
        kept.strategy,
        kept.score,
        len(kept.attempts),
        kept.usage.completion_tokens,
        kept.finish,
        kept.queue_s,
        kept.first_token_s,
        kept.simulated,
    )


def test_a_record_of_a_job_without_a_device_names_none() -> None:
    """Nobody is named who was not asked."""
    kept = record(JOB, UNPLACED, total_s=0.1, record="r-1")

    assert (None, None, None, None, ()) == (kept.device, kept.model, kept.reason, kept.score, kept.attempts)


def test_a_refused_request_has_a_record_too() -> None:
    """What was refused at the door is written down with the reason."""
    kept = refusal(QueueFull("full"), record="r-2", job="j-2", tenant="acme", kind="chat", received_unix_s=5.0)

    assert (JobState.REFUSED, "j-2", "acme", "queue_full", "full", 5.0) == (
        kept.state,
        kept.job,
        kept.tenant,
        kept.error,
        kept.error_message,
        kept.received_unix_s,
    )


def test_the_route_of_an_answer() -> None:
    """The final frame carries device, model, score, terms, weights, attempts and timings."""
    assert {
        "job": "j-1",
        "device": "nano",
        "model": "llama3.2:1b",
        "reason": "hybrid 0.70",
        "strategy": "hybrid",
        "score": 0.7124,
        "simulated": True,
        "terms": {"tokens": 0.8, "topic": 0.5, "health": 0.7},
        "weights": {"tokens": 0.4, "topic": 0.2, "health": 0.4},
        "features": {"complexity": 0.1},
        "attempts": [
            {"device": "pi5", "model": "llama3.2:1b", "outcome": "device_lost", "s": 0.4, "detail": "gone"},
            {"device": "nano", "model": "llama3.2:1b", "outcome": "ok", "s": 3.0},
        ],
        "timings": {
            "queue_s": 0.25,
            "accept_s": 0.02,
            "load_s": 1.0,
            "prefill_s": 0.5,
            "first_token_s": 1.8,
            "total_s": 3.5,
            "decode_tps": 15.0,  # 30 / 2
        },
    } == route(JOB, ANSWERED, total_s=3.5)


def test_the_route_of_a_job_without_a_device() -> None:
    """What is not known is left out."""
    assert {
        "job": "j-1",
        "strategy": "hybrid",
        "weights": {"tokens": 0.4, "topic": 0.2, "health": 0.4},
        "features": {"complexity": 0.1},
        "attempts": [],
        "timings": {"queue_s": 0.0, "total_s": 0.1},
    } == route(JOB, UNPLACED, total_s=0.1)


@pytest.mark.parametrize("decode_s", [None, 0.0])
def test_no_speed_without_a_time(decode_s: float | None) -> None:
    """Where the engine does not say how long it decoded, no speed is claimed."""
    delivered = Delivered(end=End(usage=Usage(completion_tokens=5), engine=EngineTimings(decode_s=decode_s)))

    assert "decode_tps" not in route(JOB, delivered, total_s=1.0)["timings"]


def test_what_an_answer_costs_stands_in_record_route_and_event() -> None:
    """Down to a billionth of a dollar: a cheap model's token costs some fifty of them. Where nobody knows, nobody claims it."""
    paid = replace(ANSWERED, end=End(cost_usd=0.0000123456))
    kept = record(JOB, paid, total_s=1.0, record="r-1")

    assert kept.cost_usd == 0.0000123456
    assert route(JOB, paid, total_s=1.0)["cost_usd"] == summary(kept)["cost_usd"] == 0.000012346
    assert "cost_usd" not in route(JOB, ANSWERED, total_s=1.0)
    assert "cost_usd" not in summary(record(JOB, ANSWERED, total_s=1.0, record="r-1"))


def test_the_event_of_a_job() -> None:
    """Operators see the record's summary: no prompt, no terms, and nothing that is not known."""
    assert {
        "job": "j-1",
        "tenant": "acme",
        "priority": "normal",
        "state": "failed",
        "device": "pi5",
        "model": "llama3.2:1b",
        "reason": "hybrid 0.70",
        "attempts": 1,
        "queue_s": 0.0,
        "total_s": 1.2346,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "error": "backend",
        "error_message": "broke",
    } == summary(record(JOB, FAILED, total_s=1.23456, record="r-1"))


def test_what_an_attempt_has_cost_that_failed_is_counted() -> None:
    """Beside the answer of another device, or alone; it is an estimate, and told as one."""
    broken = attempt(1, "cloud", "backend", cost_usd=0.25, cost_estimated=True)
    paid = replace(ANSWERED, attempts=(broken, *ANSWERED.attempts), end=End(cost_usd=0.5))
    told = route(JOB, paid, total_s=1.0)
    failed = record(JOB, replace(FAILED, attempts=(broken,)), total_s=1.0, record="r-1")

    assert (told["cost_usd"], told["cost_estimated"], told["attempts"][0]["cost_usd"]) == (0.75, True, 0.25)
    assert (failed.cost_usd, failed.cost_estimated, summary(failed)["cost_estimated"]) == (0.25, True, True)


def test_savings_of_a_cascade_compare_one_answer_with_what_both_cost() -> None:
    """The reference would have answered once: a weak answer that nobody saw saves nothing, and what it cost counts."""
    cascaded = Cascaded(
        weak=candidate("pi5"), escalated=True, score=0.8, threshold=0.5, by="rules", why="rules: 0.80 over 0.50",
        given="strong", strong=candidate("cloud", remote=True, predicted_energy_j=None),
        usage=Usage(prompt_tokens=3_000_000, completion_tokens=1_000_000),
    )  # fmt: skip
    both = End(usage=Usage(prompt_tokens=6_000_000, completion_tokens=3_000_000), cost_usd=2.0)
    decision = replace(DECISION, reference=Price("gpt-4o", "cloud", 1.0, 2.0))
    delivered = replace(ANSWERED, decision=decision, end=both, cascaded=cascaded)
    told = route(JOB, delivered, total_s=3.5)
    kept = record(JOB, delivered, total_s=3.5, record="r-1")

    assert (5.0, 5.0) == (told["saved_usd"], kept.saved_usd)  # 3 x 1 + 2 x 2 - 2
    assert ("gpt-4o@cloud", 7.0) == (kept.saved_against, kept.cloud_usd)
    assert (None, 0.0) == (
        told["cascade"]["strong"]["predicted_energy_j"],
        told["cascade"]["weak"]["predicted_energy_j"],
    )


def test_http_tells_all_that_nats_tells() -> None:
    """Nothing of a job's account is lost on its way into `x_drover`: costs, savings, features and the check among it."""
    told = Cascaded(weak=candidate("pi5"), escalated=True, score=0.9, threshold=0.5, by="rules", why="it refuses")
    price = Price("big", "cloud", 2.5, 10.0)
    full = replace(
        ANSWERED,
        cascaded=told,
        end=replace(END, cost_usd=0.001, cost_estimated=True),
        decision=replace(DECISION, reference=price),
    )
    wire = route(JOB, full, total_s=3.5)

    assert {"cascade", "saved_usd", "saved_against", "features", "cost_estimated"} <= wire.keys()
    assert wire == account(JOB.id, wire)


def test_an_answer_tells_the_greatest_shares_alone() -> None:
    """Shares of ten thousand devices would not fit into it."""
    shares = {f"d{number:05}": float(number) for number in range(10_000)}
    wire = route(JOB, replace(ANSWERED, decision=replace(DECISION, weights=shares)), total_s=1.0)

    assert {f"d{number:05}": float(number) for number in range(9_992, 10_000)} == wire["weights"]


def test_labelled_prompts_are_not_the_producers() -> None:
    """Neither those of two tiers nor those of several models leave with the answer."""
    told = {
        "verdict": {"gain": 0.1, "neighbours": [{"gain": 1.0}]},
        "choice": {"model": "a", "neighbours": [{"gain": 1.0}]},
    }
    wire = route(JOB, replace(ANSWERED, decision=replace(DECISION, features=told)), total_s=1.0)

    assert {"verdict": {"gain": 0.1}, "choice": {"model": "a"}} == wire["features"]

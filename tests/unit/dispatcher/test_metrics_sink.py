"""What records add up to: the sink's arithmetic, as tables."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.energy import Energy
from common.messages import EngineTimings, Priority, Usage
from common.metrics import OTHER, Metrics, Names, written
from dispatcher.gauges import Forgetting
from dispatcher.outcomes import Attempt, Cached, CacheOutcome, JobRecord, JobState
from dispatcher.record.metrics import MetricsSink
from dispatcher.roster import Roster
from tests.unit.dispatcher.builders import beat, model

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

DONE = JobRecord(
    record="r",
    job="j",
    tenant="t",
    kind="chat",
    state=JobState.DONE,
    received_unix_s=0.0,
    total_s=2.0,
    priority=Priority.NORMAL,
    device="pi5",
    model="m:1b",
    attempts=(Attempt(number=1, device="pi5", model="m:1b", outcome="ok", accept_s=0.02, total_s=1.9),),
    usage=Usage(prompt_tokens=10, completion_tokens=40),
    engine=EngineTimings(load_s=0.5, prefill_s=0.1, decode_s=2.0),
    queue_s=0.1,
    first_token_s=0.7,
)


def counted(*records: JobRecord, devices: int = 200) -> Samples:
    """The samples after these records."""
    metrics = Metrics()
    sink = MetricsSink(metrics, devices=Names(devices), models=Names())

    async def write() -> None:
        for record in records:
            await sink.write(record)

    asyncio.run(write())
    return page_of(metrics)


def page_of(metrics: Metrics) -> Samples:
    """The samples as they are now."""
    page = written(metrics.families())[0].decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith("drover_")
    }


def at(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("drover_jobs_total", {"state": "done", "error": ""}, 1.0),
        ("drover_job_seconds_sum", {"state": "done"}, 2.0),
        ("drover_job_queue_seconds_sum", {"priority": "normal"}, 0.1),
        ("drover_job_accept_seconds_sum", {}, 0.02),
        ("drover_job_load_seconds_sum", {"model": "m:1b"}, 0.5),
        ("drover_job_prefill_seconds_sum", {"model": "m:1b"}, 0.1),
        ("drover_job_first_token_seconds_sum", {"model": "m:1b"}, 0.7),
        ("drover_job_decode_tokens_per_second_sum", {"model": "m:1b"}, 20.0),  # 40 tokens in 2 s
        ("drover_tokens_total", {"device": "pi5", "type": "prompt"}, 10.0),
        ("drover_model_tokens_total", {"model": "m:1b", "type": "completion"}, 40.0),
        ("drover_attempts_total", {"device": "pi5", "outcome": "ok"}, 1.0),
    ],
)
def test_an_answer_is_counted(name: str, labels: dict[str, str], value: float) -> None:
    """Once in each figure that it has a part in."""
    assert value == at(counted(DONE), name, **labels)


def test_a_refusal_took_no_time() -> None:
    """It is counted, and pulls no latency down."""
    refused = JobRecord(
        record="r", job="j", tenant="t", kind="chat", state=JobState.REFUSED, received_unix_s=0.0, total_s=0.0, error="bad_request"
    )  # fmt: skip
    samples = counted(refused)

    assert (1.0, None) == (
        at(samples, "drover_jobs_total", state="refused", error="bad_request"),
        at(samples, "drover_job_seconds_count", state="refused"),
    )


def test_a_code_of_a_newer_program_is_other() -> None:
    """Labels come from the words that there are."""
    strange = replace(
        DONE, error="x" * 100, state=JobState.FAILED, attempts=(replace(DONE.attempts[0], outcome="weird"),)
    )
    samples = counted(strange)

    assert (1.0, 1.0) == (
        at(samples, "drover_jobs_total", state="failed", error="other"),
        at(samples, "drover_attempts_total", device="pi5", outcome="other"),
    )


def test_an_answer_from_the_cache_took_nobodys_tokens() -> None:
    """What it saved is counted instead."""
    cached = Cached(outcome=CacheOutcome.HIT, kind="exact", saved={"tokens": 40, "s": 3.5, "energy_j": 12.0})
    samples = counted(replace(DONE, attempts=(), cached=cached, engine=EngineTimings()))

    assert (1.0, None, 40.0, 3.5, 12.0) == (
        at(samples, "drover_cache_lookups_total", outcome="hit", kind="exact"),
        at(samples, "drover_tokens_total", device="pi5", type="completion"),
        at(samples, "drover_cache_saved_tokens_total"),
        at(samples, "drover_cache_saved_seconds_total"),
        at(samples, "drover_cache_saved_joules_total"),
    )


def energy(joules: float, **more: Any) -> Energy:
    return Energy(joules=joules, measured=more.pop("measured", True), source="hwmon", **more)


def test_joules_go_to_the_device_that_took_them() -> None:
    """Those of a lost attempt to its own device, what is left of the whole to the one that answered."""
    lost = Attempt(
        number=1,
        device="nano",
        model="m:1b",
        outcome="device_lost",
        beside=True,
        energy=energy(3.0, measured=False, lost_joules=3.0),
    )
    whole = energy(10.0, measured=False, idle_joules=4.0, lost_joules=3.0, cost=0.002, currency="EUR", co2e_g=1.5)
    samples = counted(replace(DONE, attempts=(lost, *DONE.attempts), energy=whole))

    assert (3.0, 7.0, 4.0, 3.0, 0.002, 1.5, 1.0) == (
        at(samples, "drover_energy_joules_total", device="nano", measured="false"),
        at(samples, "drover_energy_joules_total", device="pi5", measured="false"),
        at(samples, "drover_energy_idle_joules_total"),
        at(samples, "drover_energy_lost_joules_total"),
        at(samples, "drover_energy_cost_total", currency="EUR"),
        at(samples, "drover_energy_co2e_grams_total"),
        at(samples, "drover_hedges_total", outcome="device_lost"),
    )


def test_attempts_that_tell_all_leave_no_rest() -> None:
    """Where each attempt has its joules, they are not counted twice."""
    told = replace(DONE.attempts[0], energy=energy(0.1 + 0.2))
    samples = counted(replace(DONE, attempts=(told,), energy=energy(0.3, measured=False)))

    assert (pytest.approx(0.3), None) == (
        at(samples, "drover_energy_joules_total", device="pi5", measured="true"),
        at(samples, "drover_energy_joules_total", device="pi5", measured="false"),
    )


def test_devices_beyond_the_bound_are_one() -> None:
    """A thousand of them fill no Prometheus."""
    many = [
        replace(DONE, device=f"d{number}", attempts=(replace(DONE.attempts[0], device=f"d{number}"),))
        for number in range(10)
    ]
    samples = counted(*many, devices=3)
    series = {labels: value for (name, labels), value in samples.items() if name == "drover_attempts_total"}

    assert (4, 7.0) == (len(series), series[frozenset({("device", "other"), ("outcome", "ok")})])


def test_no_series_names_a_tenant_or_a_job() -> None:
    """They are as many as anybody likes, and nobody else's business."""
    names = {label for _, labels in counted(DONE) for label, _ in labels}

    assert set() == names & {"tenant", "job", "user", "prompt"}


def test_invented_devices_do_not_take_the_names_for_good() -> None:
    """A fleet of strangers fills the labels and goes away: an hour later the honest device has a series again, and so has its
    model, while what another device has too goes on being counted."""
    metrics, roster, devices, models = Metrics(), Roster(forget_after_s=3600.0), Names(2), Names(2)
    sink = MetricsSink(metrics, devices=devices, models=models)
    roster.on_change(Forgetting(metrics, roster, devices=devices, models=models).note)

    def ran(device: str, name: str) -> None:
        told = replace(DONE, device=device, model=name, attempts=(replace(DONE.attempts[0], device=device),))
        asyncio.run(sink.write(told))

    roster.observe(beat("stranger", models=(model("no:1b"), model("m:1b"))), 0.0)
    for name in ("no:1b", "m:1b"):
        ran("stranger", name)
    ran("stranger-2", "m:1b")
    roster.observe(beat("stranger-2", models=(model("m:1b"),)), 0.0)
    roster.observe(beat("honest", models=(model("m:1b"), model("q:7b"))), 0.0)
    ran("honest", "q:7b")
    unnamed = page_of(metrics)
    for now_s in (10.0, 3700.0):
        roster.observe(beat("honest", seq=int(now_s), models=(model("m:1b"), model("q:7b"))), now_s)
        roster.sweep(now_s)
    ran("honest", "q:7b")
    named = page_of(metrics)

    assert (None, 1.0) == (
        at(unnamed, "drover_attempts_total", device="honest", outcome="ok"),
        at(named, "drover_attempts_total", device="honest", outcome="ok"),
    )
    assert (None, 40.0, 40.0) == (
        at(named, "drover_model_tokens_total", model="no:1b", type="completion"),
        at(named, "drover_model_tokens_total", model="q:7b", type="completion"),
        at(unnamed, "drover_model_tokens_total", model=OTHER, type="completion"),
    )
    assert 80.0 == at(named, "drover_model_tokens_total", model="m:1b", type="completion")

"""What `drover top` makes of what the bus brings."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from common import codec
from common.bus import Delivery
from common.subjects import Subjects
from dispatcher.cli.board import Board
from dispatcher.cli.sight import GONE_S, SAMPLE_KEPT_S, Watch

SUBJECTS = Subjects()


def watch() -> Watch:
    return Watch(Board(), SUBJECTS, server="nats://here", since_s=0.0)


def beat(seen: Watch, device: str, **more: Any) -> None:
    body = {"device": device, "boot": "b", "seq": 1, **more}
    seen.board.hear(SUBJECTS, Delivery(SUBJECTS.heartbeat(device), codec.encode(body)))


def sample(device: str, energy_j: float, *, boot: str = "b", watts: float = 5.0, subject: str = "") -> Delivery:
    body = {
        "device": device,
        "boot": boot,
        "seq": 1,
        "at_unix_s": 1.0,
        "watts": watts,
        "rail": "VDD_IN",
        "source": "ina3221",
        "measured": True,
        "uncertainty": 0.05,
        "energy_j": energy_j,
    }
    return Delivery(subject or SUBJECTS.power(device), codec.encode(body))


def ended(state: str, **told: Any) -> Delivery:
    return Delivery(SUBJECTS.job_event(state, "j1"), codec.encode(told))


def stats(name: str, **data: Any) -> Delivery:
    return Delivery("_INBOX.x", codec.encode({"id": name, "endpoints": [{"name": "chat", "data": data}]}))


def test_what_was_drawn_is_the_steps_of_the_devices_counters() -> None:
    """The first sample of a device is where its counter stood before anybody watched; a new boot counts from nothing."""
    seen = watch()
    for number, one in enumerate(
        (sample("a", 100.0), sample("a", 130.0), sample("b", 7.0), sample("a", 4.0, boot="c"))
    ):
        seen.power(one, float(number))

    assert 34.0 == seen.sight(5.0).drawn_j


def test_a_sample_is_preferred_while_it_is_new() -> None:
    """Watts come from the newest sample, and from the heartbeat when none has come for a while."""
    seen = watch()
    beat(seen, "a", watts=3.0, watts_measured=False)
    seen.power(sample("a", 1.0, watts=9.5), 1.0)

    assert (9.5, True) == (seen.sight(2.0).watts, seen.sight(2.0).watts_measured)
    assert (3.0, False) == (seen.sight(2.0 + SAMPLE_KEPT_S).watts, seen.sight(2.0 + SAMPLE_KEPT_S).watts_measured)


def test_a_sample_on_another_devices_subject_is_passed_over() -> None:
    """The server can hold a device to its subject, and to nothing that stands in the message."""
    seen = watch()
    beat(seen, "a", watts=3.0)
    seen.power(sample("a", 1.0, watts=900.0, subject=SUBJECTS.power("b")), 1.0)

    assert 3.0 == seen.sight(1.0).watts


def test_devices_without_watts_are_counted_apart() -> None:
    """A sum over some of the devices is not told as that of all."""
    seen = watch()
    beat(seen, "a", watts=3.0, watts_measured=True)
    beat(seen, "b")

    assert (3.0, True, 1) == ((now := seen.sight(1.0)).watts, now.watts_measured, now.unmetered)


def test_jobs_a_minute_need_some_watching() -> None:
    """In the first seconds it would be chance; afterwards it is over the last minute."""
    seen = watch()
    for second in range(30):
        seen.job(ended("done"), float(second))

    assert None is seen.sight(5.0).jobs_per_min
    assert 60.0 == seen.sight(30.0).jobs_per_min
    assert 10.0 == seen.sight(79.5).jobs_per_min


def test_a_job_tells_its_receipt() -> None:
    """State from the subject, the rest from the event, joules with whether they were measured."""
    seen = watch()
    seen.job(
        ended(
            "done", device="a", model="m", total_s=2.5, completion_tokens=9, energy={"joules": 4.0, "measured": True}
        ),
        1.0,
    )
    job = seen.sight(4.0).jobs[0]

    assert ("done", "a", "m", 2.5, 9, 4.0, True) == (
        job.state, job.device, job.model, job.total_s, job.tokens, job.joules, job.measured,
    )  # fmt: skip
    assert 3.0 == job.at_s


def test_dispatchers_that_say_nothing_any_more_are_not_counted() -> None:
    """Two dispatchers have two queues; one that has gone has none."""
    seen = watch()
    seen.stats(stats("x", waiting=3, running=1, queue_limit=10), 0.0)
    seen.stats(stats("y", waiting=4, running=1, queue_limit=10), 5.0)

    assert 7 == seen.sight(6.0).waiting
    assert 4 == seen.sight(GONE_S).waiting


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b"{",
        codec.encode({"id": 7, "endpoints": 3}),
        codec.encode({"id": "x", "endpoints": [1]}),
    ],
)
def test_garbage_is_passed_over(garbage: bytes) -> None:
    """Whoever may publish may publish anything; the screen goes on."""
    seen = watch()
    seen.power(Delivery(SUBJECTS.power("a"), garbage), 1.0)
    seen.stats(Delivery("_INBOX.x", garbage), 1.0)
    seen.job(Delivery("llm.v1.evt.job", garbage), 1.0)
    seen.happened(Delivery("llm.v1.evt.dev", garbage), 1.0)
    now = seen.sight(2.0)

    assert (0, 0.0, (), 1, 1) == (now.waiting, now.drawn_j, now.queues, len(now.jobs), len(now.events))


def test_heartbeats_count_for_what_was_drawn() -> None:
    """The samples of an idle device are ten seconds apart: until one comes, the watts of its heartbeats are summed up."""
    seen = watch()
    beat(seen, "a", watts=3.0, interval_s=1.0)

    assert 6.0 <= seen.sight(monotonic() + 2.0).drawn_j <= 7.5


def test_a_sample_of_more_than_a_device_can_draw_is_passed_over() -> None:
    """One device must not drown the fleet's sum."""
    seen = watch()
    beat(seen, "a", watts=3.0)
    seen.power(sample("a", 1.0, watts=5000.1), 1.0)

    assert 3.0 == seen.sight(1.0).watts

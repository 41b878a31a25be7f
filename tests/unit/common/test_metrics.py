"""Counters, histograms and the page that they make, as Prometheus reads it; and where the page is to be shown."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.addresses import host_and_port, listen_address
from common.messages import Heartbeat, Speed
from common.metrics import OTHER, Family, Metrics, Names, gauge, written
from common.vitals import vitals


def shown(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of the page, by its name and labels."""
    page = written(metrics.families())[0].decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def labels(**of: str) -> frozenset[tuple[str, str]]:
    return frozenset(of.items())


def test_a_counter_adds_up_by_labels() -> None:
    """Each set of labels is a sum of its own, and the name gets its ending."""
    metrics = Metrics()
    jobs = metrics.counter("drover_jobs", "Jobs.", "state")
    jobs.add("done")
    jobs.add("done", by=2.5)
    jobs.add("failed")

    page = shown(metrics)

    assert (3.5, 1.0) == (
        page["drover_jobs_total", labels(state="done")],
        page["drover_jobs_total", labels(state="failed")],
    )


def test_a_counter_without_labels_is_there_from_the_start() -> None:
    """A rate over what was never counted is nought, and not nothing."""
    metrics = Metrics()
    metrics.counter("drover_bytes", "Bytes.")

    assert 0.0 == shown(metrics)["drover_bytes_total", labels()]


def test_a_histogram_counts_what_is_below_each_bound() -> None:
    """A bound belongs to its own bucket, and what exceeds all of them to the last."""
    metrics = Metrics()
    seconds = metrics.histogram("drover_s", "Seconds.", bounds=(0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 30.0):
        seconds.observe(value)

    page = shown(metrics)
    found = [page["drover_s_bucket", labels(le=bound)] for bound in ("0.1", "1.0", "+Inf")]

    assert ([2.0, 3.0, 4.0], 4.0, 30.65) == (
        found,
        page["drover_s_count", labels()],
        pytest.approx(page["drover_s_sum", labels()]),
    )


def test_names_beyond_the_bound_are_other() -> None:
    """Whatever a producer or a fleet calls its models, the page has an end."""
    names = Names(2)

    assert ["a", "b", OTHER, "a", ""] == [names("a"), names("b"), names("c"), names("a"), names(None)]


def test_a_name_that_is_freed_makes_room() -> None:
    """Whoever is gone takes no place from those who are there."""
    names = Names(1)
    before = [names("gone"), names("here")]
    names.free("gone")

    assert ["gone", OTHER, "here", OTHER] == [*before, names("here"), names("gone")]


def test_what_is_forgotten_is_shown_no_more() -> None:
    """The series of one value of a label end; those of others, and those without the label, stay."""
    metrics = Metrics()
    tokens, waits = metrics.counter("drover_t", "T.", "type", "device"), metrics.histogram("drover_s", "S.", "device")
    for device in ("gone", "here"):
        tokens.add("prompt", device, by=3.0)
        waits.observe(1.0, device)
    metrics.counter("drover_jobs", "J.", "gone").add("gone")
    metrics.forget("device", "gone")
    page = shown(metrics)

    assert {("drover_t_total", "here"), ("drover_s_count", "here"), ("drover_jobs_total", None)} == {
        (name, dict(of).get("device")) for name, of in page if name.endswith(("_total", "_count")) and "drover" in name
    }


def test_a_source_that_fails_leaves_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """What else there is to show is shown."""
    metrics = Metrics()

    def ill() -> Iterable[Family]:
        raise RuntimeError("it is ill")

    metrics.ask(ill)
    metrics.ask(lambda: [gauge("drover_up", "Up.", 1.0)])

    assert 1.0 == shown(metrics)["drover_up", labels()]


def test_hostile_labels_stay_labels() -> None:
    """A device that calls itself by quotes and line breaks adds no series of its making."""
    evil = 'x"} 1\ndrover_fake 7'
    metrics = Metrics()
    metrics.ask(lambda: [gauge("drover_up", "Up.", {(evil,): 1.0}, "device")])

    page = shown(metrics)

    assert (1.0, False) == (
        page["drover_up", labels(device=evil)],
        any(name == "drover_fake" for name, _ in page),
    )


def test_two_of_them_know_nothing_of_one_another() -> None:
    """Nothing is global: the same name may stand in both."""
    one, other = Metrics(), Metrics()
    one.counter("drover_jobs", "Jobs.").add()
    other.counter("drover_jobs", "Jobs.")

    assert (1.0, 0.0) == (
        shown(one)["drover_jobs_total", labels()],
        shown(other)["drover_jobs_total", labels()],
    )


def test_a_heartbeat_shows_what_it_tells_and_no_more() -> None:
    """What a device does not know has no series: a nought would be a lie."""
    beat = Heartbeat(
        device="pi5",
        boot="b",
        seq=1,
        slots=2,
        watts=7.5,
        watts_measured=False,
        battery_percent=50.0,
        done=3,
        speeds={"m:1b": Speed(jobs=3, decode_tps=12.5)},
    )
    metrics = Metrics()
    metrics.ask(lambda: vitals([beat], "drover_device"))

    page = shown(metrics)
    pi5 = labels(device="pi5")

    assert (2.0, 7.5, 0.0, 0.5, 3.0, 12.5) == (
        page["drover_device_slots", pi5],
        page["drover_device_power_watts", pi5],
        page["drover_device_power_measured", pi5],
        page["drover_device_battery_ratio", pi5],
        page["drover_device_attempts_total", labels(device="pi5", result="done")],
        page["drover_device_decode_tokens_per_second", labels(device="pi5", model="m:1b")],
    )
    assert ("drover_device_temperature_celsius", pi5) not in page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("OFF", "off"),
        ("9464", "127.0.0.1:9464"),
        (":9464", "127.0.0.1:9464"),
        ("0.0.0.0:9464", "0.0.0.0:9464"),
        ("[::1]:0", "[::1]:0"),
        ("metrics.lan:80", "metrics.lan:80"),
    ],
)
def test_an_address_without_a_host_is_the_loopbacks(text: str, expected: str) -> None:
    """Only who names another address opens the page to other machines."""
    assert expected == listen_address(text)


@pytest.mark.parametrize(
    "text", ["on", "http://127.0.0.1:9464", "127.0.0.1", "1:2:3", "127.0.0.1:9464/metrics", "host:99999"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """With the forms that are taken."""
    with pytest.raises(ValueError, match=r"no address|[Pp]ort"):
        host_and_port(text)

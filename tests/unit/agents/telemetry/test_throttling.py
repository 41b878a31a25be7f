"""Why a board is slow, by its own files: recorded ones, made ones, and garbage."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.telemetry.throttling import (
    Cooler,
    Events,
    Finding,
    Throttling,
    coolers,
    cooling,
    over_current,
    pi_bits,
    x86,
)
from common.throttling import MOST_CHARS, MOST_TEXTS, Throttle, fitting, kind_of, told
from tests.unit.agents.telemetry.machine import RECORDED, put
from tests.unit.agents.telemetry.machine import coolers as with_coolers

LINES = [
    (line, *expected)
    for name in ("get_throttled", "get_throttled_sysfs")
    for line, expected in RECORDED[name]["lines"].items()
]
THOR = [Cooler(*one) for one in RECORDED["cooling_thor"]["devices"]]


def unasked() -> str:
    raise AssertionError("the firmware was asked, though a file tells, or this is no Pi")


def kinds(finding: Finding) -> list[Throttle | None]:
    return [kind_of(text) for text in finding.now]


@pytest.mark.parametrize(("line", "now", "past"), LINES)
def test_the_firmwares_bits_become_words(line: str, now: list[str], past: list[str]) -> None:
    """What holds now is a reason by its kind; what was since the boot, and holds no more, is for the owner."""
    found = pi_bits(f"{line}\n")

    assert (True, now) == (found.known, [str(kind) for kind in kinds(found)])
    assert [True] * len(past) == [word in text for word, text in zip(past, found.past, strict=True)]


@pytest.mark.parametrize(
    "text", ["", "throttled=", 'error=1 error_msg="VCHI"', "0x", "throttled=0x123456789", "-5", "\uff11"]
)
def test_other_words_of_the_firmware_tell_nothing(text: str) -> None:
    """Then nobody can tell, which is not the same as fine."""
    assert Finding(known=False) == pi_bits(text)


@given(st.text(max_size=40))
def test_garbage_from_the_firmware_never_raises(text: str) -> None:
    """Whatever it says, the words fit a heartbeat."""
    found = pi_bits(text)

    assert all(kind is not None for kind in kinds(found))


def changed(**states: int) -> list[Cooler]:
    """The Thor, with some of its cooling devices on; `_` stands for `-`."""
    on = {name.replace("_", "-"): state for name, state in states.items()}
    return [Cooler(one.name, on.get(one.name, one.state), one.most) for one in THOR]


@pytest.mark.parametrize(
    ("devices", "now"),
    [
        (THOR, ()),  # its fan runs, and that is no throttling
        (changed(gpu_throttle_alert=1), ("thermal throttling: gpu-throttle-alert at 1 of 2",)),
        (
            changed(gpu_throttle_alert=1, soc345_throttle_alert=2),
            ("thermal throttling: soc345-throttle-alert at 2 of 2",),
        ),
        (
            changed(devfreq_gpu_gpc_0=18),
            ("soft temperature limit: devfreq-gpu-gpc-0 lowered by 18 of 169 steps",),
        ),
        (
            changed(devfreq_gpu_gpc_0=18, cpufreq_cpu0=24),
            ("thermal throttling: cpufreq-cpu0 lowered by 24 of 48 steps",),
        ),
        ([Cooler("TCC Offset", 10, 63), Cooler("intel_powerclamp", -1, 100), Cooler("iwlwifi_1", 3, 19)], ()),
        ([Cooler("Processor", 3, 10)], ("soft temperature limit: Processor lowered by 3 of 10 steps",)),
        ([Cooler("cpufreq-cpu0", 1, 0)], ("thermal throttling: cpufreq-cpu0 lowered by 1 of 0 steps",)),
    ],
)
def test_cooling_devices_that_slow_what_computes_count(devices: list[Cooler], now: tuple[str, ...]) -> None:
    """The worst alert and the worst clock; a little lower is a gentle limit, half the range is throttling."""
    assert now == cooling(devices).now


def test_a_hot_surface_is_for_the_owner() -> None:
    """It slows nothing down."""
    found = cooling([Cooler("hot-surface-alert", 1, 1)])

    assert ((), 1) == (found.now, len(found.past))


def test_cooling_devices_are_read_where_they_can_be(tmp_path: Path) -> None:
    """One whose state is no number is left out."""
    with_coolers(
        tmp_path, [["cpu-throttle-alert", 1, 2], ["gpu-throttle-alert", "?", 2], ["cv0-throttle-alert", 0, "?"]]
    )

    assert [Cooler("cpu-throttle-alert", 1, 2), Cooler("cv0-throttle-alert", 0, 0)] == coolers(
        tmp_path / "sys/class/thermal"
    )


def test_counters_tell_what_came_since_the_last_look() -> None:
    """The first look knows no change, nor does one after a counter went back."""
    events = Events()

    assert [{}, {"a": 3}, {}, {}, {"a": 1}] == [
        events.since(counts) for counts in ({"a": 5}, {"a": 8}, {"a": 8, "b": 7}, {"a": 1, "b": 7}, {"a": 2})
    ]


def test_an_orins_over_current_is_told_as_such() -> None:
    """By the thousand in its fastest mode: recorded, with one more second of them."""
    counts = RECORDED["soctherm_oc"]["counts"]
    found = over_current({**counts, "3": counts["3"] + 8}, {"3": 8})

    assert (("over-current: 8 events of over-current since the last look",), ()) == (found.now, found.past)


def test_an_orins_under_voltage_stays_a_warning() -> None:
    """The supply is looked at by somebody who has time, long after the moment."""
    found = over_current({"1": 4, "2": 0, "3": 0}, {})

    assert ((), ("4 events of under-voltage since the last boot: look at the power supply",)) == (found.now, found.past)


def test_x86_tells_by_its_counters() -> None:
    """Cores of one package count the same events: the highest number is told."""
    assert ["thermal throttling: the processor did it 4 times since the last look"] == list(
        x86({"cpu0": 9, "cpu1": 9}, {"cpu0": 4, "cpu1": 3}).now
    )


def test_a_machine_is_looked_at_as_a_whole(tmp_path: Path) -> None:
    """An Orin's cooling and its counters, and the counters of a processor, from look to look."""
    with_coolers(tmp_path, [["gpu-throttle-alert", 1, 2]])
    put(tmp_path, "sys/class/hwmon/hwmon2/name", "soctherm_oc\n")
    put(tmp_path, "sys/class/hwmon/hwmon2/oc3_event_cnt", "37\n")
    put(tmp_path, "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "5\n")
    looks = Throttling(tmp_path, unasked)
    first = looks.look(pi=False)
    put(tmp_path, "sys/class/hwmon/hwmon2/oc3_event_cnt", "40\n")
    put(tmp_path, "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "6\n")
    second = looks.look(pi=False)

    assert [Throttle.THERMAL] == kinds(first)
    assert [Throttle.THERMAL, Throttle.OVER_CURRENT, Throttle.THERMAL] == kinds(second)


def test_a_machine_that_tells_nothing_is_unknown(tmp_path: Path) -> None:
    """That it is not throttled would be a claim."""
    assert Finding(known=False) == Throttling(tmp_path, unasked).look(pi=False)


@pytest.mark.parametrize("folder", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"])
def test_a_pi_is_asked_by_file_where_it_has_one(tmp_path: Path, folder: str) -> None:
    """Kernels name the folder differently."""
    put(tmp_path, f"sys/devices/platform/{folder}/get_throttled", "4\n")

    assert [Throttle.THERMAL] == kinds(Throttling(tmp_path, unasked).look(pi=True))


def test_a_pi_without_the_file_is_asked_by_its_tool(tmp_path: Path) -> None:
    """`vcgencmd get_throttled` says the same."""
    assert [Throttle.UNDER_VOLTAGE] == kinds(Throttling(tmp_path, lambda: "throttled=0x1\n").look(pi=True))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("under-voltage", Throttle.UNDER_VOLTAGE),
        ("frequency cap: x: y", Throttle.FREQUENCY_CAP),
        ("fog", None),
        ("", None),
    ],
)
def test_a_reason_is_known_by_how_it_begins(text: str, kind: Throttle | None) -> None:
    """Words of agents that are newer than the dispatcher are of no kind."""
    assert kind is kind_of(text)


@given(st.sampled_from(Throttle), st.text(max_size=30))
def test_what_is_told_is_understood(kind: Throttle, details: str) -> None:
    """Whatever the details are."""
    assert kind is kind_of(told(kind, details))


@given(st.lists(st.text(max_size=300), max_size=40))
def test_what_a_heartbeat_holds_is_bounded(texts: list[str]) -> None:
    """Each text once, in its order, cut where it is too long."""
    kept = fitting(texts)

    assert len(kept) == len(set(kept)) <= MOST_TEXTS
    assert max(map(len, kept), default=0) <= MOST_CHARS

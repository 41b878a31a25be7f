"""What a device's owner is told, from values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.backends import Version
from agents.complaints import complaints, off_gpu, short_of, too_old
from agents.heartbeat import Identity, heartbeat
from agents.inventory import Stock
from agents.tally import Workload
from agents.telemetry import Readings
from common import codec
from common.messages import Heartbeat, ModelInfo

GB = 1_000_000_000


def loaded(memory_gb: float, gpu_gb: float, name: str = "llama3.2:1b") -> ModelInfo:
    return ModelInfo(name=name, loaded=True, memory_bytes=int(memory_gb * GB), gpu_bytes=int(gpu_gb * GB))


@pytest.mark.parametrize(
    ("model", "gpu", "said"),
    [
        (loaded(1.3, 0), True, ["llama3.2:1b runs on the CPU: size_vram 0 of 1.3 GB"]),
        (loaded(4.7, 3.1), True, ["llama3.2:1b runs partly on the CPU: size_vram 3.1 of 4.7 GB"]),
        (loaded(1.3, 1.3), True, []),
        (loaded(1.3, 1.28), True, []),  # buffers
        (loaded(1.3, 0), False, []),  # a Pi has none
        (loaded(1.3, 0), None, []),  # nobody knows whether there is one
        (ModelInfo(name="m", size_bytes=GB), True, []),  # not in memory
        (loaded(0, 0), True, []),
    ],
)
def test_a_model_that_runs_on_the_cpu_in_silence_is_named(model: ModelInfo, gpu: bool | None, said: list[str]) -> None:
    """Only where there is a GPU that it should run on, with what Ollama says of it."""
    assert said == list(off_gpu([model], gpu=gpu))


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("0.5.7", "Ollama 0.5.7 is too old: it does not tell which models see images"),
        ("0.6.3-rc1", "Ollama 0.6.3 is too old: it does not tell which models see images"),
        ("0.6.4", "Ollama 0.6.4 is too old: it does not tell with how large a context"),
        ("0.9.99", "install 0.10.0 or newer"),
        ("0.10.0", ""),
        ("0.33.0-simulated", ""),
        ("1.0.0", ""),
        ("0.0.0", ""),  # built from source
        ("nightly", ""),
    ],
)
def test_an_old_ollama_is_named_with_what_it_lacks(version: str, said: str) -> None:
    """By number, not by letters; the version that would do is told."""
    found = list(too_old(Version(version)))

    assert bool(said) == bool(found)
    assert said in "".join(found)


def test_only_ollama_has_ollamas_versions() -> None:
    """An echo of version 0.1.0 lacks nothing."""
    stock = Stock(seen=True, version=Version("0.1.0"))

    assert [0, 1] == [len(complaints(name, stock, Readings())) for name in ("echo", "ollama")]


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        (
            Readings(disk_total_bytes=29 * GB, disk_free_bytes=1_200_000_000),
            ["low disk: 1.2 of 29 GB free where the models are, too little to pull one"],
        ),
        (Readings(disk_total_bytes=29 * GB, disk_free_bytes=2 * GB), []),
        (Readings(disk_free_bytes=1), []),
        (
            Readings(memory_total_bytes=GB, memory_available_bytes=30_000_000),
            ["low memory: 30 MB of 1.0 GB available"],
        ),
        (Readings(memory_total_bytes=GB, memory_available_bytes=40_000_000), []),
        (Readings(battery_percent=12.4, on_battery=True), ["low battery: 12 %"]),
        (Readings(battery_percent=12.4, on_battery=False), []),
    ],
)
def test_what_runs_out_is_told_before_it_has(readings: Readings, said: list[str]) -> None:
    """Disk, memory, battery: each with its figure."""
    assert said == list(short_of(readings))


def test_all_of_it_goes_out_with_the_heartbeat() -> None:
    """What is felt and what is to be looked at stand in it, with the site, and survive the wire."""
    identity = Identity(
        device="nano", boot="b1", interval_s=1.0, topics=(), backend="ollama", site="kitchen", agent_version="0.1.0"
    )
    readings = Readings(
        throttled=True,
        throttling=("under-voltage: 4.5 V",),
        warnings=("its surface is hot",),
        power_mode="15W",
        gpu=True,
        disk_total_bytes=64 * GB,
        disk_free_bytes=GB,
        battery_percent=55.5,
        on_battery=True,
    )
    stock = Stock(seen=True, models=(loaded(1.3, 0),), version=Version("0.33.0"))
    built = heartbeat(identity, Workload(slots=1), stock, readings, seq=1, uptime_s=1.0)

    heard = codec.build(Heartbeat, codec.decode(codec.encode(codec.plain(built))))
    assert heard.warnings == (
        "llama3.2:1b runs on the CPU: size_vram 0 of 1.3 GB",
        "low disk: 1.0 of 64 GB free where the models are, too little to pull one",
        "its surface is hot",
    )
    assert (True, ("under-voltage: 4.5 V",), "15W", True, "kitchen", 55.5, True) == (
        heard.throttled,
        heard.throttling,
        heard.power_mode,
        heard.gpu,
        heard.site,
        heard.battery_percent,
        heard.on_battery,
    )
    assert (64 * GB, GB) == (heard.disk_total_bytes, heard.disk_free_bytes)


@given(st.lists(st.text(min_size=1, max_size=200), max_size=30), st.text(max_size=20))
def test_no_name_and_no_version_breaks_a_heartbeat(names: list[str], version: str) -> None:
    """A device with many models on its CPU is still heard."""
    stock = Stock(seen=True, models=tuple(loaded(1.0, 0, name) for name in names), version=Version(version))
    identity = Identity(device="nano", boot="b1", interval_s=1.0, topics=(), backend="ollama", agent_version="0")
    built = heartbeat(identity, Workload(slots=1), stock, Readings(gpu=True), seq=1, uptime_s=1.0)

    heard = codec.build(Heartbeat, codec.plain(built))

    assert len(heard.warnings) <= 16

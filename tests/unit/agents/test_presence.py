"""How an agent shows itself to the discovery."""

from __future__ import annotations

from dataclasses import replace

from ulid import ULID

from agents.heartbeat import Identity
from agents.inventory import Stock
from agents.presence import endpoints, service_info
from agents.tally import Workload
from common.messages import DeviceState, ModelInfo, Speed

IDENTITY = Identity(device="nano", boot="B1", interval_s=1.0, topics=(), backend="ollama", agent_version="0.1.0")


def test_a_restarted_agent_is_another_instance() -> None:
    """The boot is the id; the device stands in the metadata."""
    info = service_info(IDENTITY)

    assert (info.name, info.id, info.metadata["device"]) == ("llm-agent", "B1", "nano")


def test_a_device_with_the_longest_name_shows_itself() -> None:
    """64 characters are a name, and 64 are all that an id may have."""
    info = service_info(replace(IDENTITY, device="d" * 64, boot=str(ULID())))

    assert info.metadata["device"] == "d" * 64


def test_the_job_endpoint_carries_slots_models_and_speeds() -> None:
    """What `nats micro stats` prints is what a person needs to see how the device does."""
    workload = Workload(
        slots=2, in_flight=1, asked=9, failed=3, spent_s=1.5, last_error="boom", speeds={"m": Speed(jobs=6)}
    )
    stock = Stock(seen=True, models=(ModelInfo(name="m", loaded=True), ModelInfo(name="n")))

    job = endpoints(lambda verb: f"dev.nano.{verb}", DeviceState.READY, workload, stock)[0]

    assert (job.subject, job.requests, job.errors, job.last_error, job.processing_ns) == (
        "dev.nano.job",
        9,
        3,
        "boom",
        1_500_000_000,
    )
    assert job.data == {
        "state": "ready",
        "slots": 2,
        "in_flight": 1,
        "models": ["m", "n"],
        "loaded": ["m"],
        "speeds": {"m": {"jobs": 6}},
    }


def test_all_doors_are_listed() -> None:
    """Nothing that answers is hidden."""
    listed = endpoints(lambda verb: f"dev.nano.{verb}", DeviceState.READY, Workload(slots=1), Stock())

    assert [endpoint.subject for endpoint in listed] == [
        "dev.nano.job",
        "dev.nano.cancel",
        "dev.nano.drain",
        "dev.nano.probe",
        "dev.nano.load",
    ]

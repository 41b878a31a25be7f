"""What a doctor makes of troubles: verdicts, what to do, and its own bugs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from common import doctor, doctor_machine
from common.doctor import Finding, Verdict
from common.messages import DeviceState, Heartbeat
from common.settings import BusSection
from dispatcher.cli.doctor_fleet import devices


@dataclass(frozen=True)
class _Tree:
    bus: BusSection


async def _broken() -> Sequence[Finding]:
    raise KeyError("oops")


async def _endless() -> Sequence[Finding]:
    await asyncio.Event().wait()
    return ()


async def test_a_check_that_crashes_is_a_fault_that_names_the_bug() -> None:
    """And the others tell what they found."""
    found = await doctor.look({"a": _broken, "b": doctor.aside(doctor_machine.python)})

    assert [(one.check, one.verdict) for one in found] == [("a", Verdict.FAULT), ("python", Verdict.OK)]
    assert "KeyError: 'oops'" in found[0].seen
    assert doctor.status(found) == 1


async def test_a_check_that_hangs_is_given_up() -> None:
    """It is worth a warning, and no more: the machine may be busy."""
    [found] = await doctor.look({"a": _endless}, limit_s=0.01)

    assert (found.verdict, doctor.status([found])) == (Verdict.WARNING, 0)


@pytest.mark.parametrize(("mode", "verdict"), [(0o600, Verdict.OK), (0o640, Verdict.FAULT), (0o604, Verdict.FAULT)])
def test_a_seed_is_nobody_elses_to_read(tmp_path: Path, mode: int, verdict: Verdict) -> None:
    """What to do is said with the file's name."""
    seed = tmp_path / "device.nk"
    seed.write_text("SUAA")
    seed.chmod(mode)
    [found] = doctor_machine.secret_files(BusSection(nkey_file=str(seed)))

    assert (verdict, f"chmod 600 {seed}" if verdict is Verdict.FAULT else "") == (found.verdict, found.do)


def test_a_seed_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    """The knob is named."""
    [found] = doctor_machine.secret_files(BusSection(nkey_file=str(tmp_path / "gone.nk")))

    assert (found.verdict, "NATS_NKEY" in found.seen) == (Verdict.FAULT, True)


@pytest.mark.parametrize(
    ("field", "do"), [("nkey_file", "drover device add"), ("creds_file", "nsc"), ("key_file", "NATS_CERT")]
)
def test_what_makes_a_missing_file_is_named_for_each_kind(tmp_path: Path, field: str, do: str) -> None:
    """`drover nats init` makes neither credentials nor certificates."""
    [found] = doctor_machine.secret_files(BusSection(**{field: str(tmp_path / "gone")}))

    assert (str(tmp_path / "gone") in found.seen, do in found.do) == (True, True)


@pytest.mark.parametrize(
    ("text", "mode", "verdict"),
    [
        ("NATS_PASSWORD=x\n", 0o644, Verdict.FAULT),
        ("NATS_PASSWORD=x\n", 0o600, Verdict.OK),
        ("NATS_URL=nats://me:word@here\n", 0o604, Verdict.FAULT),
        ("NATS_URL=nats://here\n", 0o604, Verdict.OK),
        ("NATS_PASSWORD=\nNATS_USER=me\n", 0o644, Verdict.OK),
    ],
)
def test_env_is_closed_while_it_holds_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, mode: int, verdict: Verdict
) -> None:
    """And may be open while it holds none."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".env"
    file.write_text(text)
    file.chmod(mode)
    [found] = doctor_machine.env_file(_Tree(BusSection()))

    assert verdict is found.verdict


def beat(device: str, boot: str, **fields: object) -> Heartbeat:
    return Heartbeat(device=device, boot=boot, seq=1, **fields)  # type: ignore[arg-type]


def test_two_agents_of_one_name_are_a_fault() -> None:
    """As of cards that were copied."""
    found = devices({"nano": {"b1": beat("nano", "b1"), "b2": beat("nano", "b2")}, "pi": {"b3": beat("pi", "b3")}})

    assert [("device nano", Verdict.FAULT)] == [
        (one.check, one.verdict) for one in found if one.verdict is Verdict.FAULT
    ]


def test_an_agent_that_was_restarted_is_no_namesake_of_itself() -> None:
    """Its last word under the old boot was that it goes."""
    old = beat("nano", "b1", state=DeviceState.STOPPED)

    assert [Verdict.OK] == [one.verdict for one in devices({"nano": {"b1": old, "b2": beat("nano", "b2")}})]


def test_what_a_device_complains_of_is_a_warning_and_a_faulty_one_a_fault() -> None:
    """In the device's own words."""
    hot = beat("pi", "b1", warnings=("low disk",))
    dead = beat("nano", "b2", state=DeviceState.FAULTY, reason="no Ollama answers")
    found = devices({"pi": {"b1": hot}, "nano": {"b2": dead}})

    assert [(Verdict.FAULT, "no Ollama answers"), (Verdict.WARNING, "low disk")] == [
        (one.verdict, one.seen) for one in found
    ]

"""What kind of board it is, by recorded files of real ones, and by garbage."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.telemetry.board import compatible, gpu, is_pi, mode_of, power_mode, said_mode
from tests.unit.agents.telemetry.machine import RECORDED, board, put

FILES = RECORDED["nvpmodel_files"]


def unasked() -> str:
    raise AssertionError("nvpmodel was run, though its files tell the mode")


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        ("orin", ["dev/nvgpu/igpu0"], True),
        ("orin", ["sys/class/devfreq/17000000.gpu/load"], True),
        ("orin", [], None),  # a container that sees no device
        ("nano", ["dev/nvhost-gpu", "sys/devices/gpu.0/load"], False),  # no Ollama uses that one
        ("pi5", [], False),
        ("", ["proc/driver/nvidia/version"], True),
        ("", [], None),
    ],
)
def test_a_gpu_is_one_that_models_should_run_on(
    tmp_path: Path, name: str, files: list[str], expected: bool | None
) -> None:
    """Unknown is told apart from none: of an unknown one nobody expects anything."""
    if name:
        board(tmp_path, name)
    for path in files:
        put(tmp_path, path, "x")

    assert gpu(tmp_path, compatible(tmp_path)) is expected


@pytest.mark.parametrize(("name", "expected"), [("pi5", True), ("orin", False), ("nano", False)])
def test_a_pi_is_known_by_its_device_tree(tmp_path: Path, name: str, expected: bool) -> None:
    """Only its firmware is asked about throttling."""
    assert is_pi(compatible(board(tmp_path, name))) is expected


@pytest.mark.parametrize(("status", "mode"), [one for one in FILES["status"].items() if one[1]])
def test_the_power_mode_stands_in_files(tmp_path: Path, status: str, mode: str) -> None:
    """Everybody may read them, and no process is started."""
    put(tmp_path, "etc/nvpmodel.conf", FILES["conf"])
    put(tmp_path, "var/lib/nvpmodel/status", f"{status}\n")

    assert power_mode(tmp_path, unasked) == mode


@pytest.mark.parametrize("status", ["", "pmode:0009", "pmode:x", "garbage"])
def test_the_tool_is_asked_where_the_files_do_not_tell(tmp_path: Path, status: str) -> None:
    """It needs no rights to tell."""
    put(tmp_path, "etc/nvpmodel.conf", FILES["conf"])
    put(tmp_path, "var/lib/nvpmodel/status", status)

    assert power_mode(tmp_path, lambda: "NV Power Mode: MAXN\n0\n") == "MAXN"


def test_a_machine_without_modes_is_not_asked(tmp_path: Path) -> None:
    """There is no nvpmodel on a Pi."""
    assert power_mode(tmp_path, unasked) is None


@pytest.mark.parametrize(("text", "mode"), RECORDED["nvpmodel_query"]["texts"].items())
def test_what_nvpmodel_prints_is_read(text: str, mode: str) -> None:
    """In both of its forms."""
    assert said_mode(text) == mode


@given(st.text(max_size=60), st.text(max_size=60))
def test_garbage_names_no_mode_that_a_heartbeat_could_not_hold(status: str, said: str) -> None:
    """Nothing raises, and what is found is short and in one piece."""
    found = [mode for mode in (mode_of(f"pmode:{status}", {"0": "15W"}), said_mode(f"NV Power Mode: {said}")) if mode]

    assert [] == [mode for mode in found if len(mode) > 64 or mode.split() != [mode]]

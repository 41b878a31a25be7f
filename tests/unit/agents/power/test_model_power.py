"""The estimate for devices without a sensor: which board it is, and how busy it is."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

import pytest

from agents.power.model import ModelPower, gpu_load, share
from agents.power.profiles import Board, board_of, this_board
from tests.unit.agents.power.trees import tree

BOARD = Board(name="pi-4", idle_w=2.6, busy_w=6.0, uncertainty=0.3)


@pytest.mark.parametrize(
    ("model", "machine", "name"),
    [
        ("Raspberry Pi 3 Model B Rev 1.2", "aarch64", "pi-3b"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "aarch64", "pi-3b-plus"),
        ("Raspberry Pi 4 Model B Rev 1.4", "aarch64", "pi-4"),
        ("Raspberry Pi 400 Rev 1.0", "aarch64", "pi-4"),
        ("Raspberry Pi 5 Model B Rev 1.0", "aarch64", "pi-5"),
        ("Raspberry Pi 500 Rev 1.0", "aarch64", "pi-5"),
        ("NVIDIA Jetson Nano Developer Kit", "aarch64", "jetson-nano"),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "aarch64", "jetson-orin-nano"),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "aarch64", "jetson-orin-nx"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "aarch64", "jetson-agx-orin"),
        ("Radxa ROCK 5B", "aarch64", "arm"),
        ("", "x86_64", "x86"),
        ("", "riscv64", "x86"),
    ],
)
def test_a_board_is_known_by_its_device_tree(model: str, machine: str, name: str) -> None:
    """Nobody's name is a part of another's; what is not known is taken for a computer of its architecture."""
    assert board_of(model, machine).name == name


def test_the_device_tree_s_name_ends_with_a_zero_byte(tmp_path: Path) -> None:
    """As strings of a device tree do."""
    where = tree(tmp_path, "firmware/devicetree/base", {})
    (where / "model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")

    assert this_board(tmp_path).name == "pi-4"


def test_every_board_draws_more_when_busy_and_says_where_that_is_from() -> None:
    """Each source is described, and each description is of use."""
    table = tomllib.loads(resources.files("agents.power").joinpath("profiles.toml").read_text(encoding="utf-8"))
    wrong = [row["name"] for row in table["boards"] if not 0 < row["idle_w"] < row["busy_w"] or not row["sources"]]
    used = {source for row in table["boards"] for source in row["sources"]}

    assert (wrong, used) == ([], set(table["sources"]))


@pytest.mark.parametrize(("utilisation", "watts"), [(0.0, 2.6), (0.5, 4.3), (1.0, 6.0), (7.0, 6.0), (-1.0, 2.6)])
def test_watts_follow_the_utilisation(utilisation: float, watts: float) -> None:
    """2.6 W and up to 3.4 W more."""
    assert BOARD.watts(utilisation) == pytest.approx(watts)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((0.0, 0.0), (5.0, 10.0), 0.5),
        ((1.0, 2.0), (1.0, 2.0), 0.0),
        ((5.0, 10.0), (4.0, 12.0), 0.0),
        ((0.0, 0.0), (9.0, 8.0), 1.0),
    ],
)
def test_the_share_is_of_the_time_between(
    before: tuple[float, float], after: tuple[float, float], expected: float
) -> None:
    """Counters that stand still or run back, as in a container that was moved, are nobody's load."""
    assert share(before, after) == expected


async def test_an_estimate_says_that_it_is_one(tmp_path: Path) -> None:
    """Between idle and busy, of the board, as wide as the table says."""
    reading = await ModelPower(BOARD, sysfs=tmp_path).read()

    assert (2.6 <= reading.watts <= 6.0, reading.rail, reading.source, reading.measured, reading.uncertainty) == (
        True,
        "pi-4",
        "model",
        False,
        0.3,
    )


async def test_a_busy_gpu_is_a_busy_board(tmp_path: Path) -> None:
    """Its load is told in thousandths; a model that runs on it leaves the processor idle."""
    tree(tmp_path, "class/devfreq/17000000.gpu/device", {"load": "1000"})
    reading = await ModelPower(BOARD, sysfs=tmp_path).read()

    assert reading.watts == 6.0


@pytest.mark.parametrize("text", ["", "n/a", "-5", "4000", "nan"])
def test_a_load_that_is_none_is_left_out(tmp_path: Path, text: str) -> None:
    """The processor's is known anyway."""
    tree(tmp_path, "devices/gpu.0", {"load": text})

    assert gpu_load(tmp_path) is None

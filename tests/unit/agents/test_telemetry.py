"""Memory and temperature, read from what a machine has and from what it has not."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agents.telemetry.host import HostSensors, hottest
from agents.telemetry.simulated import SimulatedSensors


def zones(root: Path, **temperatures: str) -> Path:
    for number, (name, text) in enumerate(temperatures.items()):
        zone = root / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "type").write_text(f"{name.replace('_', '-')}\n")
        (zone / "temp").write_text(text)
    return root


def test_the_hottest_computing_part_counts(tmp_path: Path) -> None:
    """A Jetson's PMIC reads a constant 100 °C, and is none."""
    thermal = zones(tmp_path, cpu_thermal="51250\n", gpu_thermal="53968\n", PMIC_Die="100000\n")

    assert hottest(thermal) == 53.968


def test_a_zone_of_any_name_serves_where_no_other_is(tmp_path: Path) -> None:
    """Better some temperature than none."""
    assert hottest(zones(tmp_path, acpitz="27800\n")) == 27.8


@pytest.mark.parametrize("text", ["-256000", "", "n/a", "999000"])
def test_a_sensor_that_is_off_is_left_out(tmp_path: Path, text: str) -> None:
    """Jetsons report -256 °C for it; others fail to answer."""
    assert hottest(zones(tmp_path, cpu_thermal=text, tj_thermal="40000")) == 40.0


def test_a_zone_that_vanishes_is_left_out(tmp_path: Path) -> None:
    """A zone directory without files is no failure."""
    (tmp_path / "thermal_zone0").mkdir()

    assert hottest(tmp_path) is None


def test_memory_is_read_where_no_temperature_is(tmp_path: Path) -> None:
    """Containers often have no thermal zones."""
    readings = HostSensors(tmp_path / "absent").read()

    assert readings.temperature_c is None
    assert 0 < (readings.memory_available_bytes or 0) <= (readings.memory_total_bytes or 0)


def test_a_simulator_that_is_down_has_no_readings() -> None:
    """Nothing listens on a port that was just closed."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

    readings = SimulatedSensors(f"http://127.0.0.1:{port}/sim/sensors").read()

    assert (readings.memory_total_bytes, readings.temperature_c) == (None, None)

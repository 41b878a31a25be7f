"""Heat, memory, disk and battery, read from what a machine has and from what it has not."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agents.telemetry.host import HostSensors, hottest, models_folder
from agents.telemetry.simulated import SimulatedSensors, readings_of
from agents.telemetry.supply import Battery, battery
from tests.unit.agents.telemetry.machine import board, coolers, put, supply, zones


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


def test_memory_and_disk_are_read_where_nothing_else_is(tmp_path: Path) -> None:
    """Containers often have no sensors: then nobody can tell whether the machine is throttled."""
    readings = HostSensors(tmp_path).read()

    assert (readings.temperature_c, readings.throttled, readings.throttling, readings.gpu) == (None, None, (), None)
    assert 0 < (readings.memory_available_bytes or 0) <= (readings.memory_total_bytes or 0)
    assert 0 < (readings.disk_free_bytes or 0) <= (readings.disk_total_bytes or 0)


def test_all_of_a_boards_facts_come_together(tmp_path: Path) -> None:
    """A Pi 5 with a weak supply, on a battery hat."""
    board(tmp_path, "pi5")
    put(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", "70005\n")
    zones(tmp_path / "sys/class/thermal", cpu_thermal="81000")
    supply(tmp_path, "BAT0", type="Battery", capacity="80", status="Discharging")
    readings = HostSensors(tmp_path).read()

    assert (True, False, 80.0, True, 81.0) == (
        readings.throttled,
        readings.gpu,
        readings.battery_percent,
        readings.on_battery,
        readings.temperature_c,
    )
    assert readings.throttling == (
        "under-voltage: the supply gives less than 4.63 V",
        "thermal throttling: the firmware holds the clock down",
    )
    assert readings.warnings == ("its clock was capped since the last boot",)


def test_one_broken_sensor_costs_no_other(tmp_path: Path) -> None:
    """Folders where files should be, and files where folders should be."""
    board(tmp_path, "orin")
    zones(tmp_path / "sys/class/thermal", cpu_thermal="50000")
    coolers(tmp_path, [["cpu-throttle-alert", "x", "y"]])
    (tmp_path / "etc/nvpmodel.conf").mkdir(parents=True)
    put(tmp_path, "sys/class/power_supply", "")
    readings = HostSensors(tmp_path).read()

    assert (50.0, None, None) == (readings.temperature_c, readings.power_mode, readings.throttled)


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ({}, Battery()),
        ({"AC": {"type": "Mains", "online": "1"}}, Battery()),
        ({"BAT0": {"type": "Battery", "capacity": "57", "status": "Charging"}}, Battery(57.0, discharging=False)),
        (
            {
                "BAT0": {"type": "Battery", "capacity": "40", "status": "Discharging"},
                "BAT1": {"type": "Battery", "capacity": "80", "status": "Not charging"},
            },
            Battery(60.0, discharging=True),
        ),
        ({"hidpp_battery_0": {"type": "Battery", "scope": "Device", "status": "Discharging"}}, Battery()),  # a mouse
        ({"BAT0": {"type": "Battery", "capacity": "4711"}}, Battery()),
    ],
)
def test_the_devices_own_batteries_count(
    tmp_path: Path, supplies: dict[str, dict[str, str]], expected: Battery
) -> None:
    """Several are one, the mains are none, and a mouse's is not the device's."""
    (tmp_path / "sys/class/power_supply").mkdir(parents=True)
    for name, facts in supplies.items():
        supply(tmp_path, name, **facts)

    assert expected == battery(tmp_path / "sys/class/power_supply")


def test_the_models_disk_is_the_nearest_folder_there_is(tmp_path: Path) -> None:
    """As told, or where Ollama's installer puts models; a folder that does not exist yet will be made on its parent's disk."""
    (tmp_path / "big").mkdir()
    service = tmp_path / "usr/share/ollama/.ollama/models"
    service.mkdir(parents=True)

    assert models_folder(tmp_path, tmp_path / "big/new/models") == tmp_path / "big"
    assert models_folder(tmp_path, None) in {service, Path.home() / ".ollama/models"}


def test_a_simulator_that_is_down_has_no_readings() -> None:
    """Nothing listens on a port that was just closed."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

    readings = SimulatedSensors(f"http://127.0.0.1:{port}/sim/sensors").read()

    assert (readings.memory_total_bytes, readings.temperature_c) == (None, None)


def test_nonsense_from_a_simulator_is_left_out() -> None:
    """Each reading for itself: what is no number, no flag and no text does not get into a heartbeat."""
    readings = readings_of(
        {
            "temperature_c": float("nan"),
            "battery_percent": True,
            "disk_free_bytes": -1,
            "gpu": "yes",
            "throttling": ["under-voltage", 7, "", "under-voltage"],
            "warnings": "dust",
            "power_mode": 15,
            "memory_total_bytes": 8,
        }
    )

    assert (None, None, None, None, None) == (
        readings.temperature_c,
        readings.battery_percent,
        readings.disk_free_bytes,
        readings.gpu,
        readings.power_mode,
    )
    assert (True, ("under-voltage",), (), 8) == (
        readings.throttled,
        readings.throttling,
        readings.warnings,
        readings.memory_total_bytes,
    )

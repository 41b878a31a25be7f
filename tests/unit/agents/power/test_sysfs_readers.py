"""Watts from trees of files, as the kernel shows them: INA3221, INA219 and its kin, RAPL."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.power import Absent, Unreadable
from agents.power.figures import text_of
from agents.power.hwmon import Hwmon, chosen, watts_of
from agents.power.ina3221 import Ina3221, hwmon_rails, iio_rails
from agents.power.rapl import Rapl, counts_of
from tests.unit.agents.power.recorded import AGX_ORIN_SECOND_SYSFS, ORIN_NANO_SYSFS, ORIN_NANO_SYSFS_W
from tests.unit.agents.power.trees import ina3221, rapl, tree

AGX_FIRST = {"VDD_GPU_SOC": (843.0, 6170.0), "VDD_CPU_CV": (800.0, 1000.0), "VIN_SYS_5V0": (5000.0, 700.0)}


async def test_an_orin_nano_s_input(tmp_path: Path) -> None:
    """Millivolts times milliamperes, of the rail that everything flows through."""
    tree(tmp_path, "class/hwmon/hwmon3", ORIN_NANO_SYSFS)
    reading = await Ina3221(tmp_path).read()

    assert (round(reading.watts, 3), reading.rail, reading.measured) == (ORIN_NANO_SYSFS_W, "VDD_IN", True)


async def test_an_agx_orin_has_two_chips(tmp_path: Path) -> None:
    """The three rails of the first are added, VDDQ of the second is only told, and NC is nothing."""
    ina3221(tmp_path, 1, AGX_FIRST)
    tree(tmp_path, "class/hwmon/hwmon2", AGX_ORIN_SECOND_SYSFS)
    reading = await Ina3221(tmp_path).read()

    # 0.843 x 6.17 + 0.8 x 1 + 5 x 0.7
    assert (reading.rail, round(reading.watts, 3), "VDDQ_VDD2_1V8AO" in reading.rails, "NC" in reading.rails) == (
        "sum3",
        9.501,
        True,
        False,
    )


def test_a_channel_that_is_switched_off_is_no_rail(tmp_path: Path) -> None:
    """It would read as nothing."""
    chip = ina3221(tmp_path, 0, {"A": (5000, 100), "B": (5000, 200)})
    (chip / "in2_enable").write_text("0\n")

    assert dict(hwmon_rails(tmp_path)) == {"A": 0.5}


def test_the_shunts_channels_are_no_rails(tmp_path: Path) -> None:
    """4 to 6 are microvolts, and 7 is their sum."""
    chip = ina3221(tmp_path, 0, {"VDD_IN": (5000, 100)})
    tree(chip, ".", {"in7_label": "sum of shunt voltages", "in7_input": "40", "curr4_input": "7", "in4_input": "8"})

    assert dict(hwmon_rails(tmp_path)) == {"VDD_IN": 0.5}


async def test_jetpack_4_shows_iio(tmp_path: Path) -> None:
    """Kernel 4.9 names rails from nought, and tells milliwatts itself."""
    tree(
        tmp_path,
        "bus/i2c/drivers/ina3221x/6-0040/iio:device0",
        {
            "rail_name_0": "POM_5V_IN",
            "in_power0_input": "2185",
            "rail_name_1": "POM_5V_GPU",
            "in_power1_input": "40",
            "rail_name_2": "POM_5V_CPU",
            "in_power2_input": "602",
        },
    )
    reading = await Ina3221(tmp_path).read()

    assert (reading.watts, reading.rail, reading.rails["POM_5V_CPU"]) == (2.185, "POM_5V_IN", 0.602)


def test_a_current_that_flows_backwards_is_a_fault(tmp_path: Path) -> None:
    """A few milliamperes below nothing are an offset; more is a wrong wiring."""
    ina3221(tmp_path, 0, {"A": (5000, -20)})
    small = dict(hwmon_rails(tmp_path))
    ina3221(tmp_path, 0, {"A": (5000, -2000)})
    with pytest.raises(Unreadable, match="backwards"):
        hwmon_rails(tmp_path)

    assert small == {"A": 0.0}


@pytest.mark.parametrize("reader", [Ina3221, Rapl, lambda root: Hwmon(root, wanted="")])
async def test_a_machine_without_the_chip_has_no_such_sensor(reader: type[Ina3221], tmp_path: Path) -> None:
    """That is nothing to mend."""
    with pytest.raises(Absent):
        await reader(tmp_path).read()


@pytest.mark.parametrize(
    ("files", "watts"),
    [
        ({"name": "ina219", "power1_input": "3120000", "in1_input": "5120", "curr1_input": "608"}, 3.12),
        ({"name": "ina226", "in1_input": "5120", "curr1_input": "608"}, 3.113),
        ({"name": "ina238", "in0_input": "9", "in1_input": "19800", "power1_input": "41500000"}, 41.5),
    ],
)
async def test_a_power_monitor_in_the_supply(tmp_path: Path, files: dict[str, str], watts: float) -> None:
    """Its own microwatts, or its voltage and its current."""
    tree(tmp_path, "class/hwmon/hwmon0", {"name": "cpu_thermal", "temp1_input": "41000"})
    tree(tmp_path, "class/hwmon/hwmon5", files)
    reading = await Hwmon(tmp_path, wanted="").read()

    assert (round(reading.watts, 3), reading.rail, reading.measured) == (watts, files["name"], True)


def test_of_several_the_owner_says_which(tmp_path: Path) -> None:
    """A robot has one for its motors too."""
    tree(tmp_path, "class/hwmon/hwmon0", {"name": "ina219", "power1_input": "1000000"})
    tree(tmp_path, "class/hwmon/hwmon1", {"name": "ina226", "power1_input": "2000000"})
    with pytest.raises(Unreadable, match=r"ina219, ina226.*DROVER_POWER_HWMON"):
        chosen(tmp_path, "")

    assert watts_of(chosen(tmp_path, "ina226")) == 2.0


def test_of_several_the_one_labelled_vin_is_the_supply(tmp_path: Path) -> None:
    """As on a Thor."""
    tree(tmp_path, "class/hwmon/hwmon0", {"name": "ina238", "power1_input": "1000000", "in1_label": "VDD_3V3"})
    tree(tmp_path, "class/hwmon/hwmon1", {"name": "ina238", "power1_input": "2000000", "in1_label": "VIN"})

    assert watts_of(chosen(tmp_path, "")) == 2.0


def test_a_name_that_fits_none_is_told(tmp_path: Path) -> None:
    """Rather than another chip's watts."""
    tree(tmp_path, "class/hwmon/hwmon0", {"name": "ina219", "power1_input": "1000000"})

    with pytest.raises(Unreadable, match="ina219"):
        chosen(tmp_path, "ina226")


def test_packages_and_their_memory_are_counted_once(tmp_path: Path) -> None:
    """Cores are a part of the package, and psys is the package and more."""
    rapl(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    rapl(tmp_path, "intel-rapl:0:0", "core", 900_000)
    rapl(tmp_path, "intel-rapl:0:1", "uncore", 50_000)
    rapl(tmp_path, "intel-rapl:0:2", "dram", 200_000)
    rapl(tmp_path, "intel-rapl:1", "package-1", 3_000_000)
    rapl(tmp_path, "intel-rapl:1:0", "dram", 400_000)
    rapl(tmp_path, "intel-rapl:2", "psys", 9_000_000)
    rapl(tmp_path, "intel-rapl-mmio:0", "package-0", 1_000_000)
    counts = counts_of(tmp_path)

    assert {name: one.joules for name, one in counts.items()} == {
        "package-0": 1.0,
        "package-0.dram": 0.2,
        "package-1": 3.0,
        "package-1.dram": 0.4,
    }


async def test_a_counter_s_growth_is_watts(tmp_path: Path) -> None:
    """One that stands still is nothing drawn; none of it is all that the machine takes, so it is called an estimate."""
    rapl(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    reading = await Rapl(tmp_path).read()

    assert (reading.watts, reading.rail, reading.measured) == (0.0, "package", False)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(
    st.dictionaries(
        st.sampled_from(
            ["in1_input", "curr1_input", "in1_label", "in1_enable", "in2_input", "curr2_input", "power1_input"]
        ),
        st.binary(max_size=12),
        max_size=7,
    ),
    st.sampled_from(["ina3221", "ina219", "ina238"]),
)
def test_garbage_in_the_files_is_possible_watts_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], name: str
) -> None:
    """A driver that fails writes whatever it likes."""
    root = tmp_path_factory.mktemp("sys")
    chip = tree(root, "class/hwmon/hwmon0", {"name": name})
    for each, content in files.items():
        (chip / each).write_bytes(content)
    try:
        watts = watts_of(chip) if name != "ina3221" else sum(hwmon_rails(root).values())
    except Unreadable:
        return

    assert watts >= 0


def test_a_counter_that_only_root_may_read_is_told_with_the_way_out() -> None:
    """As on every Linux since 5.10."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        zone = rapl(Path(directory), "intel-rapl:0", "package-0", 1_000_000)
        (zone / "energy_uj").chmod(0)
        was_root = os.geteuid() == 0
        try:
            if was_root:
                os.seteuid(65534)  # root may read everything
            with pytest.raises(Unreadable, match=r"only root may, since Linux 5.10; a udev rule .*chgrp"):
                counts_of(Path(directory))
        finally:
            if was_root:
                os.seteuid(0)


def test_a_directory_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    """As any file that is there and can't be read."""
    (tmp_path / "name").mkdir()

    with pytest.raises(Unreadable, match="can't be read"):
        text_of(tmp_path / "name")


def test_no_iio_is_no_rail(tmp_path: Path) -> None:
    """As on every board since JetPack 5."""
    assert iio_rails(tmp_path) == {}

"""What an agent reads its watts from: by what the device has, or as its owner says."""

from __future__ import annotations

import json
from asyncio import StreamWriter
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from structlog.testing import capture_logs

from agents.power import PowerReader, Unreadable
from agents.power.choice import LADDER, open_power
from agents.power.names import Name
from agents.settings import AgentSettings, PowerSection
from common.errors import ConfigError
from common.settings import load
from tests.integration.agents.plug_server import Asked, plug_server, saying
from tests.unit.agents.power.recorded import ORIN_NANO_SYSFS, TASMOTA
from tests.unit.agents.power.trees import rapl, tree


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep what the tester's machine has set out, and what it has installed."""
    for page in get_type_hints(AgentSettings).values():
        for knob in page.model_fields.values():
            monkeypatch.delenv(str(knob.validation_alias), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty /sys that the settings name."""
    monkeypatch.setenv("DROVER_SYSFS", str(tmp_path))
    return tmp_path


def opened(sensors_url: str = "", **settings: Any) -> PowerReader:
    reader = open_power(PowerSection(**settings), sensors_url, remote=False)
    assert reader is not None
    return reader


def test_models_that_run_elsewhere_draw_nothing_here() -> None:
    """The computers are somebody else's."""
    assert open_power(PowerSection(), "", remote=True) is None


async def test_a_jetson_s_own_sensor_is_found(sysfs: Path) -> None:
    """Without a setting, and before anything that costs more."""
    tree(sysfs, "class/hwmon/hwmon3", ORIN_NANO_SYSFS)
    reader = opened()
    reading = await reader.read()
    await reader.close()

    assert (reading.source, reading.rail) == ("ina3221", "VDD_IN")


async def test_a_plug_is_preferred_to_the_sensors_on_the_board(sysfs: Path) -> None:
    """Whoever gives its address wants it: it alone sees the power supply."""
    tree(sysfs, "class/hwmon/hwmon3", ORIN_NANO_SYSFS)
    async with plug_server(saying(TASMOTA)) as server:
        reader = opened(plug_url=server.url)
        reading = await reader.read()
        await reader.close()

    assert (reading.source, reading.watts) == ("plug", 26.0)


async def test_a_plug_that_is_away_is_one_line_and_the_board_s_sensor(sysfs: Path) -> None:
    """With the reason, and what serves instead."""
    tree(sysfs, "class/hwmon/hwmon3", ORIN_NANO_SYSFS)
    async with plug_server(saying(b"", status="401 Unauthorized")) as server:
        reader = opened(plug_url=server.url, plug_token="s3cr3t-s3cr3t")
        with capture_logs() as lines:
            sources = [(await reader.read()).source for _ in range(4)]
        await reader.close()

    assert (sources, [(line["event"], line["lost"], line["reader"]) for line in lines], "s3cr3t" in str(lines)) == (
        ["ina3221"] * 4,
        [("power.degraded", "plug", "ina3221")],
        False,
    )


async def test_the_owner_s_list_wins(sysfs: Path) -> None:
    """An estimate, though there is a sensor."""
    tree(sysfs, "class/hwmon/hwmon3", ORIN_NANO_SYSFS)
    where = tree(sysfs, "firmware/devicetree/base", {})
    (where / "model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    reader = opened(readers="model")
    reading = await reader.read()
    await reader.close()

    assert (reading.source, reading.rail) == ("model", "pi-4")


async def test_the_owner_s_own_figures_are_the_estimate_s(sysfs: Path) -> None:
    """Who has held a meter to the board knows better than a table."""
    reader = opened(readers="model", sysfs=sysfs, idle_w=4.0, busy_w=4.0)
    reading = await reader.read()
    await reader.close()

    assert (reading.watts, reading.uncertainty) == (4.0, 0.2)


async def test_an_offset_is_added_to_what_the_board_sees(sysfs: Path) -> None:
    """A carrier board's 1.5 W, known to half of it: 5 % of 9.250 W and 0.75 W, of 10.750 W."""
    tree(sysfs, "class/hwmon/hwmon3", ORIN_NANO_SYSFS)
    reader = opened(offset_w=1.5)
    reading = await reader.read()
    await reader.close()

    assert (round(reading.watts, 3), reading.rail, reading.measured, round(reading.uncertainty, 3)) == (
        10.75,
        "VDD_IN+offset",
        True,
        0.113,
    )


async def test_readers_of_parts_are_added(sysfs: Path) -> None:
    """A processor and a power monitor behind it, each with its rails."""
    rapl(sysfs, "intel-rapl:0", "package-0", 1_000_000)
    tree(sysfs, "class/hwmon/hwmon5", {"name": "ina219", "power1_input": "3000000"})
    reader = opened(readers="rapl+hwmon")
    reading = await reader.read()
    await reader.close()

    assert (reading.watts, reading.source, reading.rail, dict(reading.rails), reading.measured) == (
        3.0,
        "rapl+hwmon",
        "package+ina219",
        {"package-0": 0.0, "ina219": 3.0},
        False,
    )


async def _fault_of(reader: PowerReader) -> str:
    try:
        await reader.read()
    except Unreadable as fault:
        return str(fault)
    return ""


async def test_a_simulated_device_has_the_simulator_s_watts() -> None:
    """And none when it is down: an estimate for the machine that it runs on would be a lie."""
    sensors = json.dumps({"watts": 13.4, "idle_watts": 5.5, "busy_watts": 13.4}).encode()
    async with plug_server(saying(sensors)) as server:
        reader = opened(f"{server.url}/sim/sensors")
        readings = [await reader.read() for _ in range(3)]
    with capture_logs():
        faults = [await _fault_of(reader) for _ in range(3)]
    await reader.close()

    assert (
        {(each.watts, each.source, each.measured) for each in readings},
        [asked.target for asked in server.asked],
        server.connections,
        ["simulator" in fault for fault in faults],
    ) == ({(13.4, "simulated", True)}, ["/sim/sensors"] * 3, 1, [True] * 3)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"watts":-1}', b'{"watts":"much"}', b'{"watts":1e12}', b"[" * 60_000, b"\xff"]
)
async def test_a_simulator_that_talks_nonsense_is_unreadable(body: bytes) -> None:
    """As any sensor that does."""
    async with plug_server(saying(body)) as server:
        reader = opened(server.url)
        with capture_logs(), pytest.raises(Unreadable, match="simulated"):
            await reader.read()
        await reader.close()


async def test_a_simulator_that_closes_idle_connections_is_asked_on_a_new_one() -> None:
    """Without a sample being lost."""

    async def once(asked: Asked, writer: StreamWriter) -> None:
        await saying(b'{"watts":3}')(asked, writer)
        writer.close()

    async with plug_server(once) as server:
        reader = opened(server.url)
        watts = [(await reader.read()).watts for _ in range(3)]
        await reader.close()

    assert (watts, server.connections) == ([3.0] * 3, 3)


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        (
            {"DROVER_POWER": "ina3221,solar"},
            r"DROVER_POWER='ina3221,solar': .*'solar' is no power reader.*tegrastats.*model",
        ),
        ({"DROVER_POWER": "rapl+rapl"}, "twice"),
        ({"DROVER_POWER": "auto,model"}, r"DROVER_POWER='auto,model': .*auto stands alone"),
        ({"DROVER_POWER": "Auto+nvml"}, "auto stands alone"),
        ({"DROVER_POWER_IDLE_W": "9", "DROVER_POWER_BUSY_W": "4.5"}, "DROVER_POWER_IDLE_W=9 .*DROVER_POWER_BUSY_W=4.5"),
        ({"DROVER_SYSFS": "/nonexistent"}, "DROVER_SYSFS='/nonexistent': .*no directory"),
        ({"DROVER_POWER": "plug"}, "set DROVER_POWER_PLUG_URL"),
        ({"DROVER_POWER_PLUG_URL": "http://x", "DROVER_POWER_PLUG_KIND": "json"}, "DROVER_POWER_PLUG_FIELD"),
        ({"DROVER_POWER_PLUG_URL": "ftp://x"}, "DROVER_POWER_PLUG_URL"),
        ({"DROVER_POWER_PLUG_KIND": "toaster"}, "DROVER_POWER_PLUG_KIND='toaster'"),
        ({"DROVER_POWER_OFFSET_W": "-1"}, "DROVER_POWER_OFFSET_W='-1'"),
    ],
)
def test_a_wrong_setting_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], why: str
) -> None:
    """By name, with what there is."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match=why):
        load(AgentSettings)


def test_auto_is_auto_however_it_is_written() -> None:
    """As the names of readers are."""
    assert () == PowerSection(readers=" AUTO ").rungs


def test_a_simulated_device_needs_its_address() -> None:
    """The other half of it is another page's setting."""
    with pytest.raises(ConfigError, match="DROVER_SENSORS_URL"):
        open_power(PowerSection(readers="simulated"), "", remote=False)


def test_the_plug_s_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in a fault nor when the settings are printed."""
    monkeypatch.setenv("DROVER_POWER_PLUG_TOKEN", "s3cr3t-s3cr3t")
    monkeypatch.setenv("DROVER_POWER_PLUG_URL", "http://plug/cm?password=s3cr3t")
    shown = repr(load(AgentSettings))
    monkeypatch.setenv("DROVER_POWER_PLUG_URL", "http://me:s3cr3t@plug")
    with pytest.raises(ConfigError, match="DROVER_POWER_PLUG_TOKEN") as caught:
        load(AgentSettings)

    assert ("s3cr3t" in shown, "s3cr3t" in caught.value.message) == (False, False)


def test_the_ladder_ends_with_the_estimate_and_has_every_sensor_of_a_device() -> None:
    """So that it never fails; AGPL's comes last of those that measure."""
    named = {name for rung in LADDER for name in rung}

    assert (LADDER[-2:], set(Name) - named) == (((Name.JTOP,), (Name.MODEL,)), {Name.SIMULATED, Name.PLUG})


@pytest.mark.parametrize(("text", "count"), [("auto", 0), ("", 0), (" auto ", 0), ("plug, model", 2), ("RAPL+nvml", 1)])
def test_names_are_read_with_spaces_and_capitals(text: str, count: int) -> None:
    """As people write them."""
    assert len(PowerSection(readers=text, plug_url="http://x").rungs) == count

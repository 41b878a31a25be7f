"""Watts from real child processes: a tegrastats that runs on, and a vcgencmd that is asked again and again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.power import Absent, PowerReader, Unreadable
from agents.power.pmic import Pmic
from agents.power.tegrastats import Tegrastats
from tests.unit.agents.power.recorded import NOT_REGISTERED, PI5_BOARD_W, PI5_PMIC, TEGRASTATS, VCHI_FAILED

SOON_S = 0.2
"""For what is to take too long, at first: a busy machine may take longer to begin it, and is given twice as long then."""

GUARD_S = 30.0


def program(directory: Path, name: str, body: str) -> Path:
    """Write a shell script that notes its number and its arguments in `directory`/started."""
    path = directory / name
    path.write_text(f'#!/bin/sh\necho "$$ $@" >> "{directory}/started"\n{body}\n')
    path.chmod(0o755)
    return path


def started(directory: Path) -> list[list[str]]:
    """Give the process number and the arguments of each start."""
    note = directory / "started"
    return [line.split() for line in note.read_text().splitlines()] if note.exists() else []


def printing(*lines: str) -> str:
    """Give the body of a script that prints lines again and again."""
    shown = "\n".join(f"printf '%s\\n' '{line}'" for line in lines)
    return f"while :; do\n{shown}\nsleep 0.1\ndone"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def killed(directory: Path, reader: Callable[[float], PowerReader], why: str) -> list[bool]:
    """Read with ever more patience until the child has begun before it is given up; tell of each whether it lives on."""
    wait_s = SOON_S
    while not started(directory) and wait_s < GUARD_S:
        with pytest.raises(Unreadable, match=why):
            await reader(wait_s).read()
        wait_s *= 2
    return [alive(int(pid)) for pid, *_ in started(directory)]


@pytest.mark.parametrize("name", ["nano_jp4_a", "agx_xavier_jp4", "orin_nano_jp6_load", "agx_orin_jp5", "agx_orin_jp7"])
async def test_the_lines_of_a_running_tegrastats_are_read(tmp_path: Path, name: str) -> None:
    """Of JetPack 4, 5, 6 and 7, from one child that is asked for five lines a second."""
    line, watts, rail = TEGRASTATS[name]
    reader = Tegrastats(str(program(tmp_path, "tegrastats", printing(line))), wait_s=GUARD_S)
    try:
        readings = [await reader.read() for _ in range(3)]
    finally:
        await reader.close()

    assert ([(round(each.watts, 6), each.rail) for each in readings], [args for _, *args in started(tmp_path)]) == (
        [(watts, rail)] * 3,
        [["--interval", "200"]],
    )


async def test_closing_kills_the_child_and_reading_starts_another(tmp_path: Path) -> None:
    """No tegrastats outlives its agent."""
    reader = Tegrastats(str(program(tmp_path, "tegrastats", printing(TEGRASTATS["nano_jp4_a"][0]))), wait_s=GUARD_S)
    await reader.read()
    await reader.close()
    first_lives = alive(int(started(tmp_path)[0][0]))
    await reader.read()
    await reader.close()

    assert (first_lives, len(started(tmp_path))) == (False, 2)


async def test_a_child_that_ends_is_told_with_what_it_complained_of(tmp_path: Path) -> None:
    """Instead of its last line for ever."""
    script = program(tmp_path, "tegrastats", "echo 'must be run as root' >&2\nexit 1")
    with pytest.raises(Unreadable, match=r"has ended by itself: must be run as root"):
        await Tegrastats(str(script), wait_s=GUARD_S).read()


@pytest.mark.parametrize("body", ["exec sleep 600", "while :; do printf '%04096d' 0; sleep 0.05; done"])
async def test_a_child_without_a_line_is_told_and_killed(tmp_path: Path, body: str) -> None:
    """One that is silent, and one whose line has no end."""
    script = str(program(tmp_path, "tegrastats", body))

    assert await killed(tmp_path, lambda wait_s: Tegrastats(script, wait_s=wait_s), "has printed nothing") == [False]


async def test_a_board_whose_lines_tell_no_power_has_no_such_sensor(tmp_path: Path) -> None:
    """A Thor's; the child is not left running for nothing."""
    reader = Tegrastats(str(program(tmp_path, "tegrastats", printing(TEGRASTATS["thor_fragment"][0]))), wait_s=GUARD_S)
    with pytest.raises(Absent, match="no rails"):
        await reader.read()

    assert alive(int(started(tmp_path)[0][0])) is False


async def test_without_tegrastats_there_is_no_such_sensor(tmp_path: Path) -> None:
    """On whatever is no Jetson."""
    with pytest.raises(Absent, match="there is no program"):
        await Tegrastats(str(tmp_path / "tegrastats")).read()


async def test_a_tegrastats_that_may_not_be_run_is_told(tmp_path: Path) -> None:
    """It is there, so there is something to mend."""
    (tmp_path / "tegrastats").write_text("#!/bin/sh\n")

    with pytest.raises(Unreadable, match="can't be started: Permission denied"):
        await Tegrastats(str(tmp_path / "tegrastats")).read()


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a directory whose programs are found first."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


async def test_a_pi_5_is_asked_for_its_rails(on_path: Path) -> None:
    """Real sensors and a fit for what they don't see: an estimate, and it says so."""
    program(on_path, "vcgencmd", f"cat <<'END'\n{PI5_PMIC}END")
    reading = await Pmic(wait_s=GUARD_S).read()

    assert (reading.watts, reading.measured, len(reading.rails), started(on_path)[0][1:]) == (
        pytest.approx(PI5_BOARD_W, abs=5e-4),
        False,
        12,
        ["pmic_read_adc"],
    )


@pytest.mark.parametrize(
    ("body", "fault", "why"),
    [
        (f"printf '%s' '{NOT_REGISTERED}'", Absent, "only the Pi 5"),
        (f"printf '%s' '{VCHI_FAILED}' >&2\nexit 255", Unreadable, "usermod -aG video"),
        ("exit 3", Unreadable, "ends with 3"),
        ("printf 'VDD_CORE_A current(7)=1.4A\\nVDD_CORE_V volt(15)=0.9V\\n'", Unreadable, "cut off"),
        ("exec cat /dev/zero", Unreadable, "says more"),
        ("printf '\\377\\000\\376 volt( \\n'", Unreadable, "no rails"),
    ],
)
async def test_a_vcgencmd_that_tells_no_rails(on_path: Path, body: str, fault: type[Unreadable], why: str) -> None:
    """A board without the chip has no such sensor; everything else is told, with the way out."""
    program(on_path, "vcgencmd", body)
    with pytest.raises(fault, match=why):
        await Pmic(wait_s=GUARD_S).read()


async def test_a_vcgencmd_that_hangs_is_killed(on_path: Path) -> None:
    """As one does when the firmware does not answer."""
    program(on_path, "vcgencmd", "exec sleep 600")

    assert await killed(on_path, lambda wait_s: Pmic(wait_s=wait_s), "has not answered") == [False]


async def test_without_vcgencmd_there_is_no_such_sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On whatever is no Raspberry Pi."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Absent, match="no program vcgencmd"):
        await Pmic().read()

"""Watts of a Raspberry Pi 5 from its power chip, by `vcgencmd pmic_read_adc`: the sum of its rails and a fit for what it does not
see; other boards have no such chip."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from agents.power import Absent, Reading, Unreadable
from agents.power.names import Name

PROGRAM = "vcgencmd"
WAIT_S = 3.0
LEFT_S = 1.0
MOST_BYTES = 16_384
MOST_VOLTS = 30.0
MOST_AMPERES = 12.0
"""Far above the board's 5 V at 5 A: whatever is more was misread."""

LEAST_RAILS = 8
"""Of the twelve that firmwares of 2023 to 2025 tell."""

_CORE = "VDD_CORE"

SLOPE = 1.1451
FIXED_W = 0.5879
"""Watts at the input for watts of the sum: a straight line that the community project RPi5-power fitted against a meter, and
pi-top's documentation uses. The chip does not measure the input's current."""

UNCERTAINTY = 0.15
"""The fit is of few boards, and what hangs on USB or a HAT is not seen at all; the chip's own conversions add some 5 %."""

MOST_HZ = 2.0
"""Each read is a process: 3 to 7 ms of a core (measured on x86), and more on a Pi."""

_ROW = re.compile(r"^\s*([A-Z0-9_]{1,32})_([AV]) (?:current|volt)\((\d{1,3})\)=(\d{1,6}(?:\.\d{1,12})?)([AV])\s*$")


class Pmic:
    """Runs vcgencmd for each read: some ten milliseconds."""

    def __init__(self, *, wait_s: float = WAIT_S) -> None:
        self.name: str = Name.PMIC.value
        self._wait_s = wait_s

    async def read(self) -> Reading:
        """Read all rails once. Raises `Unreadable`."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        text = await _ask(self._wait_s)
        at_s = (began_s + loop.time()) / 2
        rails = rails_of(text)
        return Reading(
            at_s=at_s,
            watts=board_watts(rails),
            rail="rails+fit",
            source=self.name,
            measured=False,  # the sensors are real, but what they don't see is fitted
            uncertainty=UNCERTAINTY,
            most_hz=MOST_HZ,
            rails=rails,
        )

    async def close(self) -> None:
        """Nothing is kept open."""


def rails_of(text: str) -> Mapping[str, float]:
    """Find the watts of each rail whose voltage and current are both told. Raises `Unreadable`."""
    told: dict[str, dict[str, float]] = {"A": {}, "V": {}}
    for line in text.splitlines():
        row = _ROW.match(line)
        if row and row[2] == row[5]:
            told[row[2]][row[1]] = float(row[4])
    amperes, volts = told["A"], told["V"]
    if not amperes or not volts:
        raise Unreadable("vcgencmd pmic_read_adc tells no rails")
    alone = sorted(amperes.keys() - volts.keys())
    if alone:
        raise Unreadable(f"vcgencmd pmic_read_adc tells the current of {', '.join(alone)[:100]}, and no voltage")
    if _CORE not in amperes or len(amperes) < LEAST_RAILS:
        raise Unreadable(f"vcgencmd pmic_read_adc tells {len(amperes)} rails only: its answer was cut off")
    if max(amperes.values()) > MOST_AMPERES or max(volts[rail] for rail in amperes) > MOST_VOLTS:
        raise Unreadable("vcgencmd pmic_read_adc tells volts or amperes that can't be true")
    return {rail: amperes[rail] * volts[rail] for rail in amperes}


def board_watts(rails: Mapping[str, float]) -> float:
    """Give the watts at the board's input, by the fit."""
    return SLOPE * sum(rails.values()) + FIXED_W


async def _ask(wait_s: float) -> str:
    try:
        child = await asyncio.create_subprocess_exec(
            PROGRAM,
            "pmic_read_adc",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except FileNotFoundError as error:
        raise Absent(
            "there is no program vcgencmd: this is no Raspberry Pi, or raspi-utils are not installed"
        ) from error
    except OSError as error:
        raise Unreadable(f"vcgencmd can't be started: {error.strerror or error}") from error
    try:
        async with asyncio.timeout(wait_s):
            said = await _output(child)
            status = await child.wait()
    except TimeoutError as error:
        raise Unreadable(f"vcgencmd has not answered for {wait_s:g} s") from error
    finally:
        if child.returncode is None:
            await _end(child)
    return understood(said, status)


async def _end(child: asyncio.subprocess.Process) -> None:
    child.kill()
    try:
        async with asyncio.timeout(LEFT_S):
            # With what is left in the pipe: `wait` alone never returns while a full pipe is not read to its end.
            await child.communicate()
    except TimeoutError:
        pass  # another process holds it


async def _output(child: asyncio.subprocess.Process) -> str:
    assert child.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
    said = b""
    while len(said) < MOST_BYTES and (part := await child.stdout.read(MOST_BYTES - len(said))):
        said += part
    if len(said) >= MOST_BYTES:
        raise Unreadable("vcgencmd says more than any Raspberry Pi's does")
    return said.decode("ascii", "replace")


def understood(said: str, status: int) -> str:
    """Give what it said when it told the rails. Raises `Absent` on boards without the chip, `Unreadable` when it may not ask."""
    if "volt(" in said:
        return said
    if "not registered" in said or "error=" in said:
        raise Absent("this Raspberry Pi has no power chip that tells currents: only the Pi 5 has")
    line = said.strip().partition("\n")[0][:120]
    if "VCHI" in said or "vcio" in said or "ermission" in said:
        raise Unreadable(f"vcgencmd may not ask the firmware ({line}): sudo usermod -aG video $USER, and log in again")
    raise Unreadable(f"vcgencmd pmic_read_adc ends with {status}: {line!a}")

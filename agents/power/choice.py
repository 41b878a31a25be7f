"""Which power readers an agent tries, and in which order; the only module here that knows all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from agents.power import PowerReader, PowerSource
from agents.power.chain import Chain
from agents.power.combined import Added, Offset
from agents.power.hwmon import Hwmon
from agents.power.ina3221 import Ina3221
from agents.power.jtop import Jtop
from agents.power.model import ModelPower
from agents.power.names import Name, Rung
from agents.power.nvml import Nvml
from agents.power.plug import Plug
from agents.power.pmic import Pmic
from agents.power.profiles import Board, this_board
from agents.power.rapl import Rapl
from agents.power.simulated import SimulatedPower
from agents.power.tegrastats import Tegrastats
from agents.settings import PowerSection
from common.errors import ConfigError

LADDER: tuple[Rung, ...] = (
    # A Jetson's own sensors: files first, which cost least; then a child process.
    (Name.INA3221,),
    (Name.TEGRASTATS,),
    # A Thor's, or one that somebody soldered into the supply of anything; of a Pi 5 it sees more than the power chip.
    (Name.HWMON,),
    (Name.PMIC,),
    # A PC: its processor and its card, or what of them tells.
    (Name.RAPL, Name.NVML),
    (Name.NVML,),
    (Name.RAPL,),
    # AGPL, and a service of the owner's: only where nothing else is.
    (Name.JTOP,),
    (Name.MODEL,),
)

_WHOLE = frozenset({Name.SIMULATED, Name.PLUG, Name.MODEL})
"""What sees, or estimates, all of the device: no offset is added to it."""


def open_power(section: PowerSection, sensors_url: str, *, remote: bool) -> PowerSource | None:
    """Give what reads the watts of this device, or of the simulated one at `sensors_url`; None for a `remote` one, whose models
    run on computers of somebody else. Nothing is touched before the first read. Raises `ConfigError`."""
    if remote:
        return None
    ladder = section.rungs or _automatic(section, sensors_url)
    if not sensors_url and any(Name.SIMULATED in rung for rung in ladder):
        raise ConfigError("DROVER_POWER names simulated: set DROVER_SENSORS_URL to the sensors of the simulated device")
    return Chain([_rung(rung, section, sensors_url) for rung in ladder], named=bool(section.rungs))


def _automatic(section: PowerSection, sensors_url: str) -> tuple[Rung, ...]:
    if sensors_url:
        # The sensors of the machine that it is simulated on, and an estimate for it, would be lies.
        return ((Name.SIMULATED,),)
    return ((Name.PLUG,), *LADDER) if section.plug_url else LADDER


def _rung(rung: Rung, section: PowerSection, sensors_url: str) -> PowerReader:
    parts = [_makers(section, sensors_url)[name]() for name in rung]
    reader = parts[0] if len(parts) == 1 else Added(parts)
    return Offset(reader, section.offset_w) if section.offset_w and not _WHOLE & set(rung) else reader


def _makers(section: PowerSection, sensors_url: str) -> Mapping[Name, Callable[[], PowerReader]]:
    return {
        Name.SIMULATED: lambda: SimulatedPower(sensors_url),
        Name.PLUG: lambda: _plug(section),
        Name.INA3221: lambda: Ina3221(section.sysfs),
        Name.TEGRASTATS: lambda: Tegrastats(section.tegrastats),
        Name.HWMON: lambda: Hwmon(section.sysfs, wanted=section.hwmon),
        Name.PMIC: Pmic,
        Name.RAPL: lambda: Rapl(section.sysfs),
        Name.NVML: Nvml,
        Name.JTOP: Jtop,
        Name.MODEL: lambda: ModelPower(_board(section), sysfs=section.sysfs),
    }


def _plug(section: PowerSection) -> PowerReader:
    token = section.plug_token.get_secret_value() if section.plug_token else None
    return Plug(section.plug_url, kind=section.plug_kind, field=section.plug_field, token=token)


def _board(section: PowerSection) -> Board:
    board = this_board(section.sysfs)
    if section.idle_w is None and section.busy_w is None:
        return board
    idle_w = board.idle_w if section.idle_w is None else section.idle_w
    busy_w = max(board.busy_w if section.busy_w is None else section.busy_w, idle_w)
    # What the owner's own meter said: what is left is that watts don't follow the processor's share in a straight line.
    return replace(board, idle_w=idle_w, busy_w=busy_w, uncertainty=0.2)

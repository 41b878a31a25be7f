"""Which power readers an agent tries, and in which order; the only module here that knows all of them."""

from __future__ import annotations

from dataclasses import replace

from agents.power import PowerReader
from agents.power.chain import Chain
from agents.power.model import ModelPower
from agents.power.names import Name, Rung
from agents.power.profiles import Board, this_board
from agents.power.simulated import SimulatedPower
from agents.settings import PowerSection
from common.errors import ConfigError


def open_power(section: PowerSection, sensors_url: str, *, remote: bool) -> PowerReader | None:
    """Give what reads the watts of this device, or of the simulated one at `sensors_url`; None for a `remote` one, whose models
    run on computers of somebody else. Nothing is touched before the first read. Raises `ConfigError`."""
    if remote:
        return None
    ladder = section.rungs or _automatic(section, sensors_url)
    if not sensors_url and any(Name.SIMULATED in rung for rung in ladder):
        raise ConfigError("DROVER_POWER names simulated: set DROVER_SENSORS_URL to the sensors of the simulated device")
    return Chain([_reader(rung, section, sensors_url) for rung in ladder], named=bool(section.rungs))


def _automatic(section: PowerSection, sensors_url: str) -> tuple[Rung, ...]:
    if sensors_url:
        # The sensors of the machine that it is simulated on, and an estimate for it, would be lies.
        return ((Name.SIMULATED,),)
    if section.plug_url:
        return ((Name.PLUG,), (Name.MODEL,))
    return ((Name.MODEL,),)


def _reader(rung: Rung, section: PowerSection, sensors_url: str) -> PowerReader:
    name = rung[0]
    if name is Name.SIMULATED:
        return SimulatedPower(sensors_url)
    return ModelPower(_board(section), sysfs=section.sysfs)


def _board(section: PowerSection) -> Board:
    board = this_board(section.sysfs)
    if section.idle_w is None and section.busy_w is None:
        return board
    idle_w = board.idle_w if section.idle_w is None else section.idle_w
    busy_w = max(board.busy_w if section.busy_w is None else section.busy_w, idle_w)
    # What the owner's own meter said: what is left is that watts don't follow the processor's share in a straight line.
    return replace(board, idle_w=idle_w, busy_w=busy_w, uncertainty=0.2)

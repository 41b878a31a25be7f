"""The names of the power readers, as `DROVER_POWER` takes them; it knows no reader."""

from __future__ import annotations

from enum import StrEnum

AUTO = "auto"


class Name(StrEnum):
    """One way to learn what the device draws."""

    SIMULATED = "simulated"
    PLUG = "plug"
    INA3221 = "ina3221"
    TEGRASTATS = "tegrastats"
    HWMON = "hwmon"
    PMIC = "pmic"
    RAPL = "rapl"
    NVML = "nvml"
    JTOP = "jtop"
    MODEL = "model"


Rung = tuple[Name, ...]
"""What serves together: the watts of several are added."""


def rungs(text: str) -> tuple[Rung, ...]:
    """Read `DROVER_POWER`: names separated by commas, the best first, with + between those to be added; nothing for `auto`.
    Raises `ValueError`."""
    wanted = [part.strip() for part in text.lower().split(",") if part.strip()]
    if wanted in ([], [AUTO]):
        return ()
    if AUTO in (part.strip() for rung in wanted for part in rung.split("+")):
        raise ValueError(
            "auto stands alone: it tries all there is, the estimate last; a list names the readers themselves"
        )
    return tuple(_rung(part) for part in wanted)


def _rung(text: str) -> Rung:
    parts = [part.strip() for part in text.split("+")]
    known = {name.value for name in Name}
    unknown = [part for part in parts if part not in known]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no power reader: there are auto, or a list of {', '.join(Name)}")
    if len(set(parts)) < len(parts):
        raise ValueError(f"{text!r} would count a reader twice")
    return tuple(Name(part) for part in parts)

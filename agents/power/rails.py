"""What a Jetson draws in all, from the rails that its sensors name; where they were read is not known here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agents.power import Absent, Reading, Unreadable

MOST_RAIL_W = 250.0
"""Above what any Jetson takes: a Thor's supply ends at 140 W. Whatever is more was misread."""

NOT_CONNECTED = "NC"

_WHOLE = ("VIN", "POM_5V_IN", "VDD_IN")
"""Rails through which everything flows: Thor; Nano and TX1; TX2, Xavier NX, Orin Nano and NX."""

_SUMS = {
    # VDDQ_VDD2_1V8AO is not added: its channel stands at 5 V, so it hangs behind VIN_SYS_5V0 and would count twice, as jtop does;
    # JetPack 7 no longer prints it.
    "sum3": frozenset({"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"}),  # AGX Orin
    "sum6": frozenset({"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}),  # AGX Xavier
}

_OWN = frozenset({"VDD_GPU_SOC", "VDD_CPU_CV", "VDDRQ", "SYS5V"})
"""Rails that only boards without a whole one have. VIN_SYS_5V0 is a Thor's too."""

_BEHIND = frozenset({"VDD_CPU_GPU_CV", "VDD_SOC", "POM_5V_CPU", "POM_5V_GPU"})
"""Rails that only boards with a whole one have: without it their sum would be a fraction."""

WHOLE_UNCERTAINTY = 0.05
"""A shunt of 1 % (NVIDIA's design guides), the INA3221's 80 µV of offset, which are 16 mA or 80 mW at 5 mΩ and 5 V, and its steps
of 8 mA and 8 mV: together 3 % to 5 % at an idle 5 W, less above. It is of the module alone: at the jack of an Orin Nano 18.0 W
were measured where VDD_IN said 15.0, and 6.75 W where it said 5.7; DROVER_POWER_OFFSET_W is for that."""

SUM_UNCERTAINTY = 0.10
"""That of three rails, and 5 % for whether VDDQ_VDD2_1V8AO, 4 % to 5 % of the sum in recorded lines, is in it or not."""

UNKNOWN_UNCERTAINTY = 0.5
"""Rails of a board that nobody has described: some may be missing, some may be behind another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What a board draws: `rail` names the rail, or how several were added."""

    rail: str
    watts: float
    measured: bool
    uncertainty: float


def total_of(rails: Mapping[str, float]) -> Total:
    """Find the total: 1. a rail through which everything flows, 2. the sum that is known for such rails, 3. the sum of all, which
    is then an estimate. Raises `Unreadable` when rails of a known board are missing, `Absent` when there are none at all."""
    if not rails:
        raise Absent("no rail is named")
    for name in _WHOLE:
        if name in rails:
            return Total(rail=name, watts=rails[name], measured=True, uncertainty=WHOLE_UNCERTAINTY)
    for name, parts in _SUMS.items():
        if parts <= rails.keys():
            watts = sum(rails[part] for part in parts)
            return Total(rail=name, watts=watts, measured=True, uncertainty=SUM_UNCERTAINTY)
        missing = sorted(parts - rails.keys())
        if parts & rails.keys() & _OWN:
            raise Unreadable(f"of the rails that make up its draw {', '.join(missing)} can't be read")
    behind = sorted(_BEHIND & rails.keys())
    if behind:
        raise Unreadable(f"the rail that {', '.join(behind)} hang behind can't be read")
    return Total(
        rail=f"sum of {len(rails)}", watts=sum(rails.values()), measured=False, uncertainty=UNKNOWN_UNCERTAINTY
    )


def reading_of(rails: Mapping[str, float], *, at_s: float, source: str) -> Reading:
    """Give the reading that rails make. Raises `Unreadable`."""
    known = {name: watts for name, watts in rails.items() if name != NOT_CONNECTED and 0 <= watts <= MOST_RAIL_W}
    total = total_of(known)
    return Reading(
        at_s=at_s,
        watts=total.watts,
        rail=total.rail,
        source=source,
        measured=total.measured,
        uncertainty=total.uncertainty,
        rails=known,
    )

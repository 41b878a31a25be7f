"""Which devices `drover up` brings up, from one line of text; pure, and it starts none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.errors import ConfigError
from common.subjects import is_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a board of a kind is meant for, and how many jobs it runs at once."""

    topics: tuple[str, ...]
    slots: int


ROLES: Mapping[str, Role] = {
    # Slots: what the board's memory and its gain from batching allow; the rest of OLLAMA_NUM_PARALLEL would only slow each stream.
    "nano": Role(topics=("chat",), slots=1),
    "orin": Role(topics=("code", "reasoning"), slots=2),
    "nx": Role(topics=("code", "chat"), slots=2),
    "agx": Role(topics=("code", "reasoning", "writing"), slots=4),
    "pi5": Role(topics=("chat", "writing"), slots=1),
    "pi4": Role(topics=("chat",), slots=1),
    "pi3": Role(topics=("chat",), slots=1),
}
OTHER = Role(topics=(), slots=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDevice:
    """One simulated device: its name on the bus and the board it plays."""

    name: str
    profile: str

    @property
    def role(self) -> Role:
        return ROLES.get(self.profile, OTHER)


def devices(text: str) -> list[SimulatedDevice]:
    """Read `profile` or `name=profile`, separated by commas. Raises `ConfigError` that quotes the part that is wrong."""
    plan: dict[str, SimulatedDevice] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, mark, profile = (piece.strip() for piece in part.partition("="))
        if not is_token(name) or (mark and not profile):
            raise ConfigError(
                f"DROVER_DEVICES: {part!r} is not a device: write profile or name=profile, names from A-Z a-z 0-9 _ -"
            )
        if name in plan:
            raise ConfigError(
                f"DROVER_DEVICES: {name!r} stands twice: give one of them a name, for example {name}2={profile or name}"
            )
        plan[name] = SimulatedDevice(name=name, profile=profile or name)
    if not plan:
        raise ConfigError("DROVER_DEVICES names no device: write for example DROVER_DEVICES=nano,orin,pi5")
    return list(plan.values())

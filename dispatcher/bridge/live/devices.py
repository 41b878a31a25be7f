"""The devices as streams tell of them: all at first, then the cards that changed; it hears nothing itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from common import codec
from dispatcher.bridge.callers import Part
from dispatcher.bridge.cards import device_card
from dispatcher.bridge.live.writing import event, field, rows
from dispatcher.bridge.presence import Presence, fitting
from dispatcher.fleet import Device

EACH_S = 0.01
"""The devices are looked at once a second, and no more than a hundred cards are made in one: each takes a tenth of a millisecond,
several on a small board."""

LEAST_S, MOST_S = 1.0, 10.0

MOST_GONE = 1000
"""Names of devices that are gone; whoever has not heard so many gets the whole list again."""

_BREATH = ("seen_unix_s", "uptime_s")
"""What each heartbeat changes though nothing has: it makes no card a new one."""


@dataclass(slots=True)
class _Card:
    device: Device
    told: dict[str, Any]
    changed: int
    seen: int
    encoded: bytes | None = None

    @property
    def data(self) -> bytes:
        if self.encoded is None:
            self.encoded = codec.encode(self.told)
        return self.encoded


class DeviceBoard:
    """The cards of all devices, or of a part of the fleet, with the version in which each changed last."""

    def __init__(self, presence: Presence, part: Part | None = None) -> None:
        self._presence = presence
        self._part = part or Part()
        self._cards: dict[str, _Card] = {}
        self._gone: dict[str, int] = {}
        self._whole_before = 0
        self._made: dict[int, bytes] = {}
        self.version = 0

    def __len__(self) -> int:
        return len(self._cards)

    def look(self) -> None:
        """Take in the fleet as it is now, those included that are not heard any more."""
        devices, version = self._seen(), self.version + 1
        left = [name for name in self._cards if name not in devices]
        for name in left:
            del self._cards[name]
            self._gone[name] = version
        taken = [name for name, (device, shown) in devices.items() if self._take(device, shown, version)]
        if not left and not taken:
            return
        self.version = version
        self._made.clear()
        if len(self._gone) > MOST_GONE:
            self._gone.clear()
            self._whole_before = version

    def _seen(self) -> dict[str, tuple[Device, Device]]:
        """Give each device of the part, as it is and as it is shown."""
        part, there = self._part, self._presence.fleet().devices
        shown = {name: fitting(device, models=part.models, devices=part.devices) for name, device in there.items()}
        return {name: (there[name], device) for name, device in shown.items() if device is not None}

    def _take(self, device: Device, shown: Device, version: int) -> bool:
        """Make a card anew, where its device is another value than it was: they never change."""
        card = self._cards.get(device.name)
        if card is not None and card.device is device:
            return False
        told = device_card(shown, self._presence.heard_unix_s(device.name))
        same = card is not None and _steady(card.told) == _steady(told)
        changed = card.changed if card is not None and same else version
        self._cards[device.name] = _Card(device, told, changed, version)
        self._gone.pop(device.name, None)
        return True

    def since(self, version: int) -> bytes:
        """Write what is new behind a version, -1 for all; nothing where nothing is. Those in step are told with the same bytes."""
        if version == self.version:
            return b""
        if version not in self._made:
            self._made[version] = self._event(version)
        return self._made[version]

    def _event(self, version: int) -> bytes:
        if version < self._whole_before or version < 0:
            return event("devices", b'"whole":true', rows("devices", (card.data for card in self._cards.values())))
        cards = self._cards.items()
        seen = {name: card.told["seen_unix_s"] for name, card in cards if card.changed <= version < card.seen}
        gone = [name for name, since in self._gone.items() if since > version]
        return event(
            "devices",
            rows("devices", (card.data for _, card in cards if card.changed > version)),
            field("seen", seen) if seen else b"",
            field("gone", gone) if gone else b"",
        )


class Boards:
    """A board for each part of the fleet that somebody looks at."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._boards: dict[Part | None, DeviceBoard] = {}
        self._wanted = Counter[Part | None]()

    @property
    def every_s(self) -> float:
        """How long the next look may wait."""
        return min(MOST_S, max(LEAST_S, sum(map(len, self._boards.values())) * EACH_S))

    def want(self, part: Part | None, number: int) -> None:
        """Count who looks at a part: what nobody does is not kept up, and begun anew for the next."""
        self._wanted[part] += number
        if not self._wanted[part]:
            del self._wanted[part], self._boards[part]
        elif part not in self._boards:
            self._boards[part] = board = DeviceBoard(self._presence, part)
            board.look()

    def look(self) -> None:
        """Take in the fleet as it is now."""
        for board in self._boards.values():
            board.look()

    def of(self, part: Part | None) -> DeviceBoard:
        """Give the board of a part that is wanted."""
        return self._boards[part]


def _steady(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in _BREATH}

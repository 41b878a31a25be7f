"""How many events of devices are told: what one device, or many invented ones, do all day must not crowd out the jobs."""

from __future__ import annotations

from dataclasses import dataclass

OF_ONE, OF_ONE_EVERY_S = 20, 60.0
"""Of one device so many at once, and then one a minute: whoever comes and goes more often has told enough of that."""

OF_ALL, OF_ALL_EVERY_S = 2048, 0.5
"""Of all together: a large fleet that joins at once, and then two a second, some 100 MB a day at the very most."""

MOST_DEVICES = 4096


@dataclass(slots=True)
class _Allowance:
    left: float
    at_s: float

    def refill(self, now_s: float, most: int, every_s: float) -> None:
        self.left = min(float(most), self.left + max(0.0, now_s - self.at_s) / every_s)
        self.at_s = now_s


class EventRate:
    """Says of each event whether it is told; times are seconds that never run backwards."""

    def __init__(self) -> None:
        self._all = _Allowance(OF_ALL, 0.0)
        self._devices: dict[str, _Allowance] = {}

    def allows(self, device: str, now_s: float) -> bool:
        """Take one from the allowance of its device and from that of all; False when there is none."""
        of_one = self._of(device, now_s)
        self._all.refill(now_s, OF_ALL, OF_ALL_EVERY_S)
        if of_one is None or of_one.left < 1 or self._all.left < 1:
            return False
        of_one.left -= 1
        self._all.left -= 1
        return True

    def _of(self, device: str, now_s: float) -> _Allowance | None:
        """Give a device's allowance; None where too many devices have used theirs of late."""
        if device not in self._devices:
            if len(self._devices) >= MOST_DEVICES:
                self._forget(now_s)
            if len(self._devices) >= MOST_DEVICES:
                return None
            self._devices[device] = _Allowance(OF_ONE, now_s)
        found = self._devices[device]
        found.refill(now_s, OF_ONE, OF_ONE_EVERY_S)
        return found

    def _forget(self, now_s: float) -> None:
        """Drop the devices that have all of theirs again: they are as if they were new."""
        for one in self._devices.values():
            one.refill(now_s, OF_ONE, OF_ONE_EVERY_S)
        self._devices = {name: one for name, one in self._devices.items() if one.left < OF_ONE}

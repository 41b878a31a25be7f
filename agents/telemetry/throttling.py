"""Whether the board slows itself down, and why, in the words of `common.throttling`: the firmware's bits of a Raspberry Pi, the
kernel's cooling devices, the event counters of Orins and of x86. Reading them needs no rights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agents.telemetry.files import text_of, whole_of, within
from common.throttling import Throttle, told

_THROTTLED = re.compile(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", re.ASCII)

_NOW = {
    0: told(Throttle.UNDER_VOLTAGE, "the supply gives less than 4.63 V"),
    1: told(Throttle.FREQUENCY_CAP, "the firmware limits the clock"),
    2: told(Throttle.THERMAL, "the firmware holds the clock down"),
    3: told(Throttle.SOFT_LIMIT, "the firmware has begun to slow the clock"),
}
_SINCE_BOOT = {
    16: "under-voltage since the last boot: look at the power supply and its cable",
    17: "its clock was capped since the last boot",
    18: "it was throttled since the last boot: look at supply and cooling",
    19: "it came to its soft temperature limit since the last boot: look at the cooling",
}
"""Bits of get_throttled (raspberrypi.com/documentation, vcgencmd). That 17 is the cap and 18 the throttling, sources agree on but
for one."""

_SLOWS = re.compile(r"(?i)throttle|cpufreq|devfreq|^(cpu|gpu)[-_]|^processor$")
"""Cooling devices that slow down what computes. Others are fans, radios and screens; `TCC Offset` and `intel_powerclamp` show a
state that tells nothing."""

_HEAVY = 0.5
"""From this share of its range on a lowered clock is throttling, and no gentle limit any more."""

_OVER = {
    1: (Throttle.UNDER_VOLTAGE, "under-voltage"),
    2: (Throttle.OVER_CURRENT, "average over-current"),
    3: (Throttle.OVER_CURRENT, "over-current"),
}
"""The counters of `soctherm_oc` (docs.nvidia.com/jetson, Platform Power and Performance of Orin)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found: reasons that hold now, and what was at some time since the last boot. `known` is False where nothing there
    could tell."""

    known: bool
    now: tuple[str, ...] = ()
    past: tuple[str, ...] = ()


def pi_bits(text: str) -> Finding:
    """Read what the firmware says, as `vcgencmd get_throttled` (`throttled=0x50005`) or sysfs (`50005`) gives it."""
    found = _THROTTLED.fullmatch(text.strip())
    if found is None:
        return Finding(known=False)
    bits = int(found[1], 16)
    now = tuple(words for bit, words in _NOW.items() if bits >> bit & 1)
    past = tuple(
        words for bit, words in _SINCE_BOOT.items() if bits >> bit & 1 and not bits >> (bit - 16) & 1
    )  # what holds now is told as such
    return Finding(known=True, now=now, past=past)


@dataclass(frozen=True, slots=True)
class Cooler:
    """A cooling device of the kernel, and how far it is on."""

    name: str
    state: int
    most: int


def cooling(coolers: list[Cooler]) -> Finding:
    """Judge those that slow down what computes: the worst alert, and the worst lowered clock."""
    slowing = [one for one in coolers if _SLOWS.search(one.name) and "fan" not in one.name.lower()]
    active = [one for one in slowing if one.state > 0]
    alerts = [one for one in active if "throttle" in one.name]
    clocks = [one for one in active if "throttle" not in one.name]
    reasons: list[str] = []
    if alerts:
        worst = max(alerts, key=lambda one: (one.state, one.name))
        reasons.append(told(Throttle.THERMAL, f"{worst.name} at {worst.state} of {worst.most}"))
    if clocks:
        worst = max(clocks, key=_share)
        kind = Throttle.THERMAL if _share(worst) >= _HEAVY else Throttle.SOFT_LIMIT
        reasons.append(told(kind, f"{worst.name} lowered by {worst.state} of {worst.most} steps"))
    hot = any("hot-surface" in one.name and one.state > 0 for one in coolers)
    past = ("its surface is hot: don't touch it, and look at the cooling",) if hot else ()
    return Finding(known=bool(slowing), now=tuple(reasons), past=past)


def _share(one: Cooler) -> float:
    return one.state / one.most if one.most > 0 else 1.0


def coolers(thermal: Path) -> list[Cooler]:
    """List the kernel's cooling devices."""
    found = (
        (text_of(one / "type"), whole_of(one / "cur_state"), whole_of(one / "max_state"))
        for one in within(thermal, "cooling_device*")
    )
    return [Cooler(name[:60], state, most or 0) for name, state, most in found if name and state is not None]


class Events:
    """Counts that only grow, looked at again and again: what came since the last look."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def since(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Give how much each has grown; nothing for one that is new, or that went back."""
        grown = {name: count - self._seen.get(name, count) for name, count in counts.items()}
        self._seen = dict(counts)
        return {name: more for name, more in grown.items() if more > 0}


def over_current(counts: Mapping[str, int], grown: Mapping[str, int]) -> Finding:
    """Judge Orin's counters, by their numbers 1 to 3 as text."""
    now = tuple(
        told(kind, f"{grown[str(number)]} events of {words} since the last look")
        for number, (kind, words) in _OVER.items()
        if str(number) in grown
    )
    low = counts.get("1", 0)
    past = (f"{low} events of under-voltage since the last boot: look at the power supply",) if low else ()
    return Finding(known=bool(counts), now=now, past=past)


def x86(counts: Mapping[str, int], grown: Mapping[str, int]) -> Finding:
    """Judge the counters of x86 processors."""
    events = max(grown.values(), default=0)
    now = (told(Throttle.THERMAL, f"the processor did it {events} times since the last look"),) if events else ()
    return Finding(known=bool(counts), now=now)


class Throttling:
    """Looks at all that this machine has; `root` is where its files begin, `vcgencmd` asks the firmware where no file tells."""

    def __init__(self, root: Path, vcgencmd: Callable[[], str]) -> None:
        self._root = root
        self._vcgencmd = vcgencmd
        self._over = Events()
        self._x86 = Events()

    def look(self, *, pi: bool) -> Finding:
        """Put together what each source says."""
        found = list(self._sources(pi=pi))
        return Finding(
            known=any(one.known for one in found),
            now=tuple(words for one in found for words in one.now),
            past=tuple(words for one in found for words in one.past),
        )

    def _sources(self, *, pi: bool) -> Iterator[Finding]:
        sys = self._root / "sys"
        if pi:
            files = within(sys / "devices/platform", "soc*/*firmware/get_throttled")
            yield pi_bits(text_of(files[0]) if files else self._vcgencmd())
        yield cooling(coolers(sys / "class/thermal"))
        over = _soctherm(sys / "class/hwmon")
        yield over_current(over, self._over.since(over))
        counts = _counts(sys / "devices/system/cpu")
        yield x86(counts, self._x86.since(counts))


def _soctherm(hwmon: Path) -> dict[str, int]:
    for chip in within(hwmon, "hwmon*"):
        if text_of(chip / "name") == "soctherm_oc":
            found = {str(number): whole_of(chip / f"oc{number}_event_cnt") for number in _OVER}
            return {number: count for number, count in found.items() if count is not None}
    return {}


def _counts(cpus: Path) -> dict[str, int]:
    files = within(cpus, "cpu[0-9]*/thermal_throttle/core_throttle_count")
    found = {file.parent.parent.name: whole_of(file) for file in files}
    package = whole_of(cpus / "cpu0/thermal_throttle/package_throttle_count")
    return {name: count for name, count in {**found, "package": package}.items() if count is not None}

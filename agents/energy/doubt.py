"""How far a job's joules may be off: the parts of the error, added as they add; plain arithmetic, it knows no job.

Errors that point any way are added by their squares: what a reading is off, what happened between two of them, when exactly a
job began. Errors that point one way all along are added as they are: the sensor's calibration, the baseline, a guess.
Half-widths are of 95 % intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt

SIGMAS = 1.96

EDGE_S = 0.02
"""An engine begins and ends a job that much beside when the agent sees it, at each end: hops over loopback, and the loop's turn."""

HELD = 0.05
"""Standard deviation of what is drawn above idle beside a reading that is held, as a share of it."""

SPLIT = 0.07
"""Of what a job paid beside others: the speeds that shares come from lag behind a change."""

MOST = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A piece of time and what was drawn in it, from `first_w` evenly to `last_w`.

    `sensor` is how far a reading may be off, as a share; `guess` is the same for all that is above idle where nothing was read.
    `held` tells that one reading speaks for all of it.
    """

    seconds: float
    first_w: float
    last_w: float
    sensor: float = 0.0
    guess: float = 0.0
    held: bool = False

    @property
    def joules(self) -> float:
        return (self.first_w + self.last_w) / 2 * self.seconds

    @property
    def variance_j2(self) -> float:
        """Of its joules: a step between two readings may have been at any time, and each reading is off by something."""
        if self.guess:
            return 0.0
        step_j = (self.last_w - self.first_w) * self.seconds / 2
        noise_j = self.sensor * self.joules / SIGMAS
        return step_j * step_j + noise_j * noise_j


@dataclass(slots=True)
class Doubt:
    """The parts of one job's error, in joules."""

    variance_j2: float = 0.0
    sensor_j: float = 0.0
    idle_j: float = 0.0
    guess_j: float = 0.0
    split_j: float = 0.0

    def add(self, stretch: Stretch, *, part: float, net_j: float, idle_half_w: float, alone: bool) -> None:
        """Take one more stretch, of whose energy above idle the job pays `part`, `net_j`."""
        self.variance_j2 += part * part * stretch.variance_j2
        self.sensor_j += stretch.sensor * net_j
        if stretch.held:
            self.variance_j2 += (HELD * net_j) ** 2
        self.idle_j += part * idle_half_w * stretch.seconds
        self.guess_j += stretch.guess * net_j
        self.split_j += 0.0 if alone else SPLIT * net_j

    def share(self, net_j: float, seconds: float) -> float:
        """Give half the width of the 95 % interval of `net_j`, taken in `seconds`, as a share of it; 1 for nothing taken."""
        if net_j <= 0.0 or seconds <= 0.0:
            return 1.0
        edges_j = net_j / seconds * EDGE_S * sqrt(2)
        parts = (SIGMAS * sqrt(self.variance_j2), self.sensor_j, self.idle_j, self.guess_j, self.split_j, edges_j)
        return min(MOST, hypot(*parts) / net_j)

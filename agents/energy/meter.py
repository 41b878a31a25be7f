"""Adds up what the device draws, and what each job takes of it, reading by reading; it reads nothing and waits for nothing.

What runs changes in steps: a job begins, gives its first token, ends. Between two such changes a reading holds for its
neighbourhood: the first one back to the change before it, the last one on to the change behind it, and between two of them the
draw moves evenly. So no reading of the idle device is ever mixed into a job's edges, which would cost a short job up to a fifth of
its energy. Time between two changes in which nothing was read is filled with what the device usually draws then.

Each piece of time is booked once and for good, so that what all jobs took and what nobody took is what the device took.
A job that was ended while the engine still computes for it keeps its share, so that others don't pay for it; what it takes after
its receipt is written is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.energy.cadence import Moments
from agents.energy.charge import Charge
from agents.energy.doubt import Stretch
from agents.energy.idle import Idle, Level
from agents.energy.split import shares
from agents.energy.usual import LEARNT, RECENT, Profile, Situation, Usual, situation
from agents.power import Reading
from common.clock import Clock
from common.energy import Energy
from common.frames import Phase

GUARD_S = 0.02
"""A reading this close to where work begins or ends may be of the other side: the agent hears of it a few milliseconds after the
engine."""

RECENT_S = 1.0
"""What was read so lately tells what is usual now."""

SETTLE_S = 2.0
"""So long after a job a reading says nothing of the idle device: sensors average, and fans run on."""

HOLD_S = 5.0
"""While jobs run, a reading speaks for no longer than this."""

LATE_S, LATE_SHARE = 0.7, 0.25
"""A first reading so soon after the device became busy, of less than this share of what the next one is above idle, saw it idle:
sensors are late. The next one holds in its place."""

QUANTUM_S = 0.0002
"""Of time for each job but one: changes that follow one another faster than that are booked as one. A booking takes some 7 µs for
each of eight jobs and more: however fast they change, bookings cost no more than a twenty-fifth of a core; of two jobs, 19 µs
each, a fifth (`python -m tests.booking_overhead`, x86). Engines change far more seldom: at each begin, first token and end."""

_ALONE = Situation(Phase.DECODE, 1)


class Meter:
    """The account of one device. `profile` says what is known of it beforehand, `loaded` whether a model is in its memory;
    `changed` is called when a job begins, gives its first token or ends, and must return at once."""

    def __init__(
        self,
        clock: Clock,
        *,
        profile: Callable[[], Profile],
        loaded: Callable[[], bool],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.energy_j = 0.0
        """All that was drawn, as far as it is booked."""
        self.unassigned_j = 0.0
        """What of that no job has paid: drawn while none ran, or for one that had ended."""
        self.jobs = 0
        self.jobs_j = 0.0
        """Receipts written, and the joules above idle on them."""
        self.jobs_s = 0.0
        """Seconds in which a job ran, those of several at once added up."""
        self.last: Reading | None = None
        self._clock = clock
        self._profile = profile
        self._loaded = loaded
        self._changed = changed
        self._idle = Idle()
        self._usual = Usual()
        self._running: dict[Charge, None] = {}
        self._since_s = self._edge_s = clock.monotonic()
        self._idle_since_s = self._busy_since_s = self._since_s
        self._first_token_s = float("-inf")
        self._held: Reading | None = None
        self._pending: Reading | None = None

    @property
    def in_flight(self) -> int:
        """Count the jobs that the engine works for, ended ones included."""
        return len(self._running)

    @property
    def idle(self) -> Level:
        """Give the baseline as it is known now."""
        profile = self._profile()
        last_w = self.last.watts if self.last is not None else None
        return self._idle.level(loaded=self._loaded(), profile_w=profile.idle_w, busy_w=profile.busy_w or last_w)

    @property
    def busy_w(self) -> float | None:
        """Give what the device draws with one job that decodes; None where that was never read."""
        return self._usual.known(_ALONE)

    @property
    def moments(self) -> Moments:
        """Say what the cadence of readings goes by."""
        return Moments(
            busy=bool(self._running),
            busy_since_s=self._busy_since_s,
            idle_since_s=self._idle_since_s,
            first_token_s=self._first_token_s,
            learnt=self._idle.firm(loaded=self._loaded()),
        )

    def now_s(self) -> float:
        """Give the seconds of the clock that readings and changes share."""
        return self._clock.monotonic()

    def read(self, reading: Reading) -> None:
        """Take a reading. One that is no newer than what is booked, or too close to where work began or ended, says nothing."""
        newest_s = self._since_s if self._pending is None else self._pending.at_s
        if reading.at_s <= newest_s or (self.last is not None and reading.at_s - self._edge_s < GUARD_S):
            return
        self.last = reading
        if self._pending is not None and not self._was_late(self._pending, reading):
            self._accept(self._pending)
        self._pending = reading

    def settle(self) -> None:
        """Book all until now."""
        now_s = self.now_s()
        if not self._booked(now_s):
            self._close(now_s)

    def enter(self, charge: Charge) -> None:
        """Have a job pay from now on."""
        now_s = self._turn()
        if not self._running:
            self._busy_since_s = self._edge_s = now_s
        self._running[charge] = None
        self._changed()

    def turn(self, charge: Charge, phase: Phase) -> None:
        """Have a job go on to another phase, at its first token."""
        self._first_token_s = self._turn()
        charge.phase = phase
        self._changed()

    def leave(self, charge: Charge) -> None:
        """Have a job pay no longer; one that does not pay is no error."""
        if charge not in self._running:
            return
        now_s = self._turn()
        del self._running[charge]
        if not self._running:
            self._idle_since_s = self._edge_s = now_s
        self._changed()

    def written(self, energy: Energy) -> None:
        """Count a receipt."""
        self.jobs += 1
        self.jobs_j += energy.joules

    def _turn(self) -> float:
        """Something changes now, which is given: what was read before says nothing of what comes."""
        now_s = self.now_s()
        if not self._booked(now_s):
            self._close(now_s)
        self._held = None
        return now_s

    def _booked(self, now_s: float) -> bool:
        """Tell whether what was drawn until now is booked, or too little to be worth it."""
        return now_s - self._since_s < QUANTUM_S * (len(self._running) - 1)

    def _close(self, now_s: float) -> None:
        # With one job or none, what changes now is whether the device works at all.
        if self._pending is not None and (len(self._running) > 1 or now_s - self._pending.at_s >= GUARD_S):
            self._accept(self._pending)
        self._pending = None
        if self._held is not None:
            held = self._held
            until_s = min(now_s, held.at_s + HOLD_S) if self._running else now_s
            self._add(until_s, held, held)
        self._fill(now_s)

    def _was_late(self, first: Reading, following: Reading) -> bool:
        """Tell whether the first reading of a job on an idle device was still of before."""
        if not self._running or self._held is not None or first.at_s - self._busy_since_s > LATE_S:
            return False
        idle_w = self.idle.watts
        return first.watts - idle_w < LATE_SHARE * (following.watts - idle_w)

    def _accept(self, reading: Reading) -> None:
        """Book up to a reading."""
        apart = self._held is not None and self._running and reading.at_s - self._since_s > HOLD_S
        self._learn(reading)
        self._add(reading.at_s, self._held or reading, reading, guess=LEARNT if apart else 0.0)
        self._held = reading
        for charge in self._running:
            charge.see(reading.source, measured=reading.measured)

    def _add(self, until_s: float, first: Reading, last: Reading, *, guess: float = 0.0) -> None:
        """Book what was drawn since the last booking, between two readings, or beside one."""
        self._book(
            Stretch(
                seconds=until_s - self._since_s,
                first_w=first.watts,
                last_w=last.watts,
                sensor=last.uncertainty,
                guess=guess,
                held=first is last,
            )
        )

    def _fill(self, until_s: float) -> None:
        """Book the rest, in which nothing was read."""
        if until_s > self._since_s:
            watts, guess = self._guess()
            self._book(Stretch(seconds=until_s - self._since_s, first_w=watts, last_w=watts, guess=guess))

    def _book(self, stretch: Stretch) -> None:
        if stretch.seconds <= 0:
            return
        middle_s = self._since_s + stretch.seconds / 2
        self._since_s += stretch.seconds
        self.energy_j += stretch.joules
        self.jobs_s += stretch.seconds * len(self._running)
        if self._running:
            self._split(stretch, middle_s)
        else:
            self.unassigned_j += stretch.joules

    def _split(self, stretch: Stretch, middle_s: float) -> None:
        level, count = self.idle, len(self._running)
        idle_j = min(stretch.joules, level.watts * stretch.seconds)
        parts = shares([charge.work(middle_s) for charge in self._running])
        for charge, part in zip(self._running, parts, strict=True):
            net_j = part * (stretch.joules - idle_j)
            if charge.closed:
                self.unassigned_j += net_j + idle_j / count
            else:
                charge.pay(
                    stretch,
                    part=part,
                    net_j=net_j,
                    idle_j=idle_j / count,
                    idle_half_w=level.half_w,
                    alone=count == 1,
                )

    def _learn(self, reading: Reading) -> None:
        """Remember what is drawn idle, and what is usual for what runs now."""
        if self._running:
            self._usual.learn(self._situation(), reading.watts)
        elif (
            reading.at_s - self._idle_since_s >= SETTLE_S or self._idle_since_s == self._busy_since_s
        ):  # or: never busy
            self._idle.learn(reading.watts, loaded=self._loaded())

    def _guess(self) -> tuple[float, float]:
        """Give what is drawn where nothing was read, and how far off it may be."""
        idle_w = self.idle.watts
        if not self._running:
            return idle_w, LEARNT
        now, last = self._situation(), self.last
        last_w = last.watts if last is not None else idle_w
        watts, guess = self._usual.guess(now, idle_w=idle_w, busy_w=self._profile().busy_w, last_w=last_w)
        recent = last is not None and last.at_s > max(self._busy_since_s, self._since_s - RECENT_S)
        return watts, min(guess, RECENT) if recent and guess <= LEARNT else guess

    def _situation(self) -> Situation:
        return situation([charge.work(self._since_s).phase for charge in self._running])

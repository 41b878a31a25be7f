"""What one job takes of the device: its phases and tokens, and the joules that the meter books on it; it knows no other job."""

from __future__ import annotations

from typing import Protocol

from agents.energy.doubt import Doubt, Stretch
from agents.energy.split import Work
from agents.energy.usual import RECENT
from common.energy import Energy
from common.frames import Phase

MOST_GUESSED = 0.1
"""A figure of which more is a guess is no measurement."""

LEAST_READINGS = 2
"""Nor is one from fewer."""

UNREAD = "model"
"""Stands for the reader where none has read anything."""

FRESH = 0.3
"""How much the newest gap counts in how fast the tokens come."""


class Account(Protocol):
    """What a charge needs of the meter."""

    def now_s(self) -> float:
        """Give the seconds of the monotonic clock."""
        ...

    def enter(self, charge: Charge) -> None:
        """Have it pay from now on."""
        ...

    def turn(self, charge: Charge, phase: Phase) -> None:
        """Have it go on to another phase."""
        ...

    def leave(self, charge: Charge) -> None:
        """Have it pay no longer; one that does not pay is no error."""
        ...

    def settle(self) -> None:
        """Book all until now."""
        ...

    def written(self, energy: Energy) -> None:
        """Count a receipt."""
        ...


class Charge:
    """What one job takes. Nothing happens to it until `begin`; without an account nothing ever does."""

    def __init__(self, account: Account | None = None) -> None:
        self.phase = Phase.QUEUE
        self._account = account
        self._energy: Energy | None = None
        self._net_j = 0.0
        self._idle_j = 0.0
        self._guessed_j = 0.0
        self._seconds = 0.0
        self._doubt = Doubt()
        self._readings = 0
        self._measured = True
        self._source = UNREAD
        self._pace: float | None = None
        self._loaded_s = float("inf")
        self._pieces = 0
        self._heard_s = 0.0
        self._gap_s: float | None = None

    @property
    def closed(self) -> bool:
        """True once its receipt is written."""
        return self._energy is not None

    def begin(self, phase: Phase, *, pace: float | None = None, load_s: float | None = None) -> None:
        """The engine has the job from now on. `pace` is how many tokens its model usually makes in a second, `load_s` what loading
        it usually takes."""
        if self._account is None:
            return
        self.phase, self._pace = phase, pace
        self._loaded_s = self._account.now_s() + load_s if load_s is not None else float("inf")
        self._account.enter(self)

    def hear(self) -> None:
        """The engine has made one more token."""
        if self._account is None:
            return
        now_s = self._account.now_s()
        if not self._pieces:
            self._account.turn(self, Phase.DECODE)
        else:
            gap_s = now_s - self._heard_s
            self._gap_s = gap_s if self._gap_s is None else self._gap_s + FRESH * (gap_s - self._gap_s)
        self._pieces += 1
        self._heard_s = now_s

    def take(self, tokens: int | None = None) -> Energy | None:
        """Write the receipt, with the tokens of the answer, or as many as were heard; None where nothing was begun. What is drawn
        later is not in it."""
        if self._account is None or self.phase is Phase.QUEUE:
            return None
        if self._energy is None:
            self._account.settle()
            self._energy = self._receipt(self._pieces if tokens is None else tokens)
            self._account.written(self._energy)
        return self._energy

    def leave(self) -> None:
        """The engine is done with it."""
        if self._account is not None:
            self._account.leave(self)

    def work(self, at_s: float) -> Work:
        """Say what it does at a moment."""
        if self.phase is Phase.LOAD and at_s >= self._loaded_s:
            return Work(phase=Phase.PREFILL)
        if self._gap_s is None:
            return Work(phase=self.phase)
        # A token that is overdue tells of a lower speed before it comes.
        gap_s = max(self._gap_s, at_s - self._heard_s, 1e-6)
        return Work(phase=self.phase, tokens_s=1 / gap_s, pace=self._pace)

    def pay(
        self, stretch: Stretch, *, part: float, net_j: float, idle_j: float, idle_half_w: float, alone: bool
    ) -> None:
        """Book a stretch, of which it takes `part` of what is above idle, `net_j`, and `idle_j` of the rest."""
        self._net_j += net_j
        self._idle_j += idle_j
        self._guessed_j += net_j if stretch.guess > RECENT else 0.0
        self._seconds += stretch.seconds
        self._doubt.add(stretch, part=part, net_j=net_j, idle_half_w=idle_half_w, alone=alone)

    def see(self, source: str, *, measured: bool) -> None:
        """Note that the device was read while it ran."""
        self._readings += 1
        self._measured = self._measured and measured
        self._source = source

    def _receipt(self, tokens: int) -> Energy:
        sensed = self._readings >= LEAST_READINGS and self._guessed_j <= MOST_GUESSED * self._net_j
        return Energy(
            joules=self._net_j,
            idle_joules=self._idle_j,
            measured=self._measured and sensed,
            source=self._source,
            uncertainty=self._doubt.share(self._net_j, self._seconds),
            tokens=tokens,
        )

"""What became of every job: answered once, lost, duplicated, or a typed error; it knows no fault."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

ANSWERED = "answered"
LOST = frozenset({"silence", "bus_timeout", "disconnected", "no_responders", "no_dispatcher", "unfinished"})
"""How a job ends that nobody has answered, not even with an error: its producer has only its own patience to go by."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One job as its producer saw it. `setbacks` are the errors after which it was sent again."""

    job: str
    expected: str
    sent_s: float
    outcome: str = "unfinished"
    text: str = ""
    wrong: str = ""
    """Why its text is not the answer to its own question; empty when it is."""
    submissions: int = 0
    attempts: int = 0
    beside: int = 0
    """Attempts that began while another one of the job still ran."""
    setbacks: Counter[str] = field(default_factory=Counter)
    ended_s: float = math.inf

    @property
    def took_s(self) -> float:
        return self.ended_s - self.sent_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The sums. `again` counts what its producer survived by sending a job anew; `reruns` the executions beyond the first."""

    jobs: int
    answered: int
    lost: int
    duplicated: int
    spliced: int
    errors: dict[str, int]
    again: dict[str, int]
    reruns: int

    @property
    def whole(self) -> bool:
        """True when every job came to exactly one end, and no text was anything but the answer."""
        return not (self.lost or self.duplicated or self.spliced)


def account(entries: Iterable[Entry], *, duplicated: Iterable[str] = (), resent: int = 0) -> Account:
    """Sum up. `duplicated` are the jobs of which somebody saw more than one answer; `resent` is how often jobs were sent again by
    the client itself."""
    every = list(entries)
    errors = Counter(entry.outcome for entry in every if entry.outcome != ANSWERED and entry.outcome not in LOST)
    again: Counter[str] = Counter()
    for entry in every:
        again.update(entry.setbacks)
    copies = len(every) - len({entry.job for entry in every})
    if (by_client := resent - again.total() - copies) > 0:
        again["by the client"] = by_client
    return Account(
        jobs=len(every),
        answered=sum(entry.outcome == ANSWERED for entry in every),
        lost=sum(entry.outcome in LOST for entry in every),
        duplicated=len(set(duplicated)),
        spliced=sum(bool(entry.wrong) for entry in every),
        errors=dict(errors),
        again=dict(again),
        reruns=sum(max(0, entry.attempts - 1) for entry in every),
    )


def percentile(values: Iterable[float], share: float) -> float:
    """Give the smallest value that at least `share` of all do not exceed; NaN for none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan

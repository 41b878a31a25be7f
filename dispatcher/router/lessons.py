"""What one tenant's outcomes have taught, and the last of them, so that one that is taken back is as if it had never been.

What was learned can't be reckoned backwards: moves are cut at bounds, and each outcome was measured by what was usual then. So the
last outcomes are kept, with the moments at which they were applied, and are gone through again without the one.
"""

from __future__ import annotations

from collections import OrderedDict

from dispatcher.routing.feedback import Change, Learned, Outcome, changed, heard

MOST_KEPT = 256
"""Outcomes, and moments between them. What is older is not taken back, and has faded: with a moment behind each the oldest of 128
outcomes has 8 % of its weight left in what is summed, else 0.6 %."""


class Lessons:
    """Outcomes by number. `learned` is what follows from them; who forgets one sees that from the next change on."""

    def __init__(self, learned: Learned | None = None) -> None:
        self.learned = self._base = learned or Learned()
        self._heard: OrderedDict[int, Outcome | None] = OrderedDict()
        self._stale = False

    def hear(self, number: int, outcome: Outcome) -> None:
        """Take in an outcome."""
        self.learned = heard(self.learned, outcome)
        self._put(number, outcome)

    def forget(self, number: int) -> bool:
        """Take an outcome back; False for one that is not kept any more."""
        if number not in self._heard:
            return False
        del self._heard[number]
        self._stale = True
        return True

    def change(self, number: int) -> Change | None:
        """Apply what was heard and taken back since the last change; None when there was nothing."""
        before = self.learned
        if self._stale:
            self.learned, self._stale = self._again(), False
        self.learned, change = changed(self.learned)
        if change is not None:
            self._put(number, None)
        return None if self.learned is before else Change(before=before, after=self.learned)

    def _again(self) -> Learned:
        learned = self._base
        for outcome in self._heard.values():
            learned = _after(learned, outcome)
        return learned

    def _put(self, number: int, outcome: Outcome | None) -> None:
        self._heard[number] = outcome
        if len(self._heard) > MOST_KEPT:
            _, oldest = self._heard.popitem(last=False)
            self._base = _after(self._base, oldest)


def _after(learned: Learned, outcome: Outcome | None) -> Learned:
    """Go on by one step: an outcome, or the moment at which those before it were applied."""
    return changed(learned)[0] if outcome is None else heard(learned, outcome)

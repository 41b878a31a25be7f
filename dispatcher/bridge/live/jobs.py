"""The jobs that wait and run, and how those ended that did, for all streams; it asks nobody.

Dispatchers are asked each second what they have, which is where phases come from, and tell each end by an event. A job that is told
of no more, and whose end nobody told, is gone: its dispatcher died, or the event was lost.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from common import codec
from common.running import Running, RunningJob
from dispatcher.bridge.callers import Jobs
from dispatcher.bridge.live.endings import Ending, ended_card
from dispatcher.bridge.live.writing import event, rows

MOST_LIVE = 2000
"""Of all dispatchers; what is more is not told of until it ends."""

MOST_OVER = 500
"""Jobs that have ended, for streams that are slow; one that missed more gets all that is there anew."""

ECHO_S = 3.0
"""So long after its end a job may stand in a dispatcher's answer that was under way."""

GONE = "gone"

Key = tuple[str, str]


@dataclass(slots=True)
class _Row:
    card: dict[str, Any]
    version: int
    dispatcher: str = ""
    missed: bool = False
    over_s: float | None = None
    encoded: bytes | None = None

    @property
    def data(self) -> bytes:
        if self.encoded is None:
            self.encoded = codec.encode(self.card)
        return self.encoded


class JobBook:
    """Rows in the order in which they changed, the latest last."""

    def __init__(self) -> None:
        self._rows: OrderedDict[Key, _Row] = OrderedDict()
        self._over: OrderedDict[Key, None] = OrderedDict()
        self._left_out: dict[str, bool] = {}
        self._whole_before = 0
        self._made: dict[tuple[int, Jobs], bytes] = {}
        self._version = 0
        self.begun = False
        """Whether anything is known: before it nothing is told, since no jobs would be a statement."""

    @property
    def version(self) -> int | None:
        """What the book is at; None until it is begun."""
        return self._version if self.begun else None

    def take(self, told: Running, now_s: float) -> None:
        """Take in what a dispatcher has now."""
        self.begun = True
        left_out = told.more
        for job in told.jobs:
            left_out |= not self._runs(job, told.dispatcher, now_s)
        self._left_out[told.dispatcher] = left_out
        if not told.more:
            self._miss(told.dispatcher, {(job.tenant, job.id) for job in told.jobs}, now_s)

    def _runs(self, job: RunningJob, dispatcher: str, now_s: float) -> bool:
        """Note a job that runs; False where there is no room."""
        key = (job.tenant, job.id)
        row = self._rows.get(key)
        if row is None and len(self._rows) - len(self._over) >= MOST_LIVE:
            return False
        if row is not None and row.over_s is not None and now_s - row.over_s < ECHO_S:
            return True
        card = codec.plain(job)
        if row is not None and row.over_s is None and row.card == card:
            row.dispatcher, row.missed = dispatcher, False
            return True
        self._over.pop(key, None)
        self._put(key, _Row(card, 0, dispatcher))
        return True

    def _miss(self, dispatcher: str, there: set[Key], now_s: float) -> None:
        """Have those be gone that a dispatcher does not tell of twice: of the first time its event may be under way."""
        missing = [key for key, row in self._of(dispatcher) if key not in there]
        for key in missing:
            row = self._rows[key]
            if row.missed:
                self._end(key, _gone(row.card), now_s)
            row.missed = True

    def end(self, ending: Ending, now_s: float, now_unix_s: float) -> None:
        """Take in how a job ended."""
        key = (ending.tenant, ending.job)
        row = self._rows.get(key)
        self._end(key, ended_card(ending, {} if row is None else row.card, now_unix_s), now_s)

    def silent(self, dispatcher: str, now_s: float) -> None:
        """Have the jobs be gone of a dispatcher that says nothing any more."""
        for key, row in list(self._of(dispatcher)):
            self._end(key, _gone(row.card), now_s)
        self._left_out.pop(dispatcher, None)

    def _of(self, dispatcher: str) -> Iterator[tuple[Key, _Row]]:
        return ((key, row) for key, row in self._rows.items() if row.dispatcher == dispatcher and row.over_s is None)

    def _end(self, key: Key, card: dict[str, Any], now_s: float) -> None:
        self._put(key, _Row(card, 0, over_s=now_s))
        self._over[key] = None
        self._over.move_to_end(key)
        while len(self._over) > MOST_OVER:
            oldest, _ = self._over.popitem(last=False)
            self._whole_before = max(self._whole_before, self._rows.pop(oldest).version)

    def _put(self, key: Key, row: _Row) -> None:
        self._version += 1
        row.version = self._version
        self._rows[key] = row
        self._rows.move_to_end(key)
        self._made.clear()

    def since(self, version: int, seen: Jobs) -> bytes:
        """Write what is new behind a version of the jobs that one may see, -1 for all that wait or run."""
        if version == self._version:
            return b""
        name = (version, seen)
        if name not in self._made:
            self._made[name] = self._event(version, seen)
        return self._made[name]

    def _event(self, version: int, seen: Jobs) -> bytes:
        whole = version < self._whole_before or version < 0
        found = [
            row.data
            for (tenant, job), row in self._newest_first(-1 if whole else version)
            if seen.has(tenant, job) and not (whole and row.over_s is not None)
        ]
        if not (found or whole):
            return b""
        more = b'"more":true' if any(self._left_out.values()) else b""
        return event("jobs", b'"whole":true' if whole else b"", rows("jobs", reversed(found)), more)

    def _newest_first(self, version: int) -> Iterator[tuple[Key, _Row]]:
        for key, row in reversed(self._rows.items()):
            if row.version <= version:
                return
            yield key, row


def _gone(card: dict[str, Any]) -> dict[str, Any]:
    """Say that nobody tells of a job any more."""
    return {name: value for name, value in card.items() if name not in {"phase", "position", "eta_s"}} | {"state": GONE}

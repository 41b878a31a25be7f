"""What became of durable jobs, and whether all of it was right: the invariants Q1 to Q7, on what the streams have kept.

Q1 every job that was stored ends in exactly one of result, dead letter, cancelled; Q2 nothing is told of a job after its final
note, so that no second result stands; Q3 an answer is one execution's whole text, for this very job; Q4 a job leaves the queue only
when its final note stands; Q5 whoever was told something was told the truth: what was accepted is stored, and what was cancelled
ends so, unless a fault was in the way; Q6 at the end nothing is left in the queue; Q7 a job that was tried too often was given to
devices, and did not only die with its dispatchers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from common.bus.memory_store import MemoryStream
from common.bus.streams import Kept
from common.durable import Letter, Names, Note, Stage, job_id_of, read_letter, read_note
from common.subjects import Subjects
from dispatcher.durable.verdict import EXHAUSTED
from tests.simulation.ledger import Ledger

Key = tuple[str, str]
"""Tenant and job."""


@dataclass(slots=True)
class QueueLedger:
    """Everything that counts of the durable lane, in one run."""

    ledger: Ledger
    subjects: Subjects
    names: Names = field(default_factory=Names)
    streams: Mapping[str, MemoryStream] = field(default_factory=dict)
    lying: Counter[Key] = field(default_factory=Counter)
    """Messages in the queue, by their jobs."""
    known: set[Key] = field(default_factory=set)
    finals: dict[Key, Note] = field(default_factory=dict)
    letters: Counter[Key] = field(default_factory=Counter)
    accepted: set[Key] = field(default_factory=set)
    tried: Counter[Key] = field(default_factory=Counter)
    """Notes that tell of a device."""
    cancelled: set[Key] = field(default_factory=set)
    """Those of which somebody was told that they are."""
    disturbed: bool = False
    """A dispatcher or the server failed: a word that was given may have died with who gave it."""

    def stored(self, stream: str, kept: Kept) -> None:
        """The server keeps a new message."""
        if stream == self.names.jobs:
            key = self._job(kept)
            self.lying[key] += 1
            self.known.add(key)
            self.ledger.note("queue", "has", f"{'.'.join(key)} as {kept.seq}")
        elif stream == self.names.results:
            self._told(kept)
        elif stream == self.names.dead:
            letter = read_letter(kept)
            self.letters[letter.tenant, letter.job] += 1
            self.ledger.note("queue", "buries", f"{letter.job} ({letter.reason}, {letter.tries} tries)")
            if letter.reason == EXHAUSTED and not self._given(letter):
                self.ledger.violate("Q7", f"{letter.job} was given up after {letter.tries} tries, and no device had it")

    def _given(self, letter: Letter) -> bool:
        """True when devices had the job, or a dispatcher has told that one was to have it."""
        return bool(self.tried[letter.tenant, letter.job] or self.ledger.by_job[letter.job])

    def _job(self, kept: Kept) -> Key:
        _, tenant, _ = self.subjects.tokens(kept.subject)
        return tenant, job_id_of(kept)

    def _told(self, kept: Kept) -> None:
        note = read_note(kept)
        key = note.tenant, note.job
        self.ledger.note("queue", f"{note.job} is {note.state},", f"try {note.tries} on {note.device}")
        if key in self.finals:
            self.ledger.violate(
                "Q2", f"{note.job} is told to be {note.state}, and was {self.finals[key].state} already"
            )
        self.tried[key] += note.device is not None
        if note.final:
            self.finals.setdefault(key, note)
            self.ledger.counts[f"queue {note.state}"] += 1
        if note.answer is not None:
            self._answered(note, str(note.answer["text"]))

    def _answered(self, note: Note, text: str) -> None:
        if not any(one.answer == text for one in self.ledger.by_job[note.job]):
            self.ledger.violate("Q3", f"{note.job} has the result {text!r}, which is nobody's whole answer")

    def removed(self, stream: str, kept: Kept) -> None:
        """A message is there no more."""
        if stream != self.names.jobs:
            return
        key = self._job(kept)
        self.lying[key] -= 1
        self.ledger.note("queue", "lets go", f"{'.'.join(key)} as {kept.seq}")
        if key not in self.finals and not self.lying[key]:
            self.ledger.violate("Q4", f"{key[1]} has left the queue, and has neither a result nor another end")

    def fault(self) -> None:
        """Something failed."""
        self.disturbed = True

    def check_end(self) -> None:
        """Check what can be told at the end only."""
        for key in sorted(self.known):
            self._check_one(key)
        for key in sorted(self.accepted - self.known):
            self.ledger.violate("Q5", f"{key[1]} was accepted, and never stored")
        for key in sorted(self.cancelled):
            final = self.finals.get(key)
            if not (self.disturbed or self.ledger.excused) and (final is None or final.state is not Stage.CANCELLED):
                self.ledger.violate("Q5", f"{key[1]} was said to be cancelled, and is {final and final.state}")
        left = [f"{tenant}.{job}" for (tenant, job), number in self.lying.items() if number]
        if left:
            self.ledger.violate("Q6", f"left in the queue: {left}")

    def _check_one(self, key: Key) -> None:
        final, letters = self.finals.get(key), self.letters[key]
        if final is None:
            self.ledger.violate("Q1", f"{key[1]} has no end")
        elif (final.state is Stage.FAILED) != bool(letters):
            self.ledger.violate("Q1", f"{key[1]} is {final.state}, and has {letters} dead letters")

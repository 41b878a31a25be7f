"""What was asked, what ran, what was answered, and whether all of it was right: the invariants I1 to I8, checked as it happens.

It sees what dispatchers publish before any fault can touch it, and what devices did. It knows no schedule, and moves nothing.

I1 every accepted job reaches exactly one terminal frame; I2 nothing after it; I3 numbers without gaps, and text of one lineage;
I4 one visible attempt at a time; I5 no more executions than the account tells, and few; I6 no device above its slots; I7 what is
over or cancelled frees its slots within a second; I8 terminal by the deadline and a grace; I10 who may come back, and has heard an
end, hears the same again, also from another dispatcher, as long as the store works. I9, a dispatcher that is idle holds
nothing, is looked at by the world.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from common import codec, frames
from common.bus import Delivery
from common.errors import FleetError
from common.frames import Ack, End, Err, Token

MOST_EXECUTIONS = 7
"""Six attempts that may fail, and one hedge."""

MOST_TOLD = 16
"""An account names so many attempts; refusals are without limit."""

OFFLINE = "offline"

FREE_S = 1.0
GRACE_S = 0.5
WIRES_S = 0.4
"""The slowest way there and back, twice."""

_PIECE = re.compile(r"<(\d+)\.(\d+)>")


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold."""

    invariant: str
    at_s: float
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at_s:.3f} s: {self.what}"


@dataclass(slots=True, eq=False)
class Execution:
    """One dispatch that reached a device. Its text names it, so that a splice of two answers shows."""

    id: int
    device: str
    job: str
    attempt: int
    dispatcher: str
    reply: str
    prefix: str
    deadline_unix_s: float | None
    begun: bool = False
    running: bool = False
    disturbed: bool = False
    prefilling: bool = False
    """The engine hears no hang-up before its first token, and its slot stays taken until then."""
    said: int = 0
    answer: str | None = None
    """The whole text of a complete answer."""

    def begin(self) -> None:
        self.begun = self.running = True

    def end(self) -> None:
        self.running = False

    def token(self) -> str:
        """Make the next piece of text."""
        self.said += 1
        return f"<{self.id}.{self.said - 1}>"

    def finish(self) -> None:
        """Keep the answer as it stands at its first end."""
        if self.answer is None:
            self.answer = self.prefix + "".join(f"<{self.id}.{n}>" for n in range(self.said))

    def __str__(self) -> str:
        return f"x{self.id} ({self.job} attempt {self.attempt} on {self.device} for {self.dispatcher})"


@dataclass(slots=True, eq=False)
class Submission:
    """One request of a producer, and all that came back."""

    inbox: str
    job: str
    framed: bool
    deadline_s: float
    owner: str | None = None
    excused: str | None = None
    gone: bool = False
    torn: bool = False
    """Its reader knows by the numbers that a part of it was lost."""
    seen: int = 0
    tokens: int = 0
    text: str = ""
    lineage: int | None = None
    next_piece: int = 0
    terminal: str | None = None
    ended_s: float = 0.0
    route: dict[str, Any] | None = None
    closings: int = 0
    keeps: bool = False
    """Its producer may come back for the answer."""
    asked_s: float = 0.0
    heard_s: float | None = None
    """When its whole answer had reached the producer."""

    @property
    def lossy(self) -> bool:
        """True when its dispatcher was without a connection for a while."""
        return self.excused == OFFLINE

    @property
    def open(self) -> bool:
        """True while an answer is owed."""
        return self.terminal is None and self.excused is None

    def __str__(self) -> str:
        return f"{self.job} on {self.inbox}"


@dataclass(slots=True)
class Ledger:
    """Everything that counts in one run."""

    tracing: bool = False
    replays: bool = False
    """A job that comes again gets the answer that it had, as long as no dispatcher forgets."""
    submissions: dict[str, Submission] = field(default_factory=dict)
    executions: dict[int, Execution] = field(default_factory=dict)
    by_job: dict[str, list[Execution]] = field(default_factory=lambda: defaultdict(list))
    excused: set[str] = field(default_factory=set)
    """Dispatchers that may have left work running."""
    forgetful: bool = False
    """Something kept a dispatcher from the store of answers, or the store from them."""
    frozen: set[str] = field(default_factory=set)
    """Dispatchers that hear nothing now, and may be about to."""
    violations: list[Violation] = field(default_factory=list)
    trace: list[tuple[float, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    # -- what happens --------------------------------------------------------------------------------------------

    def note(self, who: str, what: str, about: object = "") -> None:
        """Write a line of the trace."""
        if self.tracing:
            self.trace.append((_now(), f"{who:<8} {what} {about}".rstrip()))

    def happened(self, what: str) -> None:
        """Count an action that had something to act on."""
        self.counts[str(what)] += 1

    def violate(self, invariant: str, what: str) -> None:
        """Write down that an invariant does not hold."""
        self.violations.append(Violation(invariant, _now(), what))
        self.note("!!", invariant, what)

    def asked(self, submission: Submission) -> None:
        """A producer sends a request."""
        self.submissions[submission.inbox] = submission
        submission.asked_s = _now()
        self.note("producer", "asks", submission)
        late_s = submission.deadline_s - _now() + GRACE_S + WIRES_S
        asyncio.get_running_loop().call_later(late_s, self._check_in_time, submission)

    def accepted(self, inbox: str, owner: str) -> None:
        """A request has reached a dispatcher."""
        submission = self.submissions[inbox]
        if submission.owner is not None and submission.owner != owner:
            self.violate("I1", f"{submission} reached {submission.owner} and {owner}")
        submission.owner = owner
        self.note(owner, "hears", submission)

    def nobody(self, inbox: str) -> None:
        """The server says that no dispatcher listens: the producer may ask again."""
        self.submissions[inbox].excused = "no responders"
        self.counts["503"] += 1

    def excuse(self, owner: str, why: str) -> None:
        """A dispatcher was killed or lost its connection: what it owed, or may have been about to hear, is owed no more."""
        owned = {one.job for one in self.submissions.values() if one.owner == owner}
        for one in self.submissions.values():
            if one.open and (one.owner is None or one.job in owned):  # another one may have asked it for the answer
                one.excused = why
        self.excused.add(owner)
        for execution in self.executions.values():
            if execution.dispatcher == owner:
                execution.disturbed = True

    def dispatched(self, device: str, delivery: Delivery) -> Execution:
        """A dispatch has reached a device."""
        wire = codec.decode(delivery.data)
        last = wire["messages"][-1]
        deadline_ms = wire.get("deadline_ms")
        execution = Execution(
            id=len(self.executions) + 1,
            device=device,
            job=wire["job"],
            attempt=wire["attempt"],
            dispatcher=wire["dispatcher"],
            reply=delivery.reply,
            prefix=last["content"] if last["role"] == "assistant" else "",
            deadline_unix_s=None if deadline_ms is None else deadline_ms / 1000,
        )
        execution.disturbed = execution.dispatcher in self.excused
        self.executions[execution.id] = execution
        self.by_job[execution.job].append(execution)
        self.note(device, "gets", execution)
        return execution

    def crowded(self, what: str) -> None:
        """A device has more work than slots."""
        self.violate("I6", what)

    def cancelled(self, job: str) -> None:
        """Somebody cancels a job: all who own it must let go in time."""
        owed = [one for one in self.submissions.values() if one.job == job and one.open and one.owner is not None]
        self.note("producer", "cancels", job)
        asyncio.get_running_loop().call_later(FREE_S + WIRES_S, self._check_cancelled, owed)

    # -- what a producer gets ------------------------------------------------------------------------------------

    def answered(self, dispatcher: str, delivery: Delivery) -> None:
        """A dispatcher publishes to a producer."""
        submission = self.submissions[delivery.subject]
        submission.seen += 1
        if submission.closings or (submission.terminal is not None and delivery.data):
            self.violate("I2", f"{submission} gets {delivery.data[:60]!r} after its end ({submission.terminal})")
        if not delivery.data:
            submission.closings += 1
            if submission.terminal is None:
                self.violate("I1", f"{submission} is closed without a terminal frame")
        elif submission.framed or b'"error"' in delivery.data[:20] or delivery.headers:
            self._frame(dispatcher, submission, frames.from_wire(codec.decode(delivery.data)))
        else:
            self._reply(dispatcher, submission, codec.decode(delivery.data))

    def heard(self, delivery: Delivery) -> None:
        """Something has reached a producer: perhaps the end of its answer."""
        one = self.submissions.get(delivery.subject)
        if one is not None and one.terminal == "end" and delivery.data:
            wire = codec.decode(delivery.data)
            if wire.get("t", "end") == "end":  # one reply has no kind
                one.heard_s = _now()

    def _frame(self, dispatcher: str, submission: Submission, frame: frames.Frame) -> None:
        self.note(dispatcher, f"-> {submission.job}", frame)
        if submission.seen == 1 and submission.framed and not submission.lossy and not isinstance(frame, Ack | Err):
            self.violate("I1", f"{submission} begins with {type(frame).__name__}, not with an ack")
        match frame:
            case Token():
                self._numbered(submission, frame.seq)
                submission.tokens = frame.seq + 1
                self._text(submission, frame.text)
            case End():
                self._numbered(submission, frame.tokens)
                self._complete(submission, frame.route)
            case Err():
                self._failed(submission, frame.error, frame.route)
            case _:
                self.counts[f"frame {type(frame).__name__}"] += 1

    def _numbered(self, submission: Submission, number: int) -> None:
        """Check a number. What a dispatcher says while it has no connection is lost; the next number must then tell so."""
        if number == submission.tokens:
            return
        if submission.lossy:
            submission.torn = True
        else:
            self.violate("I3", f"{submission} gets number {number}, not {submission.tokens}")

    def _reply(self, dispatcher: str, submission: Submission, body: dict[str, Any]) -> None:
        self.note(dispatcher, f"-> {submission.job}", body["text"])
        self._text(submission, body["text"])
        self._complete(submission, body["route"])

    def _text(self, submission: Submission, text: str) -> None:
        """Follow the lineage: within an execution piece by piece; another one must have been told all that was visible."""
        if "".join(match[0] for match in _PIECE.finditer(text)) != text:
            self.violate("I3", f"{submission} gets text that nobody said: {text!r}")
        if submission.torn:
            return
        for match in _PIECE.finditer(text):
            self._piece(submission, int(match[1]), int(match[2]))
            submission.text += match[0]

    def _piece(self, submission: Submission, number: int, piece: int) -> None:
        execution = self.executions[number]
        if execution.job != submission.job:
            self.violate("I3", f"{submission} gets text of {execution}")
        if submission.lineage != number:
            if submission.lineage is not None and number < submission.lineage:
                self.violate("I4", f"{submission} hears {execution} again, after x{submission.lineage}")
            if execution.prefix != submission.text:
                self.violate(
                    "I3", f"{submission} has {submission.text!r}, and {execution} went on from {execution.prefix!r}"
                )
            self.counts["continued" if submission.text else "text begun"] += 1
            submission.lineage, submission.next_piece = number, 0
        if piece != submission.next_piece:
            self.violate("I3", f"{submission} gets piece {piece} of {execution}, not {submission.next_piece}")
        submission.next_piece = piece + 1

    def _complete(self, submission: Submission, route: dict[str, Any] | None) -> None:
        self._end(submission, "end", route)
        if submission.torn:
            self.violate("I3", f"{submission} ends as if it were whole, and pieces of it are missing")
        elif not any(one.answer == submission.text for one in self.by_job[submission.job]):
            self.violate("I3", f"{submission} ends with {submission.text!r}, which is nobody's whole answer")

    def _failed(self, submission: Submission, error: FleetError, route: dict[str, Any] | None) -> None:
        self._end(submission, error.code, route)
        if error.code == "internal":
            self.violate("I0", f"{submission} met a bug: {error.message}")
        delivered = error.details.get("delivered_chars")
        if delivered is not None and delivered != len(submission.text) and not submission.lossy:
            self.violate("I3", f"{submission} is told of {delivered} characters and got {len(submission.text)}")

    def _end(self, submission: Submission, how: str, route: dict[str, Any] | None) -> None:
        if submission.terminal is None:
            submission.terminal, submission.route, submission.ended_s = how, route, _now()
            self.counts[f"ended {how}"] += 1
            self._tell_attempts(route or {})
        asyncio.get_running_loop().call_later(FREE_S + WIRES_S, self._check_freed, submission)

    def _tell_attempts(self, route: dict[str, Any]) -> None:
        for attempt in route.get("attempts", ()):
            self.counts[f"attempt {attempt['outcome']}"] += 1
            self.counts["attempt beside another"] += bool(attempt.get("beside"))

    # -- checks that come later ----------------------------------------------------------------------------------

    def _check_in_time(self, submission: Submission) -> None:
        if submission.open and not submission.gone and not self.frozen:
            self.violate("I8", f"{submission} has no end {GRACE_S + WIRES_S:.1f} s after its deadline")

    def _check_cancelled(self, owed: list[Submission]) -> None:
        for one in owed:
            if one.open and not one.gone:
                self.violate("I7", f"{one} has no end {FREE_S:.0f} s after it was cancelled")

    def _check_freed(self, submission: Submission) -> None:
        """What runs for a job that is over holds a slot for nothing, unless a fault kept the cancel from its device."""
        others = [one for one in self.submissions.values() if one.job == submission.job]
        if any(one.open or one.ended_s > submission.ended_s for one in others):
            return
        for one in self.by_job[submission.job]:
            if one.running and not (one.disturbed or one.prefilling):
                self.violate("I7", f"{one} still runs {FREE_S:.0f} s after the job's end ({submission.terminal})")

    def check_end(self) -> None:
        """Check what can be told at the end only."""
        for one in self.submissions.values():
            self._check_answered(one)
            self._check_account(one)
            self._check_one_answer(one)
            self._check_same_again(one)

    def _check_answered(self, one: Submission) -> None:
        if one.open and not one.gone:
            self.violate("I1", f"{one} (of {one.owner}) was never answered")
        elif one.terminal is not None and one.excused is None and one.framed and one.closings != 1:
            self.violate("I1", f"{one} ended with {one.closings} closing payloads")

    def _check_one_answer(self, one: Submission) -> None:
        same = [other for other in self.submissions.values() if other.job == one.job]
        answers = {other.text for other in same if other.terminal == "end" and not other.torn}
        if self.replays and len(answers) > 1:
            self.violate("I5", f"{one.job} has {len(answers)} answers: {sorted(answers)}")

    def _check_same_again(self, one: Submission) -> None:
        if self.forgetful or not one.keeps or one.heard_s is None:
            return
        for again in self.submissions.values():
            if again.job == one.job and again.asked_s > one.heard_s and again.terminal == "end":
                self.counts["heard again"] += 1
                if again.text != one.text:
                    self.violate("I10", f"{again} hears {again.text!r}, and {one} has heard {one.text!r}")

    def _check_account(self, one: Submission) -> None:
        runs: Counter[str] = Counter(x.reply.rpartition(".")[0] for x in self.by_job[one.job] if x.begun)
        for run, begun in runs.items():
            if begun > MOST_EXECUTIONS:
                self.violate("I5", f"{one.job} was executed {begun} times ({run})")
        alone = sum(other.job == one.job for other in self.submissions.values()) == 1
        if not alone or one.route is None or "attempts" not in one.route:
            return
        told, begun = len(one.route["attempts"]), sum(runs.values())
        if begun > told and told < MOST_TOLD:
            self.violate("I5", f"{one.job} was executed {begun} times, and its account tells of {told}")


def _now() -> float:
    return asyncio.get_running_loop().time()

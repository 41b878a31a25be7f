"""One attempt on one device: its frames in order, its clocks, and how it went; it knows neither the bus nor other attempts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from common import energy, frames
from common.energy import Energy, parted, unpriced
from common.errors import (
    AttemptError,
    BackendError,
    DeviceBusy,
    FleetError,
    GarbledReply,
    JobCancelled,
    RequestError,
)
from common.frames import Phase
from common.messages import MOST_W
from common.tracing import OFF, Span
from dispatcher.delivery.clocks import Clock, Expected, Limits, Progress, doubted, heard, loads_on, strikes
from dispatcher.delivery.inbox import Arrival
from dispatcher.outcomes import Attempt, Candidate

OUTRUN = "outrun"
"""How an attempt ended that was well, and slower than another of the same job."""


LENIENCE = 3.0
"""An agent that nobody can stand in for may be silent for so much longer: a Pi that swaps pauses for seconds, and a job that waits
is better than one that failed."""


class LiveAttempt:
    """An attempt that runs. `beside` tells that another one of the job ran already when it began; `begun_chars` is what the
    producer had by then, and the device goes on from there. `texts` are to come back as so many embeddings."""

    def __init__(
        self,
        number: int,
        candidate: Candidate,
        limits: Limits,
        *,
        sent_s: float,
        begun_chars: int = 0,
        beside: bool = False,
    ) -> None:
        self.number = number
        self.candidate = candidate
        self.beside = beside
        self.begun_chars = begun_chars
        self.texts = 0
        self.boot: str | None = None
        self._limits = limits
        self._expected = Expected(candidate.predicted_load_s, candidate.predicted_first_token_s)
        self._progress = Progress(sent_s)
        self._tokens = 0
        self._lenient: set[Clock] = set()
        self._energy: Energy | None = None
        self.span: Span = OFF

    @property
    def device(self) -> str:
        return self.candidate.device

    @property
    def sent_s(self) -> float:
        """When it was sent last, on the loop's clock."""
        return self._progress.sent_s

    @property
    def first_token_s(self) -> float | None:
        """Seconds from its publish to its first token."""
        return _since(self._progress.sent_s, self._progress.first_token_s)

    def strikes(self, deadline_s: float) -> tuple[float, Clock]:
        """Give the moment of the earliest of its clocks, and which it is."""
        return strikes(self._progress, self._limits, self._expected, deadline_s)

    @property
    def accepted(self) -> bool:
        """True when its device has said that it has it."""
        return self._progress.accepted_s is not None

    def sent_again(self, now_s: float) -> None:
        """Begin anew, as nobody knows whether the first message arrived."""
        self._progress = Progress(now_s)

    def running_s(self, now_s: float) -> float:
        return now_s - self._progress.sent_s

    def silent_s(self, now_s: float) -> float:
        """Seconds since its backend has shown any sign of life."""
        return now_s - max(self._progress.sent_s, self._progress.spoken_s, self._progress.silent_since_s)

    def doubt(self) -> int:
        """Note a doubt, and give how many there were in this silence."""
        self._progress = doubted(self._progress)
        return self._progress.doubts

    @property
    def loads(self) -> bool:
        """True while it waits for its model."""
        return self._progress.phase is Phase.LOAD

    def load_on(self) -> bool:
        """Let its load take as long once more; False when it has had that already."""
        self._progress = loads_on(self._progress)
        return self._progress.loads <= 2  # once more, as said

    def wait_longer(self, clock: Clock) -> bool:
        """Let its agent be silent for three times as long, once; False when it has had that already."""
        if clock in self._lenient or clock not in {Clock.ACCEPT, Clock.STALL}:
            return False
        self._lenient.add(clock)
        if clock is Clock.ACCEPT:
            self._limits = replace(self._limits, accept_s=LENIENCE * self._limits.accept_s)
        else:
            self._limits = replace(self._limits, stall_s=LENIENCE * self._limits.stall_s)
        return True

    def take(self, arrival: Arrival, now_s: float) -> str | frames.KeepAlive | frames.End | None:
        """Take in what arrived; gives text, a sign of life, or the end. Raises what the device says, or is found to have done."""
        if isinstance(arrival, FleetError):
            raise arrival
        if isinstance(arrival, frames.Token):
            return self._text(arrival, now_s)
        self._progress = heard(self._progress, arrival, now_s)
        match arrival:
            case frames.End():
                return self._ended(arrival)
            case frames.Err():
                raise _said(arrival.error, accepted=self._progress.accepted_s is not None)
            case frames.KeepAlive():
                return arrival
            case frames.Ack():
                self.boot = arrival.boot
                return None
            case _:
                raise GarbledReply(f"the device sent a {type(arrival).__name__} frame out of place")

    def _text(self, token: frames.Token, now_s: float) -> str:
        """Take in text. What arrives together is heard once: a relay's hot path."""
        if self.texts:
            raise GarbledReply(f"the device wrote text where embeddings of {self.texts} texts were asked for")
        if self._tokens == 0 or self._progress.heard_s != now_s:
            self._progress = heard(self._progress, token, now_s)
        self._in_order(token.seq)
        return token.text

    def _ended(self, end: frames.End) -> frames.End:
        self._in_order(end.tokens)
        _require_countable(end)
        if len(end.embeddings) != self.texts:
            raise GarbledReply(f"the device gave {len(end.embeddings)} embeddings of {self.texts} texts")
        self._energy = end.energy
        return end

    def _in_order(self, seq: int) -> None:
        """Count the `tok` frames: NATS may drop messages of a connection that is too slow, and a gap must never be shown."""
        if seq != self._tokens:
            raise GarbledReply(f"frame {self._tokens} is missing: {seq} came instead")
        self._tokens += 1

    def whole(self, end: frames.End) -> frames.End:
        """Give its end with the text of those before counted into the usage: their tokens are not known, and four characters make
        about one."""
        before = self.begun_chars // 4
        if not before:
            return end
        usage = replace(
            end.usage,
            prompt_tokens=max(0, end.usage.prompt_tokens - before),
            completion_tokens=end.usage.completion_tokens + before,
        )
        return replace(end, usage=usage)

    def account(self, error: BaseException | None, *, outrun: bool, queued_s: float, now_s: float) -> Attempt:
        """Give the attempt as it went."""
        return Attempt(
            number=self.number,
            device=self.device,
            model=self.candidate.model,
            outcome=OUTRUN if outrun else _outcome(error),
            detail=error.message if isinstance(error, FleetError) else None,
            beside=self.beside,
            queued_s=queued_s,
            accept_s=_since(self._progress.sent_s, self._progress.accepted_s),
            first_token_s=self.first_token_s,
            total_s=self.running_s(now_s),
            cost_usd=_cost_usd(error),
            cost_estimated=isinstance(error, FleetError) and error.details.get("cost_estimated") is True,
            continues=self.begun_chars > 0,
            energy=self._believed(self._energy or _energy(error), now_s) or self._held_to_take(now_s),
        )

    def told_at_last(self, word: frames.Terminal, now_s: float) -> Energy | None:
        """Give what its device says that it took, in a last word that came after it was given up."""
        told = word.energy if isinstance(word, frames.End) else _energy(word.error)
        return self._believed(told, now_s)

    def _believed(self, told: Energy | None, now_s: float) -> Energy | None:
        """Believe what a device can know: what it measured, and no more of that than any device can draw in the time. What of it
        was lost, and what it cost, is worked out here."""
        if told is None or max(told.joules, told.idle_joules) > self._most_j(now_s):
            return None
        return parted(unpriced(told), lost_joules=0.0, tokens=told.tokens)

    def _most_j(self, now_s: float) -> float:
        return MOST_W * (self.running_s(now_s) + METER_S)

    def _held_to_take(self, now_s: float) -> Energy | None:
        """Estimate what an attempt took whose device did not tell, or was not heard any more: what it was to draw, for as long as
        it had the job. None for one that never took it, or of which nobody knows: a model elsewhere."""
        joules, work_s = self.candidate.predicted_energy_j, self.candidate.predicted_work_s
        accepted_s = self._progress.accepted_s
        if joules is None or accepted_s is None or work_s <= 0:
            return None
        likely_j = joules / work_s * (now_s - accepted_s)
        return Energy(joules=min(max(0.0, likely_j), self._most_j(now_s)), source=PREDICTION)


MOST_TOKENS = 10**9
"""No prompt and no answer has more; sums over all jobs of years stay integers that databases have."""

METER_S = 1.0
"""Meters may be read once a second: a job that was shorter is charged from readings that lie around it."""

PREDICTION = "prediction"
"""The source of joules that were worked out from what a decision expected: they may be wrong by as much as they are."""


def _require_countable(end: frames.End) -> None:
    tokens = max(end.usage.prompt_tokens, end.usage.completion_tokens)
    if tokens > MOST_TOKENS:
        raise GarbledReply(f"the device counted {tokens} tokens: {MOST_TOKENS} are believed")


def _energy(error: BaseException | None) -> Energy | None:
    """Give what a device says that an attempt has taken which it did not finish; what can't be read is not believed."""
    return energy.told(error.details.get("energy")) if isinstance(error, FleetError) else None


def _cost_usd(error: BaseException | None) -> float | None:
    """Give what a device says that an attempt has cost which it did not finish."""
    told = error.details.get("cost_usd") if isinstance(error, FleetError) else None
    return float(told) if isinstance(told, int | float) and not isinstance(told, bool) and 0 <= told <= 1e6 else None


def _said(error: FleetError, *, accepted: bool) -> FleetError:
    """Take a device's word for itself and for the request. Of the time, the bus and the fleet it knows less than we do: its
    clock may be wrong, and its own bugs are no reason to ask nobody else. One that accepted and is full then has a backend that
    refuses, which is a failure: it would accept, and fail, again at once."""
    if isinstance(error, DeviceBusy) and accepted:
        return BackendError(f"the device accepted, and its backend is full: {error.message}", **_cost(error))
    if isinstance(error, AttemptError | RequestError | JobCancelled):
        return error
    return BackendError(f"the device gave up with {error.code}: {error.message}", cause=error.code, **_cost(error))


def _cost(error: FleetError) -> dict[str, Any]:
    return {name: error.details[name] for name in ("cost_usd", "cost_estimated", "energy") if name in error.details}


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    return error.code if isinstance(error, FleetError) else "cancelled"


def _since(start_s: float, at_s: float | None) -> float | None:
    return None if at_s is None else at_s - start_s

"""One cascade: a weak answer that nobody sees, a check, and then that answer or the strong one's; it decides no tiers itself.

Cancel and deadline hold for both rounds. A strong tier that is away, fails or is too late costs nothing but time: the weak answer
is there, and is given. Only a strong answer of which somebody has seen a part is never taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from common.clock import loop_s
from common.errors import DeadlineExceeded, FleetError
from common.frames import End
from common.messages import EngineTimings, Usage
from dispatcher.delivery.courier import Cancelled, Courier
from dispatcher.delivery.sink import AnswerSink
from dispatcher.outcomes import Attempt, Candidate, Cascaded, Decision, Delivered, Job
from dispatcher.rounds.sinks import Passing, Unseen
from dispatcher.router import Router
from dispatcher.routing import Ask
from dispatcher.routing.checking import Check, WeakAnswer
from dispatcher.routing.strategies.tiers import STRENGTH, STRONG

SPARE_S = 0.25
"""What is kept of the time for telling the weak answer, should the strong one not be there by then."""

CHARS_PER_TOKEN = 4
"""For what a weak answer took that was given up in the middle: its tokens are not known."""


class _GivenUp(FleetError):
    """the beginning of a weak answer did not hold"""

    code = "escalated"


def tiered(decision: Decision) -> bool:
    """True when there are weak candidates and strong ones: the weak come first, so the ends tell. Behind the local ones there may
    be remote ones, weak and strong again, so those are looked through up to the last local one."""
    candidates = decision.candidates
    if not candidates or _strong(candidates[0]):
        return False
    for one in reversed(candidates):
        if _strong(one) or not one.remote:
            return _strong(one)
    return False


@dataclass(slots=True, kw_only=True)
class Cascade:
    """The two rounds of one job."""

    courier: Courier
    router: Router
    job: Job
    ask: Ask
    out: AnswerSink
    cancelled: Cancelled
    prefix_chars: int
    patience_s: float
    _sink: Unseen | None = field(default=None)
    _check: Check | None = field(default=None)
    _instead: str = field(default="")

    async def run(self) -> Delivered:
        """Answer the job; never raises a `FleetError`."""
        began_s = loop_s()
        self._sink = sink = Unseen(self.out, passes=_strong, prefix_chars=self.prefix_chars, judge=self._judge_prefix)
        asked = replace(self.job, logprobs=True)
        weak = await self.courier.deliver(asked, self._weak_first, self._nobody, sink, self.cancelled)
        logprobs, weak = _taken_out(weak)
        given_up = isinstance(weak.error, _GivenUp)
        if weak.chosen is None or (weak.error is not None and not given_up) or (sink.open and self._check is None):
            return weak
        try:
            if self._check is None:
                await self._judge_whole(weak, sink.held, logprobs)
        except asyncio.CancelledError:
            ended_by = self.cancelled()
            if ended_by is None:
                raise
            return replace(weak, end=None, error=ended_by)
        told = self._told(weak.chosen, loop_s() - began_s)
        if sink.open:
            return replace(weak, cascaded=told)  # its beginning held, and was told
        return await self._second(weak, sink.held, told)

    async def _second(self, weak: Delivered, text: str, told: Cascaded) -> Delivered:
        """Ask the strong tier, if it is to be asked; give what there is then."""
        if told.instead or not told.escalated:
            return await self._give(weak, text, told)
        strong = await self._strong(weak)
        told = replace(told, strong=strong.chosen)
        if strong.end is not None:
            return _joined(weak, strong, replace(told, given="strong"), len(text))
        assert strong.error is not None  # noqa: S101  # one of the two there is
        if self.out.visible_chars or self.cancelled() is not None:
            return replace(_joined(weak, strong, replace(told, given="none"), len(text)), end=None)
        told = replace(told, instead=f"{strong.error.code}: {strong.error.message}")
        self.out.restart()
        if weak.end is None:
            return await self._anew(weak, strong, told)
        return await self._give(_after(weak, strong), text, told)

    # -- the weak round ------------------------------------------------------------------------------------------

    def _weak_first(self, excluded: Mapping[str, str]) -> Decision:
        return self.router.decide(self.ask, excluded)

    def _nobody(self, decision: Decision) -> FleetError:
        return self.router.nobody(self.ask, decision)

    async def _judge_prefix(self, text: str) -> None:
        """Judge the beginning of an answer. Raises `_GivenUp` when it does not hold, and there is somebody better."""
        answer = WeakAnswer(question=self._question, text=text, whole=False)
        self._check = await self.router.check(self.ask, self.job, answer)
        if self._check.escalate:
            self._instead = self._hindrance()
            if not self._instead:
                raise _GivenUp(self._check.reason)

    async def _judge_whole(self, weak: Delivered, text: str, logprobs: tuple[float, ...]) -> None:
        end = weak.end or End()
        calls = tuple(call.name for call in end.tool_calls)
        answer = WeakAnswer(question=self._question, text=text, finish=end.finish, calls=calls, logprobs=logprobs)
        self._check = await self.router.check(self.ask, self.job, answer)
        if self._check.escalate:
            self._instead = self._hindrance()

    @property
    def _question(self) -> str:
        return self.router.question(self.job)

    def _told(self, weak: Candidate, took_s: float) -> Cascaded:
        check = self._check
        assert check is not None  # noqa: S101  # it was judged
        return Cascaded(
            weak=weak,
            escalated=check.escalate,
            score=check.score,
            threshold=check.threshold,
            by=check.by,
            why=check.reason,
            faults=check.faults,
            instead=self._instead,
            weak_s=took_s,
        )

    async def _give(self, weak: Delivered, text: str, told: Cascaded) -> Delivered:
        """Tell the weak answer, at once."""
        assert weak.chosen is not None  # noqa: S101  # somebody has answered
        if told.strong is not None:
            await self.out.route(
                weak.chosen, len(weak.attempts)
            )  # whoever watches was told of another device meanwhile
        if text:
            await self.out.token(text)
        return replace(weak, cascaded=told, first_token_s=loop_s() - self.job.received_s)

    # -- the strong round ----------------------------------------------------------------------------------------

    def _hindrance(self) -> str:
        """Say why the strong tier is not to be asked now, though it should be; empty when it can be."""
        best = next(iter(self._stronger({}).candidates), None)
        if best is None:
            return "no stronger model can take it"
        left_s = self.job.deadline_s - SPARE_S - loop_s()
        needs_s = best.predicted_first_token_s if self.out.streams else best.predicted_total_s
        if needs_s > left_s:
            return f"too late: {best.device} would take {needs_s:.1f} s, and {max(0.0, left_s):.1f} s are left"
        return ""

    def _stronger(self, excluded: Mapping[str, str]) -> Decision:
        """Choose among the strong models. What counts as strong is relative to who is there: it must be stronger than the weak."""
        decision = self.router.decide(replace(self.ask, escalated=True), excluded)
        weak = self._sink.candidate if self._sink else None
        least = weak.details[STRENGTH] if weak else 0.0
        stronger = [one for one in decision.candidates if _strong(one) and one.details[STRENGTH] > least]
        return replace(decision, candidates=stronger)

    async def _strong(self, weak: Delivered) -> Delivered:
        """Run the second round; it has an end of its own, before the job's, so that the weak answer can still be told."""
        job = replace(self.job, deadline_s=self.job.deadline_s - SPARE_S)

        def ended() -> FleetError | None:
            return self.cancelled() or (self._impatient() if patience.expired() else None)

        async with asyncio.timeout(self.patience_s) as patience:
            out = Passing(self.out, before=len(weak.attempts), spoke=lambda: _hear(patience, self.out))
            return await self.courier.deliver(job, self._stronger, self._nobody, out, ended)

    def _impatient(self) -> FleetError:
        return DeadlineExceeded(f"the strong tier had said nothing after {self.patience_s:g} s")

    async def _anew(self, weak: Delivered, strong: Delivered, told: Cascaded) -> Delivered:
        """Have the weak answer made once more: it was given up at its beginning, and is wanted now."""
        out = Passing(self.out, before=len(weak.attempts) + len(strong.attempts))
        again = await self.courier.deliver(self.job, self._weak_first, self._nobody, out, self.cancelled)
        before = _after(weak, strong)
        return replace(
            again,
            attempts=(*before.attempts, *_counted(again, len(before.attempts))),
            queue_s=before.queue_s + again.queue_s,
            cascaded=told,
        )


def _hear(patience: asyncio.Timeout, out: AnswerSink) -> None:
    """Be patient from the first text on, if somebody sees it."""
    if out.streams and not patience.expired():
        patience.reschedule(None)


def _taken_out(weak: Delivered) -> tuple[tuple[float, ...], Delivered]:
    """Give how sure the model was, and the round without: the producer did not ask."""
    if weak.end is None or not weak.end.logprobs:
        return (), weak
    return weak.end.logprobs, replace(weak, end=replace(weak.end, logprobs=()))


def _strong(candidate: Candidate) -> bool:
    return candidate.details.get(STRONG, 0.0) > 0.0


def _after(weak: Delivered, strong: Delivered) -> Delivered:
    """Give the weak round with the attempts of the strong one behind it, which came to nothing."""
    attempts = (*weak.attempts, *_counted(strong, len(weak.attempts)))
    return replace(weak, attempts=attempts, queue_s=weak.queue_s + strong.queue_s)


def _joined(weak: Delivered, strong: Delivered, told: Cascaded, chars: int) -> Delivered:
    """Give the strong round as the job's, with what the weak one took: it was worked for, though nobody saw it."""
    spent = weak.end or End(usage=Usage(completion_tokens=chars // CHARS_PER_TOKEN))
    return replace(
        strong,
        attempts=(*weak.attempts, *_counted(strong, len(weak.attempts))),
        queue_s=weak.queue_s + strong.queue_s,
        end=None if strong.end is None else _both(spent, strong.end),
        cascaded=replace(told, usage=spent.usage),
    )


def _counted(later: Delivered, before: int) -> list[Attempt]:
    return [replace(attempt, number=attempt.number + before) for attempt in later.attempts]


def _both(weak: End, strong: End) -> End:
    """Add up tokens, seconds of the engines, and dollars; all else is the strong one's."""
    costs = [cost for cost in (weak.cost_usd, strong.cost_usd) if cost is not None]
    return replace(
        strong,
        usage=Usage(
            prompt_tokens=weak.usage.prompt_tokens + strong.usage.prompt_tokens,
            completion_tokens=weak.usage.completion_tokens + strong.usage.completion_tokens,
        ),
        engine=EngineTimings(
            load_s=_sum(weak.engine.load_s, strong.engine.load_s),
            prefill_s=_sum(weak.engine.prefill_s, strong.engine.prefill_s),
            decode_s=_sum(weak.engine.decode_s, strong.engine.decode_s),
        ),
        cost_usd=sum(costs) if costs else None,
        cost_estimated=weak.cost_estimated or strong.cost_estimated,
    )


def _sum(one: float | None, other: float | None) -> float | None:
    """Add up what both measured; a sum with a part missing would be taken for the whole."""
    return None if one is None or other is None else one + other

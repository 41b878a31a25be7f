"""One cascade: a weak answer that nobody sees, a check, and then that answer or the strong one's; it decides no tiers itself.

Cancel and deadline hold for both rounds. A strong tier that is away, fails or is too late costs nothing but time: the weak answer
is there, and is given. Only a strong answer of which somebody has seen a part is never taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from common.clock import loop_s
from common.errors import DeadlineExceeded, FleetError
from common.frames import End
from common.messages import EngineTimings, Usage
from dispatcher.delivery.courier import Cancelled, Courier
from dispatcher.delivery.sink import AnswerSink
from dispatcher.fleet import canonical
from dispatcher.outcomes import Attempt, Candidate, Cascaded, Decision, Delivered, Job, Price
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What came of a check; `instead` says why nobody stronger is asked though somebody should be."""

    check: Check
    instead: str

    @property
    def goes_up(self) -> bool:
        return self.check.escalate and not self.instead


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weak:
    """A weak round that was judged: the text that was held, whether it was shown after all, and what it took."""

    delivered: Delivered
    chosen: Candidate
    judged: _Judged
    text: str
    shown: bool
    spent: End
    told: Cascaded


@dataclass(frozen=True, slots=True, kw_only=True)
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

    async def run(self) -> Delivered:
        """Answer the job; never raises a `FleetError`."""
        weak = await self._weak()
        if isinstance(weak, Delivered):
            return weak
        if weak.shown:
            return replace(weak.delivered, cascaded=weak.told)  # its beginning held, and was told
        if not weak.judged.goes_up:
            return await self._give(weak, weak.delivered, weak.told)
        return await self._second(weak)

    # -- the weak round ------------------------------------------------------------------------------------------

    async def _weak(self) -> _Weak | Delivered:
        """Run the weak round and judge it; what is no weak answer is given as it is."""
        began_s = loop_s()
        judged: _Judged | None = None

        async def judge(text: str) -> None:
            nonlocal judged
            said = WeakAnswer(question=self._question, text=text, whole=False)
            most_usd = 0.0 if sink.candidate is None else sink.candidate.most_cost_usd
            judged = await self._judge(said, sink.candidate, spent_usd=most_usd)
            if judged.goes_up:
                raise _GivenUp(judged.check.reason)

        sink = Unseen(self.out, passes=_strong, prefix_chars=self.prefix_chars, judge=judge)
        asked = replace(self.job, logprobs=True)
        weak = await self.courier.deliver(asked, self._weak_first, self._nobody, sink, self.cancelled)
        logprobs, weak = _taken_out(weak)
        failed = weak.error is not None and not isinstance(weak.error, _GivenUp)
        if weak.chosen is None or failed or (sink.open and judged is None):
            return weak
        try:
            if judged is None:
                said = _answer(self._question, sink.held, weak.end, logprobs)
                judged = await self._judge(said, weak.chosen, spent_usd=weak.spent_usd)
        except asyncio.CancelledError:
            ended_by = self.cancelled()
            if ended_by is None:
                raise
            return replace(weak, end=None, error=ended_by)
        return _Weak(
            delivered=weak,
            chosen=weak.chosen,
            judged=judged,
            text=sink.held,
            shown=sink.open,
            spent=weak.end or self._given_up(weak, weak.chosen, sink.held),
            told=_told(judged, weak.chosen, loop_s() - began_s),
        )

    def _weak_first(self, excluded: Mapping[str, str], spent_usd: float) -> Decision:
        return self.router.decide(self.ask, excluded, spent_usd)

    def _nobody(self, decision: Decision) -> FleetError:
        return self.router.nobody(self.ask, decision)

    async def _judge(self, answer: WeakAnswer, weak: Candidate | None, *, spent_usd: float) -> _Judged:
        check = await self.router.answers.check(self.ask, self.job, answer)
        return _Judged(check=check, instead=self._hindrance(weak, spent_usd) if check.escalate else "")

    @property
    def _question(self) -> str:
        return self.router.question(self.job)

    def _given_up(self, weak: Delivered, chosen: Candidate, text: str) -> End:
        """Reckon what an answer took that was recalled in the middle: nobody has counted its tokens, and they are paid for."""
        prompt = 0 if weak.decision is None else int(weak.decision.features.get("prompt_tokens", 0))
        usage = Usage(prompt_tokens=prompt, completion_tokens=len(text) // CHARS_PER_TOKEN)
        device = self.courier.roster.fleet.devices.get(chosen.device)
        model = None if device is None else device.models.get(canonical(chosen.model))
        if model is None or model.input_usd_per_mtok is None or model.output_usd_per_mtok is None:
            return End(usage=usage)
        price = Price(chosen.model, chosen.device, model.input_usd_per_mtok, model.output_usd_per_mtok)
        return End(usage=usage, cost_usd=price.usd(usage.prompt_tokens, usage.completion_tokens))

    async def _give(self, weak: _Weak, delivered: Delivered, told: Cascaded) -> Delivered:
        """Tell the weak answer, at once; `delivered` has the attempts of all rounds."""
        if told.strong is not None:  # whoever watches was told of another device meanwhile
            await self.out.route(weak.chosen, len(delivered.attempts))
        if weak.text:
            await self.out.token(weak.text)
        return replace(delivered, cascaded=told, first_token_s=loop_s() - self.job.received_s)

    # -- the strong round ----------------------------------------------------------------------------------------

    async def _second(self, weak: _Weak) -> Delivered:
        """Ask the strong tier; give what there is then."""
        strong = await self._strong(weak)
        told = replace(weak.told, strong=strong.chosen)
        if strong.end is not None:
            return _joined(weak, strong, replace(told, given="strong"))
        if self.out.visible_chars or self.cancelled() is not None:
            return _joined(weak, strong, replace(told, given="none"))
        if strong.error is not None:
            told = replace(told, instead=f"{strong.error.code}: {strong.error.message}")
        self.out.restart()
        if weak.delivered.end is None:
            return await self._anew(weak, strong, told)
        return await self._give(weak, _after(weak, strong), told)

    def _hindrance(self, weak: Candidate | None, spent_usd: float) -> str:
        """Say why the strong tier is not to be asked now, though it should be; empty when it can be."""
        best = next(iter(self._stronger(weak, {}, spent_usd).candidates), None)
        if best is None:
            return "no stronger model can take it"
        left_s = self.job.deadline_s - SPARE_S - loop_s()
        needs_s = best.predicted_first_token_s if self.out.streams else best.predicted_total_s
        if needs_s > left_s:
            return f"too late: {best.device} would take {needs_s:.1f} s, and {max(0.0, left_s):.1f} s are left"
        return ""

    def _stronger(self, weak: Candidate | None, excluded: Mapping[str, str], spent_usd: float) -> Decision:
        """Choose among the strong models. What counts as strong is relative to who is there: it must be stronger than the weak."""
        decision = self.router.decide(replace(self.ask, escalated=True), excluded, spent_usd)
        least = weak.details[STRENGTH] if weak else 0.0
        return replace(decision, candidates=decision.candidates.above(STRONG, 0.0).above(STRENGTH, least))

    async def _strong(self, weak: _Weak) -> Delivered:
        """Run the second round; it has an end of its own, before the job's, so that the weak answer can still be told."""
        job = replace(self.job, deadline_s=self.job.deadline_s - SPARE_S)

        def choose(excluded: Mapping[str, str], spent_usd: float) -> Decision:
            return self._stronger(weak.chosen, excluded, weak.delivered.spent_usd + spent_usd)

        def ended() -> FleetError | None:
            return self.cancelled() or (self._impatient() if patience.expired() else None)

        async with asyncio.timeout(self.patience_s) as patience:
            out = Passing(self.out, before=len(weak.delivered.attempts), spoke=lambda: _hear(patience, self.out))
            return await self.courier.deliver(job, choose, self._nobody, out, ended)

    def _impatient(self) -> FleetError:
        return DeadlineExceeded(f"the strong tier had said nothing after {self.patience_s:g} s")

    async def _anew(self, weak: _Weak, strong: Delivered, told: Cascaded) -> Delivered:
        """Have the weak answer made once more: it was given up at its beginning, and is wanted now. The first try counts."""
        before = _after(weak, strong)
        out = Passing(self.out, before=len(before.attempts))
        gone_usd = weak.delivered.spent_usd + strong.spent_usd

        def choose(excluded: Mapping[str, str], spent_usd: float) -> Decision:
            return self._weak_first(excluded, gone_usd + spent_usd)

        again = await self.courier.deliver(self.job, choose, self._nobody, out, self.cancelled)
        return replace(
            again,
            attempts=(*before.attempts, *_counted(again, len(before.attempts))),
            queue_s=before.queue_s + again.queue_s,
            end=None if again.end is None else _both(weak.spent, again.end),
            cascaded=replace(told, given="none" if again.end is None else "weak", usage=weak.spent.usage),
        )


def _answer(question: str, text: str, end: End | None, logprobs: tuple[float, ...]) -> WeakAnswer:
    """Give a whole answer as it is judged."""
    end = end or End()
    calls = tuple(call.name for call in end.tool_calls)
    return WeakAnswer(question=question, text=text, finish=end.finish, calls=calls, logprobs=logprobs)


def _told(judged: _Judged, weak: Candidate, took_s: float) -> Cascaded:
    check = judged.check
    return Cascaded(
        weak=weak,
        escalated=check.escalate,
        score=check.score,
        threshold=check.threshold,
        by=check.by,
        why=check.reason,
        faults=check.faults,
        instead=judged.instead,
        weak_s=took_s,
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


def _after(weak: _Weak, strong: Delivered) -> Delivered:
    """Give the weak round with the attempts of the strong one behind it, which came to nothing."""
    before = weak.delivered
    attempts = (*before.attempts, *_counted(strong, len(before.attempts)))
    return replace(before, attempts=attempts, queue_s=before.queue_s + strong.queue_s)


def _joined(weak: _Weak, strong: Delivered, told: Cascaded) -> Delivered:
    """Give the strong round as the job's, with what the weak one took: it was worked for, though nobody saw it."""
    before = _after(weak, strong)
    return replace(
        strong,
        attempts=before.attempts,
        queue_s=before.queue_s,
        end=None if strong.end is None or told.given == "none" else _both(weak.spent, strong.end),
        cascaded=replace(told, usage=weak.spent.usage),
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

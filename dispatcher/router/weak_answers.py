"""Whether a weak answer holds: by a trained judge within its tenant's budget, or by the rules; it asks nobody for another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from common.errors import WeightsMismatch
from dispatcher.embed import EmbeddingService
from dispatcher.outcomes import Delivered, Job, Settled
from dispatcher.router.spending import Spending
from dispatcher.router.weights import Weights
from dispatcher.routing import Ask
from dispatcher.routing.budget import verdict
from dispatcher.routing.checking import Check, WeakAnswer, check, hopeless, signals_of
from dispatcher.routing.prompt_signals import prompt_signals
from dispatcher.routing.strategies.tiers import STRONG
from dispatcher.routing.trained import Gain, TrainedRouter


class WeakAnswers:
    """Checks them. `share` gives the share of a tenant's answers that may be handed up."""

    def __init__(self, weights: Weights, embedding: EmbeddingService, share: Callable[[str], float]) -> None:
        self._weights = weights
        self._embedding = embedding
        self._share = share
        self._spent = Spending()

    async def check(self, ask: Ask, job: Job, answer: WeakAnswer) -> Check:
        """Judge a weak answer: by the trained judge where there is one and it knows the like, else by the rules.

        What is no answer at all needs no judge, and the beginning of one is judged by the rules: training saw whole ones.
        """
        signals, trained = signals_of(answer), self._weights.cascade
        by_rules = check(answer, job.request, signals)
        if trained is None:
            return by_rules
        judged = answer.whole and not hopeless(answer, job.request)
        gain = await self._gain(trained, answer, signals, job.asker) if judged else None
        return self._by_gain(gain, by_rules, trained, ask)

    async def _gain(
        self, trained: TrainedRouter, answer: WeakAnswer, signals: Sequence[float], asker: str
    ) -> Gain | None:
        """Give what the trained judge expects of a strong answer; None where it can't say."""
        embedded = await self._embedding.embed(answer.question, of=asker) if trained.space.embedder else None
        if embedded is not None and embedded.vector is None:
            return None
        try:
            vector = None if embedded is None else embedded.vector
            return trained.gain((*prompt_signals(answer.question), *signals), vector, shown=0)
        except WeightsMismatch:
            return None

    def _by_gain(self, gain: Gain | None, by_rules: Check, trained: TrainedRouter, ask: Ask) -> Check:
        """Decide within the budget; what the rules send up is booked as well, so that the judge sends up less."""
        budget = self._spent.of(ask.tenant, trained, self._share(ask.tenant))
        if gain is None:
            self._spent.keep(ask.tenant, budget.after(None, strong=by_rules.escalate))
            return by_rules
        threshold = budget.threshold()
        told, after = verdict(
            gain.score,
            in_domain=gain.in_domain,
            fallback_strong=by_rules.escalate,
            budget=budget,
            chance=ask.seed / 2**32,
        )
        self._spent.keep(ask.tenant, after)
        if not gain.in_domain:
            return replace(by_rules, escalate=told.strong, by=f"rules ({told.reason})")
        return Check(
            escalate=told.strong, score=gain.score, threshold=threshold, by="predicted gain", faults=by_rules.faults
        )

    def settle(self, job: Job, delivered: Delivered, decision: Settled) -> None:
        """Set a tenant's budget right by what ran: a check may have found nobody stronger in time."""
        judge = self._weights.cascade
        if judge is None:
            return
        told = delivered.cascaded
        booked = None if told is None else told.escalated
        ran = told.strong is not None if told is not None else _overflowed(decision, delivered)
        self._spent.settle(
            job.tenant, self._spent.of(job.tenant, judge, self._share(job.tenant)), booked=booked, ran=ran
        )


def _overflowed(decision: Settled, delivered: Delivered) -> bool | None:
    """Tell of a cascade without a check whether a strong model ran in place of a weak one: that tier was full, or failed. None
    where there was one tier, or nobody ran."""
    if delivered.chosen is None or not delivered.attempts or not decision.leaders:
        return None
    weak_first = decision.leaders[0].details.get(STRONG) == 0.0
    return True if weak_first and delivered.chosen.details.get(STRONG, 0.0) > 0.0 else None

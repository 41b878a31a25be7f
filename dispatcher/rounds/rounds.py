"""How many rounds a job takes: one, or a weak answer that is checked and, where it does not hold, a strong one (strategy cascade).

Nobody sees a weak answer before it was checked, and nobody ever sees parts of two. It keeps no record: what it returns tells of
all rounds, as if the job had been one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from common.logs import get_logger
from common.trials import TrialWeights
from dispatcher.delivery.courier import Cancelled, Courier
from dispatcher.delivery.sink import AnswerSink
from dispatcher.outcomes import Decision, Delivered, Job
from dispatcher.rounds.cascade import Cascade, tiered
from dispatcher.rounds.classifier import Classifier
from dispatcher.router import Router
from dispatcher.routing import Ask

log = get_logger("rounds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a cascade goes. With `prefix_chars` 0 a weak answer is checked when it is whole, else as soon as so much of it is there
    and somebody watches. `patience_s` is what the strong tier gets to its first text, or to its end when nobody watches."""

    prefix_chars: int = 0
    patience_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Runs the rounds of any number of jobs."""

    courier: Courier
    router: Router
    manners: Manners = field(default_factory=Manners)
    classifier: Classifier | None = None

    async def explain(self, job: Job, weights: TrialWeights | None = None) -> dict[str, Any]:
        """Tell where a job would go and why; nothing is run for it, so a question is classified only if it was before. `weights`
        are tried in place of those that hold."""
        known = self._nothing if self.classifier is None else self.classifier.known
        return await self.router.explain(job, lambda ask: known(job, ask) if ask.classifies else ask, weights)

    def _nothing(self, _: Job, ask: Ask) -> Ask:
        return replace(ask, lacks="a classification: it is turned off")

    async def deliver(self, job: Job, ask: Ask, out: AnswerSink, cancelled: Cancelled) -> Delivered:
        """Answer the job as the courier does: never raises a `FleetError`, and `out` gets the text, not the end."""
        if ask.classifies:
            ask = self._nothing(job, ask) if self.classifier is None else await self.classifier.classify(job, ask)
        cascade = Cascade(
            courier=self.courier,
            router=self.router,
            job=job,
            ask=ask,
            out=out,
            cancelled=cancelled,
            prefix_chars=self.manners.prefix_chars,
            patience_s=self.manners.patience_s,
        )
        if not ask.cascades or job.embeds or out.visible_chars:
            return await self.once(job, ask, out, cancelled)
        if tiered(self.router.decide(ask, {})):
            delivered = await cascade.run()
            if delivered.cascaded is not None:
                told = delivered.cascaded
                log.info("cascade.checked", job=job.id, escalated=told.escalated, given=told.given, why=told.why)
            return delivered
        ask = replace(ask, lacks="a weak and a strong tier to choose from: the answer was not checked")
        return await self.once(job, ask, out, cancelled)

    async def once(self, job: Job, ask: Ask, out: AnswerSink, cancelled: Cancelled) -> Delivered:
        """Answer in a single round."""

        def choose(excluded: Mapping[str, str], spent_usd: float) -> Decision:
            return self.router.decide(ask, excluded, spent_usd)

        return await self.courier.deliver(
            job, choose, lambda decision: self.router.nobody(ask, decision), out, cancelled
        )

"""From a job to a decision: reads its features, adds what is known of its conversation and what was trained, and asks `routing`.

It keeps the table of the fleet, the turn of the rota, the budgets of strong calls, and where conversations were answered. It knows
neither bus nor delivery.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

from common.clock import LoopClock
from common.errors import FleetError, WeightsMismatch
from common.logs import get_logger
from common.messages import AUTO, CHAT, Message, Role
from common.trials import TrialWeights
from dispatcher.embed import Embedded, EmbeddingService
from dispatcher.fleet import Fleet, canonical
from dispatcher.outcomes import Decision, Delivered, Job, Settled
from dispatcher.roster import Roster
from dispatcher.router.affinity import Affinity
from dispatcher.router.feedback import Feedback
from dispatcher.router.judging import Terms, Wishes, models_forecast, tiers_verdict
from dispatcher.router.policy_file import PolicyFile
from dispatcher.router.spending import Spending
from dispatcher.router.timetable import Timetable
from dispatcher.router.weak_answers import WeakAnswers
from dispatcher.router.weights import Weights
from dispatcher.routing import (
    Ask,
    Features,
    RoutingPolicy,
    Table,
    decide,
    explain,
    features,
    features_of_texts,
    nobody,
    unfold,
    unnamed,
)
from dispatcher.routing.kinds import demand_of
from dispatcher.routing.multi import MultiRouter
from dispatcher.routing.power import shut
from dispatcher.routing.prompt_signals import prompt_signals
from dispatcher.routing.rules import forbidden, lists, request_list, tenant_list
from dispatcher.routing.strategies.tiers import STRONG, is_strong
from dispatcher.routing.trained import TrainedRouter, Vector
from dispatcher.routing.warmth import answered, trail
from dispatcher.tariff import Rate

log = get_logger("router")

DECISIONS_KEPT = 512
"""So many decisions can be asked for after the fact: some MB at most, since each is bounded."""

BY_TOPIC = frozenset({"hybrid", "semantic", "cascade"})
"""Strategies that ask how near a question is to the topics that devices name."""

BY_KIND = frozenset({"heuristic", "weighted", "llm"})
"""Strategies that ask what kind of question it is, whatever the devices name."""

EXPLAINED_INLINE = 64
"""Devices of a fleet whose decision is explained at once, in about a millisecond or two; a thread does it for larger ones. All that
it looks at are values that never change."""

LOADED_S = 0.5
"""An engine that says it took longer to load has loaded, with an empty cache: to find a model loaded takes it some milliseconds."""

STRONG_DEMAND = 0.5
"""Where the rules send a question up when the trained router can't judge it."""


class Router:
    """Decides for one dispatcher. `strong_share` is the share of jobs that `learned` may send to strong models, `unix_s`
    the clock of the owner's hours."""

    def __init__(
        self,
        roster: Roster,
        rules: PolicyFile,
        *,
        embedding: EmbeddingService,
        weights: Weights,
        strong_share: float = 0.3,
        answer_share: float = 0.3,
        feedback: Feedback | None = None,
        wishes: Wishes | None = None,
        unix_s: Callable[[], float] | None = None,
    ) -> None:
        self.rules = rules
        self._timetable = Timetable(unix_s or LoopClock().unix_s)
        self.weights = weights
        self.feedback = feedback or Feedback()
        self.answers = WeakAnswers(
            weights, embedding, lambda tenant: self.feedback.strong_share(self._answer_share, tenant)
        )
        self._strong_share, self._answer_share = strong_share, answer_share
        self._wishes = wishes or Wishes()
        self.embedding = embedding
        self._roster = roster
        self._table = Table()
        self._affinity = Affinity()
        roster.on_change(self._affinity.hear)
        self._spent = Spending()
        self._turn = 0
        self._decided: deque[tuple[str, str, Mapping[str, Any]]] = deque(maxlen=DECISIONS_KEPT)

    def heed(self, wishes: Wishes, *, strong_share: float, answer_share: float) -> None:
        """Go by other wishes and shares from now on."""
        self._wishes, self._strong_share, self._answer_share = wishes, strong_share, answer_share

    async def ask(self, job: Job) -> Ask:
        """Read off a job what routing is asked. Raises `BadRequest` for a strategy that there is not."""
        self._turn += 1
        return await self._asked(job, dry=False)

    async def _asked(self, job: Job, *, dry: bool) -> Ask:
        request = job.request
        ask = Ask(
            model=job.model,
            device=job.device,
            wanted=features_of_texts(request.inputs or ()) if job.embeds else features(request, job.messages),
            tenant=job.tenant,
            strategy=self.strategy_of(job),
            seed=crc32(job.id.encode()),
            turn=self._turn + dry,  # whose turn is it next
            workload="" if job.kind == CHAT else job.kind,
            warmth=() if job.embeds else self._affinity.warm(trail(job.asker, job.messages, request.tools)),
            max_cost_usd=request.max_cost_usd,
            local=request.local,
            brings_key=request.provider_key is not None,
            allow_models=request.allow_models,
            allow_devices=request.allow_devices,
        )
        if job.embeds:  # what they mean is no matter: all who can do it make the same vectors
            return _named(ask, self._roster.fleet, self._policy(ask.tenant))
        name = ask.strategy.partition(":")[0]
        if name == "hybrid" and not dry and self.feedback.explores(job):  # elsewhere order is more than a score
            ask = replace(ask, explores=True)
        if name == "learned" and job.model == AUTO:  # a named model leaves no choice
            return await self._judged(ask, job, dry=dry)
        if name in BY_KIND or (name in BY_TOPIC and self._topics_matter()):
            return await self._placed(ask, job)
        return ask

    def decide(self, ask: Ask, excluded: Mapping[str, str], spent_usd: float = 0.0) -> Decision:
        """Order who can answer; `spent_usd` of the job's money may be gone. Raises `BadRequest` for a strategy that there is
        not."""
        if spent_usd and ask.max_cost_usd is not None:
            ask = replace(ask, max_cost_usd=max(0.0, ask.max_cost_usd - spent_usd))
        return decide(ask, self._roster.fleet, self._policy(ask.tenant), excluded, self._table)

    def nobody(self, ask: Ask, decision: Decision) -> FleetError:
        """Say why nobody can."""
        return nobody(ask, decision, self._roster.fleet, self._policy(ask.tenant))

    async def explain(
        self, job: Job, known: Callable[[Ask], Ask] = lambda ask: ask, weights: TrialWeights | None = None
    ) -> dict[str, Any]:
        """Tell where a job would go and why, without running it, and without any trace; `known` adds what is known of the question
        already, and `weights` are tried in place of those that hold. Raises `BadRequest`."""
        ask = known(await self._asked(job, dry=True))
        policy, fleet = self._policy(job.tenant), Fleet(dict(self._roster.fleet.devices))
        if weights is not None:
            policy = replace(policy, tokens=weights.tokens, topic=weights.topic, health=weights.health)
        self._table.view(fleet)
        if len(fleet.devices) <= EXPLAINED_INLINE:
            told = explain(ask, fleet, policy, self._table)
        else:
            told = await asyncio.to_thread(explain, ask, fleet, policy, self._table.fork())
        return {**told, "feedback": self.feedback.account(self.policy, job.tenant)}

    @property
    def policy(self) -> RoutingPolicy:
        """The owner's policy as it is now."""
        return self._timetable.at_present(self.rules.policy)

    def rate(self) -> Rate:
        """Give what a kilowatt-hour costs and emits now."""
        return self.policy.rate

    def shut(self) -> frozenset[str]:
        """Name the devices that limits on heat and watts let take no more job now."""
        policy = self.policy
        return shut(self._table.view(self._roster.fleet), policy) if policy.shuts else frozenset()

    def _policy(self, tenant: str) -> RoutingPolicy:
        """Give the owner's policy, as far as a tenant's feedback has moved it."""
        return self.feedback.policy(self.policy, tenant)

    def explained(self, job_id: str, tenant: str | None) -> dict[str, Any] | None:
        """Tell why a job that was here lately went where it went; without a tenant any tenant's."""
        for kept, of, told in reversed(self._decided):
            if kept == job_id and tenant in {None, of}:
                return {"tenant": of, **unfold(told)}
        return None

    def note(self, job: Job, delivered: Delivered, total_s: float = 0.0, text: str = "") -> None:
        """Learn from how a job ended: where its conversation is warm now, `text` being its answer, and how well it went."""
        if delivered.decision is not None:
            self._keep(job, delivered, delivered.decision)
        if job.embeds:
            return
        self.feedback.note(job, delivered, total_s)
        if delivered.decision is not None:
            self._settle(job, delivered, delivered.decision)
        if delivered.cached is None or not delivered.cached.hit:  # else it was no attempt of this job
            self._note_places(job, delivered, text)

    def _note_places(self, job: Job, delivered: Delivered, text: str) -> None:
        """Note what its attempts have left in the slots of their devices: the one whose answer was given the conversation, all
        others something that is not worth knowing."""
        chosen, end, fleet = delivered.chosen, delivered.end, self._roster.fleet
        given = None if chosen is None or end is None else (chosen.device, canonical(chosen.model))
        for attempt in delivered.attempts:
            place = attempt.device, canonical(attempt.model)
            if place != given and attempt.accept_s is not None:
                self._affinity.note(place, (), tenant=job.tenant, fleet=fleet)
        if given is None or end is None or chosen is None:
            return
        names = trail(job.asker, job.messages, job.request.tools).names
        if text and not end.tool_calls:
            names = answered(names, text)
        took_s = end.engine.load_s
        loaded = not chosen.warm if took_s is None else took_s > LOADED_S
        self._affinity.note(given, names, tenant=job.tenant, fleet=fleet, loaded=loaded)

    def refresh(self) -> None:
        """Read the owner's files again where they changed, apply what feedback has taught, and keep it."""
        self.reread()
        self.learn()
        self.feedback.keep()

    def reread(self) -> None:
        """Read the owner's files again where they changed. A thread may do it: each part is replaced as a whole."""
        self.rules.refresh()
        self.weights.refresh()

    def learn(self) -> None:
        """Apply what feedback has taught. Only where jobs are noted too: both change the same values."""
        self.feedback.refresh()

    def strategy_of(self, job: Job) -> str:
        """Give how a job's device is chosen: as it asks, or as its tenant's jobs are."""
        return job.request.strategy or self.policy.strategy_for(job.tenant)

    def may_use(self, job: Job, device: str, model: str) -> bool:
        """Tell whether a job may use a model on a device: its tenant may, and its own lists allow it."""
        request = job.request
        own = request_list(request.allow_models, request.allow_devices)
        rules = tenant_list(self.policy, job.tenant)
        return all(one is None or one.allows(device, canonical(model)) for one in (own, rules))

    def question(self, job: Job) -> str:
        """Give what a job asks."""
        return _question(job.messages)

    # -- what strong calls there were ----------------------------------------------------------------------------

    def _settle(self, job: Job, delivered: Delivered, decision: Settled) -> None:
        """Set the budget right by what ran: a verdict may have met a full tier, a check may have found nobody stronger in time, and
        a pin asks nobody."""
        match decision.strategy.partition(":")[0]:
            case "learned" if (judge := self.weights.router) is not None:
                said = decision.features.get("verdict") or decision.features.get("choice")
                booked = None if said is None else said["strong"]
                if said is not None and booked is None:
                    return  # without models of both kinds at hand there was nothing to save
                budget = self._spent.of(job.tenant, judge, self.feedback.strong_share(self._strong_share, job.tenant))
                self._spent.settle(job.tenant, budget, booked=booked, ran=self._ran(job, delivered))
            case "cascade":
                self.answers.settle(job, delivered, decision)

    def _ran(self, job: Job, delivered: Delivered) -> bool | None:
        """Tell whether a strong model ran: as the decision parted them, or where it had no choice, among all of the fleet. None
        when nobody ran, or all are alike."""
        chosen = delivered.chosen
        if chosen is None or not delivered.attempts:
            return None
        if isinstance(judge := self.weights.router, MultiRouter):
            return canonical(chosen.model) in map(canonical, judge.strong)
        if job.model == AUTO and job.device is None and STRONG in chosen.details:
            return chosen.details[STRONG] > 0.0
        return is_strong(self._table.view(self._roster.fleet), self.policy, chosen)

    # -- what was trained ----------------------------------------------------------------------------------------

    def _topics_matter(self) -> bool:
        """True when a device names topics: to a fleet without, a vector would say nothing."""
        return self._table.view(self._roster.fleet).layout.topics.named

    async def _placed(self, ask: Ask, job: Job) -> Ask:
        """Give the question its place among the trained topics; without a vector the words of the question have to do."""
        topics = self.weights.topics
        if topics is None:
            return replace(ask, lacks=self.weights.lacks_topics)
        embedded = await self.embedding.embed(_question(job.messages), of=job.asker)
        if embedded.vector is None:
            return replace(ask, lacks=embedded.lacks or "")
        try:
            similarities = topics.similarities(embedded.vector)
        except WeightsMismatch as error:
            return replace(ask, lacks=error.message)
        known = {**ask.wanted.topics, **similarities}  # topics that were not trained keep their words
        return replace(ask, wanted=replace(ask.wanted, topics=known), embedder=_identity(embedded))

    async def _judged(self, ask: Ask, job: Job, *, dry: bool) -> Ask:
        """Ask the trained router; where it can't say, the strategy goes by rules."""
        trained = self.weights.router
        if trained is None:
            return replace(ask, lacks=f"a trained router: {self.weights.lacks_router}")
        question = _question(job.messages)
        embedded = await self.embedding.embed(question, of=job.asker) if trained.embedder else None
        if embedded is not None and embedded.vector is None:
            return replace(ask, lacks=embedded.lacks or "")
        try:
            judged = self._said(trained, ask, question, None if embedded is None else embedded.vector, dry=dry)
        except WeightsMismatch as error:
            return replace(ask, lacks=error.message)
        return replace(judged, embedder=_identity(embedded))

    def _said(
        self, trained: TrainedRouter | MultiRouter, ask: Ask, question: str, vector: Vector | None, *, dry: bool
    ) -> Ask:
        """Add what it says, within the budget. Raises `WeightsMismatch`."""
        budget = self._spent.of(ask.tenant, trained, self.feedback.strong_share(self._strong_share, ask.tenant))
        terms = Terms(demanding=_demanding(ask.wanted), chance=ask.seed / 2**32, wishes=self._wishes)
        signals = prompt_signals(question)
        if isinstance(trained, MultiRouter):
            wanted = ask.wanted
            predicted = trained.predict(signals, vector, topics=wanted.topics, complexity=wanted.complexity)
            open_to = lists(self.policy, ask)
            at_hand = {
                name
                for device in self._roster.fleet.devices.values()
                for name in device.models
                if forbidden(open_to, device.name, name) is None
            }
            forecast, after = models_forecast(trained, predicted, at_hand, budget, terms)
            said = replace(ask, forecast=forecast)
        else:
            verdict, after = tiers_verdict(trained.gain(signals, vector), budget, terms)
            said = replace(ask, verdict=verdict)
        if not dry:
            self._spent.keep(ask.tenant, after)
        return said

    def _keep(self, job: Job, delivered: Delivered, decision: Settled) -> None:
        checked = {} if delivered.cascaded is None else {"cascade": delivered.cascaded.brief()}
        had = delivered.chosen
        chosen = None if had is None else {"device": had.device, "model": had.model, "reason": had.reason}
        self._decided.append((job.id, job.tenant, {**decision.brief, "chosen": chosen, **checked}))


def _question(messages: Sequence[Message]) -> str:
    """Give the last question: what topic and difficulty are judged by."""
    return next((message.content for message in reversed(messages) if message.role is Role.USER), "")


def _named(ask: Ask, fleet: Fleet, policy: RoutingPolicy) -> Ask:
    """Give what is asked of a model by name. Raises `BadRequest` for embeddings of any."""
    if ask.model == AUTO:
        raise unnamed(ask, fleet, policy)
    return ask


def _demanding(wanted: Features) -> bool:
    return demand_of(wanted) >= STRONG_DEMAND


def _identity(embedded: Embedded | None) -> str:
    return "" if embedded is None or embedded.identity is None else str(embedded.identity)

"""From a job to a decision: reads its features, adds what is known of its conversation, and asks `routing`.

It keeps the table of the fleet, the turn of the rota, and where conversations were answered. It knows neither bus nor delivery.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any
from zlib import crc32

from common.errors import FleetError
from common.logs import get_logger
from dispatcher.fleet import canonical
from dispatcher.outcomes import Decision, Delivered, Job
from dispatcher.roster import Roster
from dispatcher.router.affinity import Affinity, conversation_of, goes_on
from dispatcher.router.policy_file import PolicyFile
from dispatcher.routing import Ask, Table, Warmth, decide, explain, features, nobody, record

log = get_logger("router")

DECISIONS_KEPT = 256
OPTIONS_KEPT = 100_000
"""So many decisions, with so many options in all (some 10 MB), can be asked for after the fact."""


class Router:
    """Decides for one dispatcher."""

    def __init__(self, roster: Roster, rules: PolicyFile) -> None:
        self.rules = rules
        self._roster = roster
        self._table = Table()
        self._affinity = Affinity()
        self._turn = 0
        self._decided: deque[tuple[str, str, Decision]] = deque()
        self._options = 0

    def ask(self, job: Job) -> Ask:
        """Read off a job what routing is asked. Raises `BadRequest` for a strategy that there is not."""
        policy, request = self.rules.policy, job.request
        self._turn += 1
        warmth = self._affinity.warmth(conversation_of(job.tenant, job.messages)) if goes_on(job.messages) else None
        return Ask(
            model=job.model,
            device=job.device,
            wanted=features(request, job.messages),
            tenant=job.tenant,
            strategy=request.strategy or policy.strategy_for(job.tenant),
            seed=crc32(job.id.encode()),
            turn=self._turn,
            workload="" if job.kind == "chat" else job.kind,
            warmth=warmth,
        )

    def decide(self, ask: Ask, excluded: Mapping[str, str]) -> Decision:
        """Order who can answer. Raises `BadRequest` for a strategy that there is not."""
        return decide(ask, self._roster.fleet, self.rules.policy, excluded, self._table)

    def nobody(self, ask: Ask, decision: Decision) -> FleetError:
        """Say why nobody can."""
        return nobody(ask, decision, self._roster.fleet)

    def explain(self, job: Job) -> dict[str, Any]:
        """Tell where a job would go and why, without running it. Raises `BadRequest`."""
        return explain(self.ask(job), self._roster.fleet, self.rules.policy)

    def explained(self, job_id: str, tenant: str | None) -> dict[str, Any] | None:
        """Tell why a job that was here lately went where it went; without a tenant any tenant's."""
        for kept, of, decision in reversed(self._decided):
            if kept == job_id and tenant in {None, of}:
                return {"tenant": of, **record(decision)}
        return None

    def note(self, job: Job, delivered: Delivered) -> None:
        """Learn from how a job ended: where its conversation is warm now."""
        if delivered.decision is not None:
            self._keep(job, delivered.decision)
        chosen, end = delivered.chosen, delivered.end
        device = None if chosen is None else self._roster.fleet.devices.get(chosen.device)
        if chosen is None or end is None or device is None:
            return
        warmth = Warmth(chosen.device, canonical(chosen.model), end.usage.total_tokens)
        self._affinity.note(conversation_of(job.tenant, job.messages), warmth, slots=device.beat.slots)

    def _keep(self, job: Job, decision: Decision) -> None:
        self._decided.append((job.id, job.tenant, decision))
        self._options += len(decision.candidates)
        while len(self._decided) > DECISIONS_KEPT or (self._options > OPTIONS_KEPT and len(self._decided) > 1):
            self._options -= len(self._decided.popleft()[2].candidates)

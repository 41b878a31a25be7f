"""What records add up to, for Prometheus: jobs, latencies, tokens, attempts, cache, energy, money. It knows no page and no port.

No label holds what a producer chose: tenants, job ids and users are in the ledger.
"""

from __future__ import annotations

from common.energy import Energy
from common.errors import BY_CODE
from common.metrics import OTHER, TOKENS_PER_SECOND, Metrics, Names
from dispatcher.outcomes import Attempt, Cached, JobRecord

_OUTCOMES = frozenset({"ok", "outrun", *BY_CODE})
_KINDS = frozenset({"", "exact", "semantic", "attached"})


class MetricsSink:
    """Counts each record once."""

    def __init__(self, metrics: Metrics, *, devices: Names, models: Names) -> None:
        """Count into `metrics`; the names that its labels may hold are shared with whoever else shows devices and models."""
        self._device, self._model, self._currency = devices, models, Names(8)
        counter, histogram = metrics.counter, metrics.histogram
        self._jobs = counter("drover_jobs", "Jobs that ended, and how.", "state", "error")
        self._total = histogram("drover_job_seconds", "From the receipt of a job to its last frame.", "state")
        self._queue = histogram(
            "drover_job_queue_seconds", "What a job waited for slots, all its attempts together.", "priority"
        )
        self._accept = histogram("drover_job_accept_seconds", "From the dispatch to the device's word that it has it.")
        self._load = histogram("drover_job_load_seconds", "What the backend took to get the model ready.", "model")
        self._prefill = histogram("drover_job_prefill_seconds", "What the backend took to read the prompt.", "model")
        self._first = histogram(
            "drover_job_first_token_seconds", "From the receipt of a job to its first visible text.", "model"
        )
        self._speed = histogram(
            "drover_job_decode_tokens_per_second",
            "How fast the backend wrote the answer.",
            "model",
            bounds=TOKENS_PER_SECOND,
        )
        self._tokens = counter("drover_tokens", "Tokens that devices read and wrote for answers.", "device", "type")
        self._model_tokens = counter("drover_model_tokens", "The same tokens, by model.", "model", "type")
        self._attempts = counter("drover_attempts", "Attempts at jobs, by how they ended.", "device", "outcome")
        self._hedges = counter("drover_hedges", "Attempts that began beside another one of their job.", "outcome")
        self._escalated = counter("drover_cascades", "Answers that were checked before they were given.", "escalated")
        self._cache = counter("drover_cache_lookups", "What the cache did for jobs.", "outcome", "kind")
        self._spared = counter("drover_cache_saved_tokens", "Tokens of answers that were given again.")
        self._spared_s = counter("drover_cache_saved_seconds", "What those answers took when they were made.")
        self._spared_j = counter("drover_cache_saved_joules", "What they took of energy then, as estimated.")
        self._joules = counter("drover_energy_joules", "Energy of jobs above idle.", "device", "measured")
        self._idle = counter("drover_energy_idle_joules", "What devices drew idle meanwhile.")
        self._lost = counter("drover_energy_lost_joules", "The part of jobs whose text nobody was given.")
        self._co2e = counter(
            "drover_energy_co2e_grams", "What the making of that energy emitted, where a grid factor is set."
        )
        self._tariff = counter("drover_energy_cost", "What that energy cost, where a tariff is set.", "currency")
        self._paid = counter("drover_cost_usd", "What providers of paid models charged.", "model")

    async def write(self, record: JobRecord) -> None:
        """Count it."""
        cached, model = record.cached, self._model(record.model)
        self._jobs.add(str(record.state), _known(record.error or ""))
        if record.priority is not None:  # else it was refused unread, and took no time
            self._times(record, str(record.priority), model)
        for attempt in record.attempts:
            self._attempt(attempt)
        if record.escalated is not None:
            self._escalated.add(str(record.escalated).lower())
        if record.cost_usd:
            self._paid.add(model, by=max(0.0, record.cost_usd))
        if cached is not None:
            self._looked(cached)
        if cached is None or not cached.hit:
            self._made(record, model)
        if record.energy is not None:
            self._energy(record, record.energy)

    def _times(self, record: JobRecord, priority: str, model: str) -> None:
        self._total.observe(record.total_s, str(record.state))
        if record.queue_s is not None:
            self._queue.observe(record.queue_s, priority)
        if record.first_token_s is not None:
            self._first.observe(record.first_token_s, model)

    def _attempt(self, attempt: Attempt) -> None:
        outcome = _known(attempt.outcome)
        self._attempts.add(self._device(attempt.device), outcome)
        if attempt.beside:
            self._hedges.add(outcome)
        if attempt.accept_s is not None:
            self._accept.observe(attempt.accept_s)

    def _made(self, record: JobRecord, model: str) -> None:
        """Count what a device did for it."""
        usage, engine, device = record.usage, record.engine, self._device(record.device)
        for kind, number in (("prompt", usage.prompt_tokens), ("completion", usage.completion_tokens)):
            if number:
                self._tokens.add(device, kind, by=number)
                self._model_tokens.add(model, kind, by=number)
        if engine.load_s is not None:
            self._load.observe(engine.load_s, model)
        if engine.prefill_s is not None:
            self._prefill.observe(engine.prefill_s, model)
        if engine.decode_s and usage.completion_tokens:
            self._speed.observe(usage.completion_tokens / engine.decode_s, model)

    def _looked(self, cached: Cached) -> None:
        self._cache.add(str(cached.outcome), cached.kind if cached.kind in _KINDS else OTHER)
        for counter, name in ((self._spared, "tokens"), (self._spared_s, "s"), (self._spared_j, "energy_j")):
            value = cached.saved.get(name) if cached.hit else None
            if isinstance(value, int | float) and value > 0:
                counter.add(by=value)

    def _energy(self, record: JobRecord, energy: Energy) -> None:
        """Count the joules of each attempt for its device, and what is in none of them for the one that answered."""
        rest = energy.joules
        for attempt in record.attempts:
            if attempt.energy is not None:
                self._joule(attempt.device, attempt.energy.joules, measured=attempt.energy.measured)
                rest -= attempt.energy.joules
        if rest > 1e-9 * energy.joules:
            self._joule(record.device, rest, measured=energy.measured)
        self._idle.add(by=energy.idle_joules)
        self._lost.add(by=energy.lost_joules)
        if energy.co2e_g is not None:
            self._co2e.add(by=energy.co2e_g)
        if energy.cost is not None:
            self._tariff.add(self._currency(energy.currency), by=energy.cost)

    def _joule(self, device: str | None, joules: float, *, measured: bool) -> None:
        self._joules.add(self._device(device), str(measured).lower(), by=joules)


def _known(outcome: str) -> str:
    """Keep to the words that there are: a code may come over the wire from a newer program."""
    return outcome if not outcome or outcome in _OUTCOMES else OTHER

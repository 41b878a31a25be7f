"""Why a request goes where it goes, as a record that people and programs read: every device, filter, term and figure, and what
would change the outcome. Pure, like the decision that it tells of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dispatcher.briefs import DIGITS, TERMS, formula
from dispatcher.fleet import Fleet
from dispatcher.outcomes import Candidate, Decision, Removed, Terms
from dispatcher.routing.ask import Ask, Cloud, RoutingPolicy
from dispatcher.routing.brief import COST_DIGITS
from dispatcher.routing.decide import decide
from dispatcher.routing.power import told as power_told
from dispatcher.routing.refusal import nobody
from dispatcher.routing.strategies import STRATEGIES
from dispatcher.routing.table import Table

MOST_OPTIONS = 100
"""A record of a thousand devices would not fit a message; the best hundred and the number of all are told."""


def explain(ask: Ask, fleet: Fleet, policy: RoutingPolicy, table: Table | None = None) -> dict[str, Any]:
    """Decide without running anything, and tell everything. `table` as in `decide`. Raises `BadRequest` for a strategy that there
    is not."""
    table = table or Table()
    decision = decide(ask, fleet, policy, {}, table)
    told = record(decision)
    if power := power_told(table.view(fleet), policy):
        told["power"] = power
    if decision.candidates:
        told["strategies"] = _by_strategy(ask, fleet, policy, table)
        told["changes"] = list(_changes(ask, fleet, policy, decision, table))
    else:
        error = nobody(ask, decision, fleet, policy)
        told["error"] = {"code": error.code, "message": error.message}
    return told


def record(decision: Decision) -> dict[str, Any]:
    """Give a decision as it is kept for a job: the chosen first."""
    best = decision.candidates[0] if decision.candidates else None
    weights = {name: round(weight, DIGITS) for name, weight in decision.weights.items()}
    return {
        "strategy": decision.strategy,
        "rule": decision.rule,
        "weights": weights,
        **formula(weights),
        "features": dict(decision.features),
        "chosen": None if best is None else {"device": best.device, "model": best.model, "reason": best.reason},
        "options": [_option(one, decision.weights) for one in decision.candidates[:MOST_OPTIONS]],
        "options_in_all": len(decision.candidates),
        "removed": [_removed(one) for one in decision.removed[:MOST_OPTIONS]],
        "removed_in_all": len(decision.removed),
    }


def _option(one: Candidate, weights: Mapping[str, float]) -> dict[str, Any]:
    terms = _terms(one.terms)
    return {
        "device": one.device,
        "model": one.model,
        "score": round(one.score, DIGITS),
        "terms": terms,
        "parts": {name: round(weights[name] * value, DIGITS) for name, value in terms.items() if name in weights},
        "details": {name: round(value, DIGITS) for name, value in one.details.items()},
        "warm": one.warm,
        "warm_tokens": one.warm_tokens,
        "simulated": one.simulated,
        "remote": one.remote,
        "strain": list(one.strain),
        "predicted": {
            "wait_s": round(one.predicted_wait_s, DIGITS),
            "load_s": round(one.predicted_load_s, DIGITS),
            "first_token_s": round(one.predicted_first_token_s, DIGITS),
            "total_s": round(one.predicted_total_s, DIGITS),
            "energy_j": None if one.predicted_energy_j is None else round(one.predicted_energy_j, DIGITS),
            "cost_usd": None if one.predicted_cost_usd is None else round(one.predicted_cost_usd, COST_DIGITS),
        },
    }


def _removed(one: Removed) -> dict[str, Any]:
    told = {"device": one.device, "filter": one.filter, "reason": one.reason, "for_now": one.for_now}
    return told if one.model is None else told | {"model": one.model}


def _terms(terms: Terms) -> dict[str, float]:
    return {name: round(getattr(terms, name), DIGITS) for name in TERMS}


def _changes(ask: Ask, fleet: Fleet, policy: RoutingPolicy, decision: Decision, table: Table) -> Iterator[str]:
    """Say why the first one comes first, and what would bring another device there: 1. other weights 2. the first one being full.
    Nothing is said that deciding again, with the change, does not bear out."""
    first = decision.candidates[0]
    rival = next((one for one in decision.candidates if one.device != first.device), None)
    if rival is None:
        yield f"nothing but another device: {first.device} is the only one that can answer"
        return
    if decision.rule:
        yield f"what decides: {decision.rule}"
    yield _lead(ask, policy, first, rival)
    if set(decision.weights) == set(TERMS):
        yield from _by_weights(ask, fleet, policy, (first, rival), table)  # 1
    yield _when_full(ask, fleet, policy, first, table)  # 2


def _lead(ask: Ask, policy: RoutingPolicy, first: Candidate, rival: Candidate) -> str:
    """Say why one comes before the other: 1. by score 2. by what breaks a tie 3. by where it runs 4. to learn from."""
    lead = round(first.score - rival.score, DIGITS)
    if lead > 0:  # 1
        return f"{first.device} leads {rival.device} by {lead:.4f}"
    if lead == 0:  # 2
        return f"{first.device} and {rival.device} have the same score"
    behind = f"{first.device} comes before {rival.device}, which has a score higher by {-lead:.4f}"
    if first.remote != rival.remote:  # 3
        preferred = policy.cloud_for(ask.tenant) is Cloud.PREFERRED
        return f"{behind}: {'the cloud is preferred' if preferred else 'local first, for the question is not worth the cloud'}"
    return f"{behind}: it is tried to learn from"  # 4


def _by_weights(
    ask: Ask, fleet: Fleet, policy: RoutingPolicy, pair: tuple[Candidate, Candidate], table: Table
) -> Iterator[str]:
    """Where scores are sums of weights and terms, raising w_k by x moves the lead by x * (term_k of the first - that of the rival).

    That gives a weight to try; who leads with it, deciding again says.
    """
    first, rival = pair
    weights = policy.normalised()
    for name in TERMS:
        loss = getattr(rival.terms, name) - getattr(first.terms, name)
        if loss <= 0.0:
            continue
        over = (
            max(0.0, sum(weights[one] * (getattr(first.terms, one) - getattr(rival.terms, one)) for one in TERMS))
            / loss
        )
        share = math.floor(100 * (weights[name] + over) / (1.0 + over) + 1.0) / 100  # above it, in two digits
        if weights[name] < share <= 1.0:
            leader = decide(ask, fleet, _weighing(policy, name, share), {}, table).candidates[0]
            if leader.device != first.device:
                yield f"{leader.device} would lead with a {name} weight of {share:.2f} (now {weights[name]:.2f})"


def _weighing(policy: RoutingPolicy, name: str, share: float) -> RoutingPolicy:
    """Give the policy with one weight changed, the others as they are to each other."""
    weights = policy.normalised()
    rest = max(1e-9, 1.0 - weights[name])
    new = {one: share if one == name else weight * (1.0 - share) / rest for one, weight in weights.items()}
    return replace(policy, tokens=new["tokens"], topic=new["topic"], health=new["health"])


def _when_full(ask: Ask, fleet: Fleet, policy: RoutingPolicy, first: Candidate, table: Table) -> str:
    """Say who would take the job: the first one in the new order that has a free slot."""
    device = fleet.devices[first.device]
    full = Fleet({**fleet.devices, first.device: replace(device, own=device.own + max(1, device.beat.slots))})
    order = decide(ask, full, policy, {}, table).candidates
    taken = next((one for one in order if full.devices[one.device].free_slots > 0), None)
    if taken is None:
        return f"the job would wait with one job more for each slot of {first.device}: nobody else has a free one"
    return f"{taken.device} would be chosen with one job more for each slot of {first.device}"


def _by_strategy(ask: Ask, fleet: Fleet, policy: RoutingPolicy, table: Table) -> dict[str, str]:
    """Say whom each strategy would choose."""
    return {
        name: _chosen(decide(replace(ask, strategy=name), fleet, policy, {}, table).candidates) for name in STRATEGIES
    }


def _chosen(candidates: Sequence[Candidate]) -> str:
    return f"{candidates[0].model}@{candidates[0].device}"

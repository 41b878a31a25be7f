"""Why a request goes where it goes, as a record that people and programs read: every device, filter, term and figure, and what
would change the outcome. Pure, like the decision that it tells of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dispatcher.fleet import Fleet
from dispatcher.outcomes import Candidate, Decision, Removed, Terms
from dispatcher.routing.ask import Ask, RoutingPolicy
from dispatcher.routing.brief import COST_DIGITS, DIGITS, TERMS
from dispatcher.routing.decide import decide, nobody
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
    if decision.candidates:
        told["strategies"] = _by_strategy(ask, fleet, policy, table)
        told["changes"] = list(_changes(ask, fleet, policy, decision))
    else:
        error = nobody(ask, decision, fleet)
        told["error"] = {"code": error.code, "message": error.message}
    return told


def record(decision: Decision) -> dict[str, Any]:
    """Give a decision as it is kept for a job: the chosen first."""
    best = decision.candidates[0] if decision.candidates else None
    return {
        "strategy": decision.strategy,
        "weights": {name: round(weight, DIGITS) for name, weight in decision.weights.items()},
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
        "simulated": one.simulated,
        "remote": one.remote,
        "predicted": {
            "wait_s": round(one.predicted_wait_s, DIGITS),
            "load_s": round(one.predicted_load_s, DIGITS),
            "first_token_s": round(one.predicted_first_token_s, DIGITS),
            "total_s": round(one.predicted_total_s, DIGITS),
            "energy_j": None if one.predicted_energy_j is None else round(one.predicted_energy_j, DIGITS),
            "cost_usd": round(one.predicted_cost_usd, COST_DIGITS),
        },
    }


def _removed(one: Removed) -> dict[str, Any]:
    told = {"device": one.device, "filter": one.filter, "reason": one.reason, "for_now": one.for_now}
    return told if one.model is None else told | {"model": one.model}


def _terms(terms: Terms) -> dict[str, float]:
    return {name: round(getattr(terms, name), DIGITS) for name in TERMS}


def _changes(ask: Ask, fleet: Fleet, policy: RoutingPolicy, decision: Decision) -> Iterator[str]:
    """Say what would bring another device to the top: 1. other weights 2. the first one being full."""
    first = decision.candidates[0]
    rival = next((one for one in decision.candidates if one.device != first.device), None)
    if rival is None:
        yield f"nothing but another device: {first.device} is the only one that can answer"
        return
    lead = first.score - rival.score
    yield f"{first.device} leads {rival.device} by {lead:.3f}"
    if set(decision.weights) == set(TERMS):
        yield from _by_weights(first, rival, decision.weights, lead)  # 1
    yield from _when_full(ask, fleet, policy, first)  # 2


def _by_weights(first: Candidate, rival: Candidate, weights: Mapping[str, float], lead: float) -> Iterator[str]:
    """Raising one weight w_k by x moves the lead by x * (term_k of the first - term_k of the rival): it is 0 at x = lead / loss."""
    for name in TERMS:
        loss = getattr(rival.terms, name) - getattr(first.terms, name)
        if loss > 0.0:
            raised = weights[name] + lead / loss
            share = raised / (1.0 + lead / loss)
            yield f"{rival.device} would lead with a {name} weight above {share:.2f} (now {weights[name]:.2f})"


def _when_full(ask: Ask, fleet: Fleet, policy: RoutingPolicy, first: Candidate) -> Iterator[str]:
    device = fleet.devices[first.device]
    full = replace(device, own=device.own + max(1, device.beat.slots))
    candidates = decide(ask, Fleet({**fleet.devices, first.device: full}), policy, {}).candidates
    other = candidates[0] if candidates else first
    if other.device == first.device:
        yield f"{first.device} would still be chosen with one job more for each of its slots"
    else:
        yield f"{other.device} would be chosen with one job more for each slot of {first.device}"


def _by_strategy(ask: Ask, fleet: Fleet, policy: RoutingPolicy, table: Table) -> dict[str, str]:
    """Say whom each strategy would choose."""
    return {
        name: _chosen(decide(replace(ask, strategy=name), fleet, policy, {}, table).candidates) for name in STRATEGIES
    }


def _chosen(candidates: Sequence[Candidate]) -> str:
    return f"{candidates[0].model}@{candidates[0].device}"

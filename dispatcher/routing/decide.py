"""The decision: filters, then a strategy's scores, then the order; every term and every reason is kept.

All rows are looked at at once; the words of a reason, and a candidate's figures, are worked out when somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from common.errors import ContextTooLong, FleetError, NoDevice, NotAllowed, UnknownModel, UnsupportedByModel
from common.messages import AUTO
from dispatcher.fleet import Device, Fleet
from dispatcher.outcomes import Candidate, Decision, Deferred, Once, Ranking, Removed, Terms
from dispatcher.routing.ask import Ask, Cloud, RoutingPolicy, Warmth
from dispatcher.routing.brief import brief
from dispatcher.routing.cloud import deserves_cloud, not_paid_for, reference, too_dear
from dispatcher.routing.features import Features
from dispatcher.routing.filters import device_filter, model_filter, needed, without_model
from dispatcher.routing.kinds import kind_of
from dispatcher.routing.predict import predict
from dispatcher.routing.rules import allows_model, barred
from dispatcher.routing.strategies import strategy_of
from dispatcher.routing.strategies.seam import Scene, Scores
from dispatcher.routing.table import CAN, CONTEXT, Numbers, Options, Row, Rows, Table, View
from dispatcher.routing.terms import terms

_TOO_SMALL = frozenset({"context", "context_memory"})
_UNABLE = _TOO_SMALL | {"capability", "memory"}

_FORBIDDEN = frozenset({"tenant", "cloud", "cost", "key"})

_MOST_CHARS, _MOST_NAMED = 260, 6
"""What the reasons may take in a message, and how many devices are named for each: it goes into a header of NATS and into logs."""

EXPLORED_BEHIND = 0.2
"""Of the score: who is further behind is not tried for the sake of learning."""

EXPLORED_SLOWER = 3.0
"""Nor one that is predicted to take so many times as long."""

RETRY_AFTER_S = 2.0
"""A device that is only suspect is back, or dead, within a few heartbeats."""


def decide(
    ask: Ask, fleet: Fleet, policy: RoutingPolicy, excluded: Mapping[str, str], table: Table | None = None
) -> Decision:
    """Order all devices and models that can answer, best first. `excluded` are devices tried already, with the reason; `table`
    is kept between decisions to make them cheap.

    Raises `BadRequest` for a strategy that there is not.
    """
    strategy = strategy_of(ask.strategy)
    view = (table or Table()).view(fleet)
    out = barred(view.blocks, policy, ask.tenant)
    if view.remote:
        out |= {one.device: one for one in not_paid_for(view, policy, ask)}
    kept = _kept(view, ask, policy, {*excluded, *out})
    scene = _scene(view, kept, ask, policy)
    scores = strategy(scene)
    order = _order(scene, scores)
    if ask.explores:
        order = _explored(scene, scores, order)
    removed = Deferred(
        lambda: _removed(view, ask, policy, (excluded, out), set(kept[np.isfinite(scores.values)].tolist()))
    )
    told = {**_features(ask), **scores.told}
    return Decision(
        strategy=ask.strategy,
        candidates=Ranking(len(order), lambda place: _candidate(scene, scores, int(order[place]))),
        removed=removed,
        weights=scores.weights,
        features=told,
        rule=scores.rule,
        reference=lambda: reference(view, policy) if view.remote else None,
        brief=Once(lambda: brief(scene, scores, order, lambda: removed, told)),
    )


def _order(scene: Scene, scores: Scores) -> Rows:
    """Give the places of the rows with a score, best first: equals by price, then by name. Where the fleet has remote models and
    the question does not deserve one, those come last; preferred ones come first."""
    values = scores.values
    if scene.view.remote and scores.local_first:
        ask, policy, remote = scene.ask, scene.policy, scene.options.remote
        if policy.cloud_for(ask.tenant) is Cloud.PREFERRED:
            order = np.lexsort((scene.predicted.cost_usd, -values, -remote))
        elif _deserved(scene, scores):
            order = np.lexsort((scene.predicted.cost_usd, -values))
        else:
            order = np.lexsort((scene.predicted.cost_usd, -values, remote))
    else:
        order = np.argsort(-values, kind="stable")
    sound = np.isfinite(values)
    return order if sound.all() else order[sound[order]]


def _deserved(scene: Scene, scores: Scores) -> bool:
    known = scores.deserves_cloud
    return deserves_cloud(scene.ask, scene.policy, scene.options) if known is None else known


def require_strategy(name: str, policy: RoutingPolicy | None = None) -> None:
    """Raise `BadRequest` for a strategy, or a variant of one, that there is not; with a policy also for a workload it lacks."""
    nothing = Features(
        prompt_tokens=1, output_tokens=1, context_tokens=1, complexity=0.0, topics={}, images=False, tools=False
    )
    decide(Ask(model=AUTO, device=None, wanted=nothing, strategy=name), Fleet({}), policy or RoutingPolicy(), {})


def nobody(ask: Ask, decision: Decision, fleet: Fleet) -> FleetError:
    """Say why a decision has no candidates, and the way out.

    1. No devices at all. 2. The pinned device is unknown. 3. No device has the model, or not the pinned one. 4. The tenant may not.
    5. Those that have it can't do this. 6. Those that could are away, or were tried.
    """
    if not fleet.devices:  # 1
        return NoDevice(
            "no device has reported yet: start an agent (`drover-agent`), or `make up`", retry_after_s=RETRY_AFTER_S
        )
    if ask.device is not None and ask.device not in fleet.devices:  # 2
        return NoDevice(f"there is no device {ask.device!r}: known are {_listed(fleet.devices)}", device=ask.device)
    asked = fleet.devices.values() if ask.device is None else [fleet.devices[ask.device]]
    if ask.model != AUTO and not any(ask.model in device.models for device in asked):  # 3
        known = {name for device in asked for name in device.models}
        who = "no device has" if ask.device is None else f"device {ask.device} does not have"
        return UnknownModel(f"{who} the model {ask.model!r}: use `auto`, or one of {_listed(known)}", param="model")
    forbidden = [out for out in decision.removed if out.filter in _FORBIDDEN]
    others = {out.filter for out in decision.removed} - _FORBIDDEN - {"model", "pin"}
    if forbidden and not others:  # 4
        return NotAllowed(f"tenant {ask.tenant} may not use what could answer: {_reasons(forbidden)}", param="model")
    unable = [out for out in decision.removed if out.filter in _UNABLE]
    if unable and not others & {"health", "tried", "heat", "power", "breaker"}:  # 5
        return _unable(unable, ask.wanted)
    out = [one for one in decision.removed if one.filter != "pin"]
    return NoDevice("no device can take the job now: " + _reasons(out), retry_after_s=RETRY_AFTER_S)  # 6


def _unable(removed: list[Removed], wanted: Features) -> FleetError:
    """Say what those lack that have the model. Where it is room for the text alone, that has a name of its own."""
    if not all(out.filter in _TOO_SMALL for out in removed):
        return UnsupportedByModel("no model can do this: " + _reasons(removed), param="model")
    return ContextTooLong(
        f"no model has a context of {wanted.context_tokens} tokens, which the prompt and its answer need by a careful estimate: "
        f"shorten the prompt, or lower max_tokens ({_reasons(removed)})",
        param="messages",
        estimated_tokens=wanted.context_tokens,
    )


def _kept(view: View, ask: Ask, policy: RoutingPolicy, out: Collection[str]) -> Rows:
    """Give the rows that pass all filters; `_removed` says of each other one why not."""
    rows = view.candidates if ask.model == AUTO else view.of_model(ask.model)
    if ask.device is not None:
        rows = rows[view.where([ask.device])[rows]]
    if out and len(rows):
        rows = rows[~view.where(out)[rows]]
    rules = policy.tenants.get(ask.tenant)
    if rules is not None and rules.models and len(rows):
        rows = rows[[allows_model(policy, ask.tenant, view.rows[row].name) for row in rows]]
    if ask.max_cost_usd is not None and view.remote and len(rows):
        rows = rows[[too_dear(view.rows[row].device, view.rows[row].model, ask) is None for row in rows]]
    fits = view.cells[CONTEXT, rows] >= ask.wanted.context_tokens
    if ask.wanted.images or ask.wanted.tools:
        need = int(needed(ask.wanted))
        fits &= (view.cells[CAN, rows].astype(np.int64) & need) == need
    return rows if fits.all() else rows[fits]


def _scene(view: View, kept: Rows, ask: Ask, policy: RoutingPolicy) -> Scene:
    whole = len(kept) == len(view.rows)  # mostly nobody is out, and then nothing needs to be copied
    options = Options(*(view.cells if whole else view.cells[:, kept]))
    with np.errstate(all="ignore"):  # strangers' figures: what comes out of them is looked at at the end
        predicted = predict(options, ask.wanted, _cached(view, kept, options, ask.warmth))
        topics = view.topics if whole else {topic: meant[kept] for topic, meant in view.topics.items()}
        return Scene(ask, policy, view, kept, options, predicted, terms(options, ask.wanted, predicted, topics))


def _explored(scene: Scene, scores: Scores, order: Rows) -> Rows:
    """Put the best one of another device first, if it is not far behind in score and in time: learning must not cost much. Remote
    models are neither tried nor passed over for it: whether a question goes to them is no matter of scores."""
    local = order[scene.options.remote[order] == 0.0]
    if not len(local) or local[0] != order[0]:
        return order
    devices, best = scene.devices, int(order[0])
    other = next((int(place) for place in local if devices[place] != devices[best]), None)
    if other is None:
        return order
    near = scores.values[best] - scores.values[other] <= EXPLORED_BEHIND
    soon = scene.predicted.total_s[other] <= EXPLORED_SLOWER * scene.predicted.total_s[best]
    return np.concatenate([[other], order[order != other]]) if near and soon else order


def _cached(view: View, kept: Rows, options: Options, warmth: Warmth | None) -> Numbers | None:
    """Give the tokens of the prompt that each row has read before; a model that left memory has forgotten them."""
    if warmth is None:
        return None
    block = view.blocks.get(warmth.device)
    numbers = () if block is None else range(block.start, block.stop)
    there = next((number for number in numbers if view.rows[number].name == warmth.model), -1)
    cached: Numbers = (kept == there) * options.warm * warmth.tokens
    return cached


def _candidate(scene: Scene, scores: Scores, place: int) -> Candidate:
    row, predicted, parts = scene.view.rows[scene.kept[place]], scene.predicted, scene.terms
    warm = bool(scene.options.warm[place])
    said = Terms(float(parts.tokens[place]), float(parts.topic[place]), float(parts.health[place]))
    score = float(scores.values[place])
    return Candidate(
        device=row.device,
        model=row.model.name,
        score=score,
        terms=said,
        reason=_reason(scene.ask.strategy, score, said, warm=warm),
        warm=warm,
        simulated=scene.view.blocks[row.device].device.beat.simulated,
        predicted_load_s=float(predicted.load_s[place]),
        predicted_first_token_s=float(predicted.first_token_s[place]),
        predicted_total_s=float(predicted.total_s[place]),
        predicted_wait_s=float(predicted.wait_s[place]),
        predicted_energy_j=None if scene.options.remote[place] else float(predicted.energy_j[place]),
        predicted_cost_usd=float(predicted.cost_usd[place]),
        remote=bool(scene.options.remote[place]),
        details={name: float(column[place]) for name, column in scores.details.items()},
    )


def _removed(
    view: View, ask: Ask, policy: RoutingPolicy, gone: tuple[Mapping[str, str], Mapping[str, Removed]], kept: set[int]
) -> tuple[Removed, ...]:
    """Say of each device, or of each of its models, why it is out; `gone` are those tried already and those barred by rules."""
    excluded, by_rule = gone
    removed: list[Removed] = []
    for block in view.blocks.values():
        device = block.device
        out = device_filter(device, pinned=ask.device, excluded=excluded) or by_rule.get(device.name)
        if out is None or out.for_now:
            # Waiting for a device is vain when it has nothing to answer with. One that lists no models may not know them yet.
            out = without_model(device, ask.model, sure=out is None) or out
        if out is not None:
            removed.append(out)
            continue
        for number in range(block.start, block.stop):
            row = view.rows[number]
            if number not in kept and ask.model in {AUTO, row.name}:
                removed.append(_unfit(device, row, ask, policy))
    return tuple(removed)


def _unfit(device: Device, row: Row, ask: Ask, policy: RoutingPolicy) -> Removed:
    """Say why a model is out. What a device says of itself may be nonsense, and must harm nobody but itself."""
    if not allows_model(policy, ask.tenant, row.name):
        return Removed(
            device.name, "tenant", f"tenant {ask.tenant} may not use it", for_now=False, model=row.model.name
        )
    if (dear := too_dear(device.name, row.model, ask)) is not None:
        return dear
    try:
        out = model_filter(device, row.model, ask.wanted)
    except (ArithmeticError, ValueError):
        out = None
    return out or Removed(device.name, "garbled", "its figures make no sense", for_now=False, model=row.model.name)


def _features(ask: Ask) -> dict[str, Any]:
    wanted = ask.wanted
    told: dict[str, Any] = {
        "prompt_tokens": wanted.prompt_tokens,
        "output_tokens": wanted.output_tokens,
        "context_tokens": wanted.context_tokens,
        "complexity": round(wanted.complexity, 3),
        "kind": kind_of(wanted),
    }
    if ask.embedder:
        told["embedder"] = ask.embedder
    if ask.verdict is not None:
        told["verdict"] = {"strong": ask.verdict.strong, "reason": ask.verdict.reason, **ask.verdict.told}
    if ask.classified:
        told["classified"] = dict(ask.classified)
    if ask.escalated:
        told["escalated"] = True
    if ask.explores:
        told["explores"] = True
    if ask.lacks:
        told["lacks"] = ask.lacks
    return told


def _reason(strategy: str, score: float, parts: Terms, *, warm: bool) -> str:
    return (
        f"{'model loaded' if warm else 'model to load'}; {strategy} score {score:.2f} "
        f"(fit {parts.tokens:.2f}, topic {parts.topic:.2f}, health {parts.health:.2f})"
    )


def _listed(names: Iterable[str], most: int = 12) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:most]) + (", …" if len(ordered) > most else "") or "none"


def _reasons(removed: list[Removed]) -> str:
    """Say why each is out, once for each cause, the commonest first; a fleet may have hundreds of devices."""
    causes: dict[str, list[Removed]] = {}
    for out in removed:
        causes.setdefault(out.reason, []).append(out)
    ordered = sorted(causes.items(), key=lambda cause: -len(cause[1]))
    said = ""
    for number, (reason, outs) in enumerate(ordered):
        one = _cause(reason, outs)
        if number and len(said) + len(one) > _MOST_CHARS:
            return f"{said}; and {sum(len(outs) for _, outs in ordered[number:])} more"
        said = f"{said}; {one}" if said else one[:_MOST_CHARS]
    return said


def _cause(reason: str, outs: list[Removed]) -> str:
    names = [f"{out.device} ({out.model})" if out.model else out.device for out in outs]
    if len(outs) == 1:
        return f"{names[0]}: {reason}"
    what = "devices" if len({out.device for out in outs}) == len(outs) else "models"
    return f"{len(outs)} {what}: {reason}: {_listed(names, _MOST_NAMED)}"

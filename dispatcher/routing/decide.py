"""The decision: filters, then a strategy's scores, then the order; every term and every reason is kept.

All rows are looked at at once; a candidate's figures, and the words of a reason, are worked out when somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from common.messages import AUTO, EMBED
from dispatcher.fleet import Fleet
from dispatcher.outcomes import Decision, Deferred, Once
from dispatcher.routing.ask import Ask, Cloud, RoutingPolicy
from dispatcher.routing.brief import brief
from dispatcher.routing.cloud import affordable, deserves_cloud, paid_for, reference
from dispatcher.routing.features import Features
from dispatcher.routing.figures import CAN, CONTEXT, OPTIONS, Numbers, Options, Rows
from dispatcher.routing.filters import needed
from dispatcher.routing.kinds import kind_of
from dispatcher.routing.power import held, let_in
from dispatcher.routing.predict import predict
from dispatcher.routing.ranking import Ranked
from dispatcher.routing.removal import removed, wants_memory
from dispatcher.routing.rules import lists, may_use
from dispatcher.routing.strategies import strategy_of
from dispatcher.routing.strategies.seam import Scene, Scores
from dispatcher.routing.table import Mask, Table, View
from dispatcher.routing.terms import terms
from dispatcher.routing.warmth import Warmth

EXPLORED_BEHIND = 0.2
"""Of the score: who is further behind is not tried for the sake of learning."""

LEVEL = 0.1
"""Of the score: remote models of equal strength that are so near to each other are told apart by their prices."""

EXPLORED_SLOWER = 3.0
"""Nor one that is predicted to take so many times as long."""


def decide(
    ask: Ask, fleet: Fleet, policy: RoutingPolicy, excluded: Mapping[str, str], table: Table | None = None
) -> Decision:
    """Order all devices and models that can answer, best first. `excluded` are devices tried already, with the reason; `table`
    is kept between decisions to make them cheap.

    Raises `BadRequest` for a strategy that there is not.
    """
    return decided(ask, (table or Table()).view(fleet), policy, excluded)


def decided(ask: Ask, view: View, policy: RoutingPolicy, excluded: Mapping[str, str]) -> Decision:
    """Decide over a view, which never changes: any thread may do it. Raises `BadRequest` for a strategy that there is not."""
    strategy = strategy_of(ask.strategy)
    kept = _kept(view, ask, policy, excluded)
    scene = _scene(view, kept, ask, policy)
    scores = strategy(scene)
    order = _order(scene, scores)
    if ask.explores:
        order = _explored(scene, scores, order)
    out = Deferred(lambda: removed(view, ask, policy, excluded, set(kept[np.isfinite(scores.values)].tolist())))
    told = {**_features(ask), **_warm_prefix(scene), **scores.told}
    return Decision(
        strategy=ask.strategy,
        candidates=Ranked(scene, scores, order),
        removed=out,
        weights=scores.weights,
        features=told,
        rule=scores.rule,
        reference=lambda: reference(view, policy),
        brief=Once(lambda: brief(scene, scores, order, lambda: out, told)),
        wants_memory=lambda: wants_memory(view, ask, policy, excluded),
        held=lambda: held(view, policy, _kept(view, ask, policy, excluded, limited=False)),
    )


def require_strategy(name: str, policy: RoutingPolicy | None = None) -> None:
    """Raise `BadRequest` for a strategy, or a variant of one, that there is not; with a policy also for a workload it lacks."""
    nothing = Features(
        prompt_tokens=1, output_tokens=1, context_tokens=1, complexity=0.0, topics={}, images=False, tools=False
    )
    decide(Ask(model=AUTO, device=None, wanted=nothing, strategy=name), Fleet({}), policy or RoutingPolicy(), {})


def _order(scene: Scene, scores: Scores) -> Rows:
    """Give the places of the rows with a score, best first: equals by price, then by name. Where the fleet has remote models and
    the question does not deserve one, those come last; preferred ones come first."""
    values = scores.values
    if scene.view.remote and scores.local_first:
        ask, policy, remote = scene.ask, scene.policy, scene.options.remote
        values = _level(values, scene.options)
        if policy.cloud_for(ask.tenant) is Cloud.PREFERRED:
            order = np.lexsort((scene.predicted.cost_usd, -values, -remote))
        elif _deserved(scene, scores):
            order = np.lexsort((scene.predicted.cost_usd, -values))
        else:
            order = np.lexsort((scene.predicted.cost_usd, -values, remote))
    elif scene.view.remote:  # of equals the local ones, then the cheapest
        order = np.lexsort((scene.predicted.cost_usd, scene.options.remote, -values))
    else:
        order = (-values).argsort(kind="stable")
    sound = np.isfinite(values)
    return order if sound.all() else order[sound[order]]


def _level(values: Numbers, options: Options) -> Numbers:
    """Raise remote rows to the best one that is held to be as strong, where they are near it: the price decides between them. What
    sets their scores apart is how fast they happened to be lately, and a model may cost twenty times as much as another."""
    remote = options.remote.nonzero()[0]
    level = values.copy()
    for strength in set(options.strength[remote].tolist()):
        equals = remote[options.strength[remote] == strength]
        best = np.fmax.reduce(values[equals])
        level[equals[values[equals] >= best - LEVEL]] = best
    return level


def _deserved(scene: Scene, scores: Scores) -> bool:
    known = scores.deserves_cloud
    return deserves_cloud(scene.ask, scene.policy, scene.options) if known is None else known


def _kept(view: View, ask: Ask, policy: RoutingPolicy, excluded: Mapping[str, str], *, limited: bool = True) -> Rows:
    """Give the rows that pass all filters; `removed` says of each other one why not. Not `limited`, limits on heat and watts don't
    count."""
    rows = view.candidates if ask.model == AUTO else view.of_model(ask.model)
    for open_to in _open(view, ask, policy, excluded, limited=limited):
        rows = rows[open_to[rows]]
    all_of_them = len(rows) == len(view.rows)
    fits = (view.figures[CONTEXT] if all_of_them else view.figures[CONTEXT, rows]) >= ask.wanted.context_tokens
    if ask.wanted.images or ask.wanted.tools or ask.model != AUTO:
        need = needed(ask.wanted)
        fits &= (view.figures[CAN, rows].astype(np.int64) & need) == need
    return rows if fits.all() else rows[fits]


def _open(
    view: View, ask: Ask, policy: RoutingPolicy, excluded: Mapping[str, str], *, limited: bool = True
) -> Iterator[Mask]:
    """Give the masks of what is open to a request, as far as anything is closed: 1. the pin 2. what was tried already 3. the
    tenant's rules, and the request's own lists 4. limits on heat and watts 5. what costs money."""
    if ask.device is not None:  # 1
        yield view.where([ask.device])
    if excluded:  # 2
        yield ~view.where(excluded)
    for allowed in lists(policy, ask):  # 3
        yield may_use(view, allowed)
    if limited and policy.shuts:  # 4
        yield let_in(view, policy)
    if view.remote:  # 5
        yield paid_for(view, policy, ask)
        if ask.max_cost_usd is not None:
            yield affordable(view, ask)


def _scene(view: View, kept: Rows, ask: Ask, policy: RoutingPolicy) -> Scene:
    topics = view.layout.topics
    if len(kept) == len(view.rows):  # mostly nobody is out, and then nothing needs to be copied
        options = Options(*view.state, *view.figures[:OPTIONS])
    else:
        options, topics = Options(*view.state[:, kept], *view.figures[:OPTIONS, kept]), topics.taken(kept)
    with np.errstate(all="ignore"):  # strangers' figures: what comes out of them is looked at at the end
        predicted = predict(options, ask.wanted, _cached(view, kept, options, ask.warmth))
        return Scene(ask, policy, view, kept, options, predicted, terms(options, ask.wanted, predicted, topics))


def _explored(scene: Scene, scores: Scores, order: Rows) -> Rows:
    """Put the best one of another device first, if it is not far behind in score and in time: learning must not cost much. Remote
    models are neither tried nor passed over for it: whether a question goes to them is no matter of scores."""
    local = order[scene.options.remote[order] == 0.0]
    if not len(local) or local[0] != order[0]:
        return order
    devices, best = scene.device_of, int(order[0])
    others = local[devices[local] != devices[best]]
    if not len(others):
        return order
    other = int(others[0])
    near = scores.values[best] - scores.values[other] <= EXPLORED_BEHIND
    soon = scene.predicted.total_s[other] <= EXPLORED_SLOWER * scene.predicted.total_s[best]
    return np.concatenate([[other], order[order != other]]) if near and soon else order


def _cached(view: View, kept: Rows, options: Options, warmth: Sequence[Warmth]) -> Numbers | None:
    """Give the tokens of the prompt that each row has read before, None for none; a model that left memory has forgotten them."""
    cached: Numbers | None = None
    for one in warmth:
        block = view.blocks.get(one.device)
        numbers = () if block is None else range(block.start, block.stop)
        there = next((number for number in numbers if view.rows[number].name == one.model), -1)
        place = there if len(kept) == len(view.rows) else int(kept.searchsorted(there))
        if there >= 0 and place < len(kept) and kept[place] == there and options.warm[place] > 0.0:
            cached = np.zeros(len(kept)) if cached is None else cached
            cached[place] = one.tokens
    return cached


def _warm_prefix(scene: Scene) -> dict[str, Any]:
    """Tell the tokens of the prompt that are read already, of each place that can answer."""
    cached = scene.predicted.cached_tokens
    if cached is None:
        return {}
    rows = scene.view.rows
    found = [(rows[scene.kept[place]], int(cached[place])) for place in cached.nonzero()[0].tolist()]
    return {"warm_prefix": {f"{row.name}@{row.device}": tokens for row, tokens in found}}


def _features(ask: Ask) -> dict[str, Any]:
    wanted = ask.wanted
    told: dict[str, Any] = {
        "prompt_tokens": wanted.prompt_tokens,
        "output_tokens": wanted.output_tokens,
        "context_tokens": wanted.context_tokens,
        "complexity": round(wanted.complexity, 3),
        "kind": EMBED if wanted.embeds else kind_of(wanted),
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

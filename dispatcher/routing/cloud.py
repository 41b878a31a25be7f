"""When a question may go to a model that runs elsewhere, for money and out of the house: filters, who comes first, and what
savings are reckoned against; it knows no strategy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.messages import ModelInfo
from dispatcher.fleet import Device
from dispatcher.outcomes import Price, Removed
from dispatcher.routing.ask import Ask, Cloud, RoutingPolicy
from dispatcher.routing.features import Features
from dispatcher.routing.figures import INPUT_USD, NEEDS_KEY, OUTPUT_USD, REMOTE, Options, usd_per_token
from dispatcher.routing.kinds import demand_of
from dispatcher.routing.table import Mask, View


@dataclass(frozen=True, slots=True)
class Most:
    """The most that an answer may take: US dollars, and tokens where the job's money pays for no more."""

    cost_usd: float = 0.0
    tokens: int | None = None


def reference(view: View, policy: RoutingPolicy) -> Price | None:
    """Give what savings are reckoned against: the model that the owner names, else the dearest of the fleet, by input and output
    together; None where nothing has a price."""
    known = view.prices
    named = next((one for one in known if one.model == policy.cloud_reference), None)
    return named or max(known, key=lambda one: one.input_usd_per_mtok + one.output_usd_per_mtok, default=None)


def paid_for(view: View, policy: RoutingPolicy, ask: Ask) -> Mask:
    """Tell which rows are open to whom this request is of, and paid by somebody; `not_paid_for` says why not."""
    closed = view.figures[NEEDS_KEY] > 0.0
    if ask.brings_key:
        closed = np.zeros_like(closed)
    if ask.local or policy.cloud_for(ask.tenant) is Cloud.NEVER:
        closed = closed | (view.figures[REMOTE] > 0.0)
    open_to: Mask = ~closed
    return open_to


def not_paid_for(view: View, policy: RoutingPolicy, ask: Ask) -> Iterator[Removed]:
    """Say which devices are out: 1. nothing may leave the house 2. nobody pays for it."""
    closed = policy.cloud_for(ask.tenant) is Cloud.NEVER
    for name, block in view.blocks.items():
        beat = block.device.beat
        if beat.remote and (closed or ask.local):  # 1
            whom = f"tenant {ask.tenant}" if closed else "this request"
            words = f"its models run elsewhere, and the cloud is closed to {whom}"
            yield Removed(name, "cloud", words, for_now=False)
        elif beat.needs_key and not ask.brings_key:  # 2
            words = "it has no key of its own, and the request brings none (provider_key, X-Drover-Provider-Key)"
            yield Removed(name, "key", words, for_now=False)


def affordable(view: View, ask: Ask) -> Mask:
    """Tell which rows the job's money is enough for; `too_dear` says why not. What has no price that is known is not among them."""
    prompt_tokens, answer_tokens = _tokens(ask.wanted)
    cost_usd = prompt_tokens * view.figures[INPUT_USD] + answer_tokens * view.figures[OUTPUT_USD]
    found: Mask = cost_usd <= (ask.max_cost_usd or 0.0)
    return found


def too_dear(device: Device, model: ModelInfo, ask: Ask) -> Removed | None:
    """Say that a model may cost more than the job may."""
    if ask.max_cost_usd is None:
        return None
    input_usd, output_usd = usd_per_token(device, model)
    prompt_tokens, answer_tokens = _tokens(ask.wanted)
    cost_usd = prompt_tokens * input_usd + answer_tokens * output_usd
    if cost_usd <= ask.max_cost_usd:
        return None
    if math.isnan(cost_usd):
        words = f"nobody said what it costs, and the job may cost ${ask.max_cost_usd:g}"
    else:
        words = f"it may cost ${cost_usd:.6f}, and the job may cost ${ask.max_cost_usd:g}"
    return Removed(device.name, "cost", words, for_now=False, model=model.name)


def most_of(ask: Ask, input_usd: float, output_usd: float) -> Most:
    """Say what an answer may take at most, by a model's prices per token. Where the request limits its answer, that is the limit;
    else the money is, and the answer is cut where it is spent. Without a limit of money nobody asks."""
    if ask.max_cost_usd is None or not (input_usd or output_usd):
        return Most()
    prompt_tokens, answer_tokens = _tokens(ask.wanted)
    prompt_usd = prompt_tokens * input_usd
    if ask.wanted.most_answer_tokens is not None or not output_usd:
        return Most(prompt_usd + answer_tokens * output_usd)
    tokens = int((ask.max_cost_usd - prompt_usd) / output_usd)
    return Most(prompt_usd + tokens * output_usd, max(1, tokens))


def _tokens(wanted: Features) -> tuple[int, int]:
    """Give the tokens that must be paid for: the prompt by a careful estimate, and of the answer what the request allows, or what
    is usual where it says nothing."""
    answer = wanted.output_tokens if wanted.most_answer_tokens is None else wanted.most_answer_tokens
    return max(wanted.prompt_tokens, wanted.most_prompt_tokens), answer


def deserves_cloud(ask: Ask, policy: RoutingPolicy, options: Options) -> bool:
    """Tell whether a question is worth a remote model (requirement D1).

    1. The owner prefers the cloud. 2. A weak answer did not hold, 3. or may still hold. 4. No remote model at hand is stronger than
    the local ones. 5. The trained router has the word, 6. or else the model that classifies, 7. or else the rules on the kind of
    question.
    """
    if policy.cloud_for(ask.tenant) is Cloud.PREFERRED or ask.escalated:  # 1, 2
        return True
    if ask.cascades:  # 3
        return False
    remote = options.remote > 0.0
    if not float(options.strength[remote].max(initial=0.0)) > float(options.strength[~remote].max(initial=0.0)):  # 4
        return False
    if ask.verdict is not None:  # 5
        return ask.verdict.strong
    hard = ask.difficulty if ask.difficulty is not None else demand_of(ask.wanted)  # 6, 7
    return hard >= policy.cloud_from

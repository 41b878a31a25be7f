"""When a question may go to a model that runs elsewhere, for money and out of the house: filters, who comes first, and what
savings are reckoned against; it knows no strategy."""

from __future__ import annotations

from collections.abc import Iterator

from common.messages import ModelInfo
from dispatcher.outcomes import Price, Removed
from dispatcher.routing.ask import Ask, Cloud, RoutingPolicy
from dispatcher.routing.kinds import demand_of
from dispatcher.routing.table import Block, Options, View


def reference(view: View, policy: RoutingPolicy) -> Price | None:
    """Give what savings are reckoned against: the model that the owner names, else the dearest of the fleet, by input and output
    together; None where nothing has a price."""
    known = [price for block in view.blocks.values() if block.device.beat.remote for price in _prices(block)]
    named = next((one for one in known if one.model == policy.cloud_reference), None)
    return named or max(known, key=lambda one: one.input_usd_per_mtok + one.output_usd_per_mtok, default=None)


def not_paid_for(view: View, policy: RoutingPolicy, ask: Ask) -> Iterator[Removed]:
    """Say which devices are out: 1. nothing may leave the house 2. nobody pays for it."""
    closed = policy.cloud_for(ask.tenant) is Cloud.NEVER
    for name, block in view.blocks.items():
        beat = block.device.beat
        if beat.remote and closed:  # 1
            words = f"its models run elsewhere, and the cloud is closed to tenant {ask.tenant}"
            yield Removed(name, "cloud", words, for_now=False)
        elif beat.needs_key and not ask.brings_key:  # 2
            words = "it has no key of its own, and the request brings none (provider_key, X-Drover-Provider-Key)"
            yield Removed(name, "key", words, for_now=False)


def too_dear(device: str, model: ModelInfo, ask: Ask) -> Removed | None:
    """Say that a model would probably cost more than the job may."""
    wanted, most = ask.wanted, ask.max_cost_usd
    price = Price(model.name, device, model.input_usd_per_mtok or 0.0, model.output_usd_per_mtok or 0.0)
    cost_usd = price.usd(wanted.prompt_tokens, wanted.output_tokens)
    if most is None or cost_usd <= most:
        return None
    words = f"it would cost about ${cost_usd:.6f}, and the job may cost ${most:g}"
    return Removed(device, "cost", words, for_now=False, model=model.name)


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


def _prices(block: Block) -> Iterator[Price]:
    for model in block.device.models.values():
        if model.input_usd_per_mtok or model.output_usd_per_mtok:
            yield Price(
                model.name, block.device.name, model.input_usd_per_mtok or 0.0, model.output_usd_per_mtok or 0.0
            )

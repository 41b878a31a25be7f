"""What a request is told that nobody can answer: the error, and the way out; it decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from common.errors import (
    BadRequest,
    ContextTooLong,
    FleetError,
    NoDevice,
    NotAllowed,
    TooDear,
    UnknownDevice,
    UnknownModel,
    UnsupportedByModel,
)
from common.messages import AUTO, DeviceState
from common.patterns import matches
from dispatcher.fleet import Device, Fleet, Liveness
from dispatcher.outcomes import Decision, Removed
from dispatcher.routing.ask import Ask, Cloud, RoutingPolicy
from dispatcher.routing.features import Features
from dispatcher.routing.filters import NO_CHAT, NO_EMBEDDINGS, Ability, abilities, needed
from dispatcher.routing.rules import ALLOW_LIST, AllowList, lists, own_list

_TOO_SMALL = frozenset({"context", "context_memory"})
_UNABLE = _TOO_SMALL | {"capability", "memory"}

_FORBIDDEN = frozenset({"tenant", "cloud", "key", ALLOW_LIST})

_PASSING = frozenset({"health", "tried", "heat", "throttled", "power", "breaker"})
"""What may be over when the request comes again."""

_MOST_CHARS, _MOST_NAMED = 260, 6
"""What the reasons may take in a message, and how many devices are named for each: it goes into a header of NATS and into logs."""

_MOST_SAID = 2 * _MOST_CHARS
"""Characters that are told of what a key allows."""

RETRY_AFTER_S = 2.0
"""A device that is only suspect is back, or dead, within a few heartbeats."""


ANYBODY = RoutingPolicy()
"""The rules of an owner who forbids nothing."""


def nobody(ask: Ask, decision: Decision, fleet: Fleet, policy: RoutingPolicy = ANYBODY) -> FleetError:
    """Say why a decision has no candidates, and the way out; `policy` is what it was made under.

    0. What the request names is not on its own lists: that holds whatever the fleet has. 1. No devices at all. 2. The pinned device
    is unknown. 3. No device has the model, or not the pinned one; but one that is out of order when it starts lists none, and then
    nobody knows. 4. The tenant may not. 5. It costs more than the job may. 6. Those that have it can't do this. 7. Those that could
    are away, or were tried. 8. Limits on watts keep them out for good: only their owner
    can change that.
    """
    own = own_list(ask)
    if own is not None and not _lists_it(own, ask):  # 0
        return _not_listed(ask, own)
    if not fleet.devices:  # 1
        return NoDevice(
            "no device has reported yet: start an agent (`drover-agent`), or `make up`", retry_after_s=RETRY_AFTER_S
        )
    if ask.device is not None and ask.device not in fleet.devices:  # 2
        words = f"there is no device {ask.device!r}: known are {_listed(_open_to(own, fleet.devices))}"
        return UnknownDevice(words, param="model", device=ask.device)
    asked = fleet.devices.values() if ask.device is None else [fleet.devices[ask.device]]
    if ask.model != AUTO and not any(ask.model in device.models or _mute(device) for device in asked):  # 3
        who = "no device has" if ask.device is None else f"device {ask.device} does not have"
        return UnknownModel(f"{who} the model {ask.model!r}: {_instead(ask, asked, policy)}", param="model")
    return _kept_out(ask, decision.removed, own, fleet, policy)


def _mute(device: Device) -> bool:
    """True for one that has not told its models, since it starts or is out of order."""
    booting = device.beat.state in {DeviceState.STARTING, DeviceState.FAULTY}
    return booting and not device.models and device.liveness is not Liveness.DEAD


def _lists_it(own: AllowList, ask: Ask) -> bool:
    """Tell whether a list has all that a request names."""
    by_model = ask.model == AUTO or matches(ask.model, own.models)
    return by_model and (ask.device is None or matches(ask.device, own.devices))


def _not_listed(ask: Ask, own: AllowList) -> NotAllowed:
    """Say that a key does not allow what was asked, and what it allows: its own list is no secret, what else there is may be."""
    asked = "what `auto` could choose" if ask.model == AUTO else f"the model {ask.model!r}"
    where = "" if ask.device is None else f" on the device {ask.device!r}"
    kinds = (("models", own.models), ("devices", own.devices))
    allows = "; ".join(f"{kind} {_listed(patterns)}" for kind, patterns in kinds if patterns)
    return NotAllowed(f"the key does not allow {asked}{where}: it allows {allows}"[:_MOST_SAID], param="model")


def _open_to(own: AllowList | None, devices: Iterable[str]) -> Iterable[str]:
    return devices if own is None else (name for name in devices if matches(name, own.devices))


def _kept_out(
    ask: Ask, removed: Sequence[Removed], own: AllowList | None, fleet: Fleet, policy: RoutingPolicy
) -> FleetError:
    """Say it of those that have the model: 4 to 8. Those that a request's own list keeps out are none of its business."""
    listed = [out for out in removed if out.filter != ALLOW_LIST]
    if own is not None and len(listed) < len(removed) and all(out.filter in {"model", "pin"} for out in listed):
        return _not_listed(ask, own)
    removed = listed
    forbidden = [out for out in removed if out.filter in _FORBIDDEN]
    others = {out.filter for out in removed} - _FORBIDDEN - {"model", "pin"}
    if forbidden and not others:  # 4
        return NotAllowed(f"tenant {ask.tenant} may not use what could answer: {_reasons(forbidden)}", param="model")
    dear = [out for out in removed if out.filter == "cost"]
    if dear and not others & _PASSING:  # 5
        return TooDear(
            f"what could answer may cost too much ({_reasons(dear)}): raise max_cost_usd, the most that it may cost, or ask for a "
            "shorter answer (max_tokens)",
            param="max_cost_usd",
        )
    unable = [out for out in removed if out.filter in _UNABLE]
    if unable and not others & _PASSING:  # 6
        return _of_another_kind(ask, unable, fleet, policy) or _unable(unable, ask.wanted)
    out = [one for one in removed if one.filter != "pin"]
    if out and all(one.filter == "power" and not one.for_now for one in out):  # 8
        return NoDevice("the owner's limits let no device take a job: " + _reasons(out))
    return NoDevice("no device can take the job now: " + _reasons(out), retry_after_s=RETRY_AFTER_S)  # 7


def unnamed(ask: Ask, fleet: Fleet, policy: RoutingPolicy = ANYBODY) -> BadRequest:
    """Say that embeddings need a model by name, and which there are."""
    return BadRequest(
        "the model is `auto`, and embeddings of different models can't be compared: name the one that all your texts go to"
        f" ({_embedding(ask, fleet.devices.values(), policy)})",
        param="model",
    )


def _of_another_kind(ask: Ask, unable: list[Removed], fleet: Fleet, policy: RoutingPolicy) -> FleetError | None:
    """Say that the model that was named does something else, and what would do; None where more is wrong."""
    reasons = {out.reason for out in unable}
    if ask.model == AUTO or len(reasons) != 1:
        return None
    devices = fleet.devices.values()
    if reasons == {NO_EMBEDDINGS}:
        return UnsupportedByModel(f"{ask.model} makes no embeddings: {_embedding(ask, devices, policy)}", param="model")
    if reasons == {NO_CHAT}:
        chatting = _chatting(ask, devices, policy)
        return UnsupportedByModel(f"{ask.model} makes embeddings and does not chat: {chatting}", param="model")
    return None


def _instead(ask: Ask, devices: Iterable[Device], policy: RoutingPolicy) -> str:
    """Say which models of these devices would do."""
    return _embedding(ask, devices, policy) if ask.wanted.embeds else _chatting(ask, devices, policy)


def _embedding(ask: Ask, devices: Iterable[Device], policy: RoutingPolicy) -> str:
    found = _able(ask, devices, policy, Ability.EMBEDDING)
    return f"there is {_listed(found)}" if found else "no device has one: `ollama pull nomic-embed-text` fetches one"


def _chatting(ask: Ask, devices: Iterable[Device], policy: RoutingPolicy) -> str:
    found = _able(ask, devices, policy, needed(ask.wanted))
    return f"use `auto`, or one of {_listed(found)}" if found else "none that would do is there now"


def _able(ask: Ask, devices: Iterable[Device], policy: RoutingPolicy, ability: int) -> set[str]:
    """Name the models that would do, and that the request may use: a list of others would lead from one refusal to the next."""
    allowed = lists(policy, ask)
    return {
        name
        for device in devices
        if _open(ask, device, policy)
        for name, model in device.models.items()
        if abilities(device, model) & ability == ability and all(one.allows(device.name, name) for one in allowed)
    }


def _open(ask: Ask, device: Device, policy: RoutingPolicy) -> bool:
    """Tell whether a device is there, is open to a request, and is paid for by somebody."""
    beat = device.beat
    there = device.liveness is not Liveness.DEAD and beat.state is not DeviceState.STOPPED
    closed = beat.remote and (ask.local or policy.cloud_for(ask.tenant) is Cloud.NEVER)
    return there and not closed and (ask.brings_key or not beat.needs_key)


def _unable(removed: list[Removed], wanted: Features) -> FleetError:
    """Say what those lack that have the model. Where some lack only room for the text, that has a name of its own: a shorter text
    would do, whatever the others lack."""
    small = [out for out in removed if out.filter in _TOO_SMALL]
    if not small:
        return UnsupportedByModel("no model can do this: " + _reasons(removed), param="model")
    return ContextTooLong(
        f"no model that could do this has a context of {wanted.context_tokens} tokens, which the prompt and its answer need by a "
        f"careful estimate ({_reasons(small)}): shorten what is asked, or ask for a shorter answer (max_tokens)",
        param="messages",
        estimated_tokens=wanted.context_tokens,
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

"""The decision: filters, then the hybrid score, then the order; every term and every reason is kept.

S = w1*C_tokens + w2*Sim_centroid + w3*H_latency, weights normalised to a sum of 1 (requirement A3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from common.errors import ContextTooLong, FleetError, NoDevice, UnknownModel, UnsupportedByModel
from common.messages import AUTO, ModelInfo
from dispatcher.fleet import Device, Fleet
from dispatcher.outcomes import Candidate, Decision, Removed, Terms
from dispatcher.routing.features import Features
from dispatcher.routing.filters import device_filter, model_filter
from dispatcher.routing.predict import predict
from dispatcher.routing.terms import terms

_TOO_SMALL = frozenset({"context", "context_memory"})
_UNABLE = _TOO_SMALL | {"capability", "memory"}

_MOST_CHARS, _MOST_NAMED = 260, 6
"""What the reasons may take in a message, and how many devices are named for each: it goes into a header of NATS and into logs."""

RETRY_AFTER_S = 2.0
"""A device that is only suspect is back, or dead, within a few heartbeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPolicy:
    """The weights of the three terms; any non-negative numbers, at least one above 0."""

    tokens: float = 0.4
    topic: float = 0.2
    health: float = 0.4

    def normalised(self) -> Mapping[str, float]:
        total = self.tokens + self.topic + self.health or 1.0
        return {"tokens": self.tokens / total, "topic": self.topic / total, "health": self.health / total}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked for: a full model name or `auto`, perhaps a device, and the features of the request."""

    model: str
    device: str | None
    wanted: Features


def decide(ask: Ask, fleet: Fleet, policy: RoutingPolicy, excluded: Mapping[str, str]) -> Decision:
    """Order all devices and models that can answer, best first. `excluded` are devices tried already, with the reason."""
    weights = policy.normalised()
    candidates: list[Candidate] = []
    removed: list[Removed] = []
    for device in fleet.devices.values():
        out = device_filter(device, pinned=ask.device, excluded=excluded)
        if out is None or out.for_now:
            # Waiting for a device is vain when it has nothing to answer with. One that lists no models may not know them yet.
            out = _without_model(device, ask.model, sure=out is None) or out
        if out is not None:
            removed.append(out)
            continue
        for model in _models(device, ask.model):
            judged = _judge(device, model, ask, weights)
            if isinstance(judged, Removed):
                removed.append(judged)
            else:
                candidates.append(judged)
    candidates.sort(key=lambda candidate: (-candidate.score, candidate.device, candidate.model))
    return Decision(
        strategy="hybrid",
        candidates=tuple(candidates),
        removed=tuple(removed),
        weights=weights,
        features={
            "prompt_tokens": ask.wanted.prompt_tokens,
            "output_tokens": ask.wanted.output_tokens,
            "context_tokens": ask.wanted.context_tokens,
            "complexity": round(ask.wanted.complexity, 3),
        },
    )


def nobody(ask: Ask, decision: Decision, fleet: Fleet) -> FleetError:
    """Say why a decision has no candidates, and the way out.

    1. No devices at all. 2. The pinned device is unknown. 3. No device has the model, or not the pinned one. 4. Those that have
    it can't do this. 5. Those that could are away, or were tried.
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
    unable = [out for out in decision.removed if out.filter in _UNABLE]
    if unable and not any(out.filter in {"health", "tried"} for out in decision.removed):  # 4
        return _unable(unable, ask.wanted)
    out = [one for one in decision.removed if one.filter != "pin"]
    return NoDevice("no device can take the job now: " + _reasons(out), retry_after_s=RETRY_AFTER_S)  # 5


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


def _without_model(device: Device, wanted: str, *, sure: bool) -> Removed | None:
    """Say that a device has not what is wanted; when not `sure`, only one that lists other models."""
    if wanted in device.models or (wanted == AUTO and device.models) or not (sure or device.models):
        return None
    return Removed(
        device.name, "model", "it has no models" if wanted == AUTO else f"{wanted} is not installed", for_now=False
    )


def _models(device: Device, wanted: str) -> Iterator[ModelInfo]:
    if wanted == AUTO:
        yield from device.models.values()
    elif wanted in device.models:
        yield device.models[wanted]


def _judge(device: Device, model: ModelInfo, ask: Ask, weights: Mapping[str, float]) -> Candidate | Removed:
    """Filter and score one model on one device. What a device says of itself may be nonsense, and must not harm the others."""
    try:
        out = model_filter(device, model, ask.wanted)
        return out or _score(device, model, ask.wanted, weights)
    except (ArithmeticError, ValueError) as error:
        reason = f"its figures make no sense ({type(error).__name__})"
        return Removed(device.name, "garbled", reason, for_now=False, model=model.name)


def _score(device: Device, model: ModelInfo, wanted: Features, weights: Mapping[str, float]) -> Candidate:
    predicted = predict(device, model, wanted)
    parts = terms(device, model, wanted, predicted)
    score = weights["tokens"] * parts.tokens + weights["topic"] * parts.topic + weights["health"] * parts.health
    return Candidate(
        device=device.name,
        model=model.name,
        score=score,
        terms=parts,
        reason=_reason(score, parts, warm=model.loaded),
        warm=model.loaded,
        simulated=device.beat.simulated,
        predicted_load_s=predicted.load_s,
        predicted_first_token_s=predicted.first_token_s,
        predicted_total_s=predicted.total_s,
        predicted_wait_s=predicted.wait_s,
    )


def _reason(score: float, parts: Terms, *, warm: bool) -> str:
    return (
        f"{'model loaded' if warm else 'model to load'}; hybrid score {score:.2f} "
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

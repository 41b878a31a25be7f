"""Small values for the tests of the dispatcher: each builder fills in what a test does not care about."""

from __future__ import annotations

from typing import Any

from common.codec import Encoding
from common.messages import ChatRequest, DeviceState, Heartbeat, Message, ModelInfo, Role, Speed
from dispatcher.fleet import Device, Fleet, Liveness, Track, canonical
from dispatcher.intake import wanted_model
from dispatcher.outcomes import Attempt, Candidate, Job, Terms
from dispatcher.routing import Ask, Features

GB = 1_000_000_000


def model(name: str = "llama3.2:1b", *, size_bytes: int = GB, loaded: bool = True, **fields: Any) -> ModelInfo:
    """A model of 1 GB that is in memory."""
    return ModelInfo(name=name, size_bytes=size_bytes, loaded=loaded, **fields)


def beat(
    device: str = "nano",
    *,
    boot: str = "boot-1",
    seq: int = 1,
    models: tuple[ModelInfo, ...] | None = None,
    **fields: Any,
) -> Heartbeat:
    """A heartbeat of a ready device with one model and one slot."""
    return Heartbeat(device=device, boot=boot, seq=seq, models=(model(),) if models is None else models, **fields)


def device(
    name: str = "nano",
    *models: ModelInfo,
    liveness: Liveness = Liveness.ALIVE,
    own: int = 0,
    others: int = 0,
    track: Track = Track(),  # noqa: B008  # frozen
    **fields: Any,
) -> Device:
    """A device as the roster has it after one heartbeat; without models it gets the usual one."""
    last = beat(name, models=models or (model(),), **fields)
    return Device(last, {canonical(one.name): one for one in last.models}, liveness, own, others, track)


def bare(name: str = "bare", **fields: Any) -> Device:
    """A device without any model."""
    return Device(beat(name, models=(), **fields), {})


def fleet(*devices: Device) -> Fleet:
    """A fleet in the order given."""
    return Fleet({one.name: one for one in devices})


def wanted(**fields: Any) -> Features:
    """The features of an easy question of 10 tokens, 100 expected in answer."""
    usual: dict[str, Any] = {
        "prompt_tokens": 10,
        "output_tokens": 100,
        "context_tokens": 300,
        "complexity": 0.1,
        "topics": {"code": 0.0, "chat": 0.8},
        "images": False,
        "tools": False,
    }
    return Features(**usual | fields)


def ask(model: str = "auto", *, device: str | None = None, **features: Any) -> Ask:
    """What routing is asked."""
    return Ask(model=model, device=device, wanted=wanted(**features))


def job(
    prompt: str = "hi", *, name: str = "job-1", tenant: str = "default", reply: str = "_INBOX.test", **fields: Any
) -> Job:
    """A job that was received at 100 s, and has 60 s."""
    request = ChatRequest(prompt=prompt, **fields)
    model, device = wanted_model(request)
    return Job(
        id=name,
        tenant=tenant,
        kind="chat",
        request=request,
        model=model,
        device=device,
        messages=(Message(role=Role.USER, content=prompt),),
        reply=reply,
        encoding=Encoding.JSON,
        received_s=100.0,
        received_unix_s=1_700_000_000.0,
        deadline_s=160.0,
        deadline_unix_s=1_700_000_060.0,
    )


def candidate(device: str = "nano", model: str = "llama3.2:1b", **fields: Any) -> Candidate:
    """A choice of routing, with plausible terms."""
    usual: dict[str, Any] = {
        "score": 0.7,
        "terms": Terms(tokens=0.8, topic=0.5, health=0.7),
        "reason": "hybrid 0.70",
        "warm": True,
        "predicted_first_token_s": 0.1,
        "predicted_total_s": 2.0,
    }
    return Candidate(device=device, model=model, **usual | fields)


def attempt(number: int = 1, device: str = "nano", outcome: str = "ok", **fields: Any) -> Attempt:
    """An attempt as it went."""
    return Attempt(number=number, device=device, model="llama3.2:1b", outcome=outcome, **fields)


def speed(**fields: Any) -> dict[str, Speed]:
    """What a device measured with the usual model."""
    return {"llama3.2:1b": Speed(jobs=1, **fields)}


STOPPED = DeviceState.STOPPED

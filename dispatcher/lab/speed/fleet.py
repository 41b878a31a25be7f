"""The fleet and the question that decisions are measured with; it measures nothing."""

from __future__ import annotations

from collections.abc import Mapping

from common.messages import ChatRequest, Heartbeat, Message, ModelInfo, Role, Speed
from dispatcher.fleet import Device
from dispatcher.routing import Ask, RoutingPolicy, Verdict, features

FLEETS = (8, 1000)
MODELS = (("llama3.2:1b", 1.2), ("qwen2.5:7b", 7.6), ("llama3.1:8b", 8.0))
"""Three models a device, with billions of parameters."""

TOPICS = (("code", "reasoning"), ("chat",), ("writing", "chat"), ())
DECISIONS = 200
BEAT_EVERY = 10
"""A device works on several jobs in the second between two heartbeats."""

QUESTION = (
    "Explain step by step why this function is slow and how to make it faster, with the complexity of both versions:\n"
    "def pairs(items):\n    return [(a, b) for a in items for b in items if a < b and b - a in items]\n"
)


def beat(number: int) -> Heartbeat:
    """Give what one device reports of itself."""
    models = tuple(
        ModelInfo(
            name=name,
            size_bytes=int(billions * 0.65e9),
            parameters_b=billions,
            loaded=place == number % len(MODELS),
            capabilities=("completion",),
        )
        for place, (name, billions) in enumerate(MODELS)
    )
    speeds = {
        name: Speed(jobs=9, prefill_tps=900.0 / billions + number % 13, decode_tps=60.0 / billions + number % 7)
        for name, billions in MODELS
    }
    return Heartbeat(
        device=f"device-{number:04d}",
        boot="boot",
        seq=1,
        slots=2,
        models=models,
        speeds=speeds,
        topics=TOPICS[number % len(TOPICS)],
        temperature_c=50.0,
        idle_w=3.0,
        busy_w=9.0,
    )


def device(number: int) -> Device:
    """Give one device as the roster has it."""
    said = beat(number)
    return Device(said, {model.name: model for model in said.models})


def asked(strategy: str) -> Ask:
    """Give what routing is asked."""
    messages = (Message(role=Role.USER, content=QUESTION),)
    wanted = features(ChatRequest(messages=messages), messages)
    verdict = Verdict(gain=0.4, strong=True) if strategy == "learned" else None
    return Ask(model="auto", device=None, wanted=wanted, strategy=strategy, seed=7, turn=3, verdict=verdict)


def policy(devices: int) -> RoutingPolicy:
    """Give shares for each device, which only `weighted` looks at."""
    shares: Mapping[str, float] = {f"device-{number:04d}": 1.0 + number % 4 for number in range(devices)}
    return RoutingPolicy(workloads={kind: dict(shares) for kind in ("code", "reasoning", "knowledge")})

"""The terms of the hybrid score, each a pure function into [0, 1]; how they are weighed is `decide`'s affair."""

from __future__ import annotations

import math

from common.messages import ModelInfo
from dispatcher.fleet import Device
from dispatcher.outcomes import Terms
from dispatcher.routing.features import Features
from dispatcher.routing.predict import Prediction

HALF_TOTAL_S = 20.0
"""An answer that takes this long counts half; people give up on chat after some tens of seconds."""

HALF_FIRST_TOKEN_S = 4.0
"""Likewise for the first token."""

BASE_DEMAND = 0.3
"""What even small talk deserves: the strength of a 1.4 B model; below it answers are often wrong."""

NEUTRAL_TOPIC = 0.5
"""For a device that names no topics: neither drawn nor pushed away."""

COOL_C, HOT_C = 70.0, 90.0
"""Jetsons and Pis start to throttle at 80 to 97 degrees C; the score falls before that."""


def terms(device: Device, model: ModelInfo, wanted: Features, predicted: Prediction) -> Terms:
    """Give the three terms for one device and model."""
    return Terms(
        tokens=capability_fit(model, wanted, predicted),
        topic=topic_fit(device, wanted),
        health=health(device, predicted),
    )


def capability_fit(model: ModelInfo, wanted: Features, predicted: Prediction) -> float:
    """C_tokens: how well the request's size and complexity fit what this device can do with this model.

    The mean of two halves: `1 - max(0, demand - strength)`, so that a model weaker than the question loses, the demand rising
    with the complexity from `BASE_DEMAND` to 1; and `T / (T + predicted total)`, so that a device on which these tokens take
    long loses.
    """
    demand = BASE_DEMAND + (1.0 - BASE_DEMAND) * wanted.complexity
    strong_enough = 1.0 - max(0.0, demand - strength(model))
    fast_enough = HALF_TOTAL_S / (HALF_TOTAL_S + predicted.total_s)
    return (strong_enough + fast_enough) / 2


def strength(model: ModelInfo) -> float:
    """Map a model's size to [0, 1], by the logarithm: 0.25 B gives 0, 1 B 0.25, 8 B 0.61, 70 B 1."""
    if model.parameters_b is not None and model.parameters_b > 0:
        billions = model.parameters_b
    else:
        billions = model.size_bytes / 0.65e9 if model.size_bytes else 1.0  # ~0.65 bytes/parameter at Q4_K_M
    return min(1.0, max(0.0, math.log2(billions / 0.25) / math.log2(70 / 0.25)))


def topic_fit(device: Device, wanted: Features) -> float:
    """Sim_centroid: similarity of the question to the nearest of the topics that the device is for."""
    known = [wanted.topics[topic] for topic in device.beat.topics if topic in wanted.topics]
    return max(known) if known else NEUTRAL_TOPIC


def health(device: Device, predicted: Prediction) -> float:
    """H_latency: `(1 - error rate) x coolness x mean(latency, room)`.

    Latency is `T / (T + first token)`, the first token as predicted or as seen, whichever is later, behind the load; room is
    `1 / (1 + jobs per slot)`; coolness falls from 1 at 70 degrees C to 0 at 90, and is halved by throttling.
    """
    first_token_s = predicted.load_s + max(predicted.wait_s + predicted.prefill_s, device.track.first_token_s or 0.0)
    latency = HALF_FIRST_TOKEN_S / (HALF_FIRST_TOKEN_S + first_token_s)
    room = 1.0 / (1.0 + device.in_flight / max(1, device.beat.slots))
    return (1.0 - device.track.error_rate) * coolness(device) * (latency + room) / 2


def coolness(device: Device) -> float:
    """Give 1 for a cool device, 0 for one at 90 degrees C; a device that does not say is taken for cool."""
    celsius = device.beat.temperature_c
    cool = 1.0 if celsius is None else min(1.0, max(0.0, (HOT_C - celsius) / (HOT_C - COOL_C)))
    return cool / 2 if device.beat.throttled else cool

"""The catalogue that ships with the simulator."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from agents.simulator.performance import memory_bytes
from agents.simulator.profiles import (
    Confidence,
    DeviceProfile,
    Figure,
    catalogue,
    parse_catalogue,
    scaled_by_size,
    times_decode,
)

KNOWN = catalogue()


def test_all_seven_boards_are_there() -> None:
    """Every promised profile exists."""
    assert set(KNOWN.devices) == {"nano", "orin", "pi5", "pi4", "pi3", "agx", "nx"}


@pytest.mark.parametrize(
    ("device", "models"),
    [
        ("nano", {"tinyllama:1.1b", "qwen2.5:0.5b"}),
        ("orin", {"llama3.2:3b", "tinyllama:1.1b", "all-minilm:latest", "moondream:latest"}),
        ("pi5", {"llama3.2:1b", "qwen2.5:1.5b", "llama3.2:3b", "all-minilm:latest"}),
    ],
)
def test_the_default_fleet_has_its_models(device: str, models: set[str]) -> None:
    """The three default devices have what routing needs: small and large models, some shared, one that sees."""
    assert models <= set(KNOWN.devices[device].speeds)


@pytest.mark.parametrize("device", KNOWN.devices.values(), ids=lambda device: device.name)
def test_every_installed_model_fits_alone(device: DeviceProfile) -> None:
    """No device has a model installed that it could never load."""
    too_large = [
        name
        for name in device.speeds
        if memory_bytes(device, KNOWN.models[name], context_tokens=4096, slots=1) > device.memory_usable_bytes
    ]

    assert too_large == []


@pytest.mark.parametrize("device", KNOWN.devices.values(), ids=lambda device: device.name)
def test_every_figure_is_positive_and_says_where_it_comes_from(device: DeviceProfile) -> None:
    """No figure stands without a source."""
    figures = [value for field in fields(device) if isinstance(value := getattr(device, field.name), Figure)]
    figures += [figure for speed in device.speeds.values() for figure in (speed.decode_tok_s, speed.prefill_tok_s)]

    assert [figure for figure in figures if figure.value <= 0 or not figure.source] == []


@pytest.mark.parametrize(
    ("device", "model", "decode_tok_s"),
    [
        ("orin", "llama3.2:3b", 17.2),
        ("orin", "tinyllama:1.1b", 47.8),
        ("pi5", "llama3.2:3b", 4.61),
        ("pi5", "qwen2.5:1.5b", 7.49),
        ("pi4", "llama3.2:1b", 2.55),
        ("agx", "llama3.2:3b", 44.8),
        ("nx", "llama3.2:3b", 11.0),
    ],
)
def test_measured_speeds_are_the_measured_ones(device: str, model: str, decode_tok_s: float) -> None:
    """Rows that somebody measured are taken as they are, and marked so."""
    figure = KNOWN.devices[device].speeds[model].decode_tok_s

    assert (decode_tok_s, Confidence.MEASURED) == (figure.value, figure.confidence)


def test_a_scaled_speed_follows_the_size() -> None:
    """qwen2.5:0.5b on the Nano is tinyllama's 5.25 tok/s times 637.7 MB / 397.8 MB, and is called an estimate."""
    figure = KNOWN.devices["nano"].speeds["qwen2.5:0.5b"].decode_tok_s

    assert figure.confidence is Confidence.ESTIMATE
    assert figure.value == pytest.approx(8.4157, abs=1e-3)


def test_a_pulled_model_gets_an_estimated_speed() -> None:
    """A model without a row on a device is scaled from the device's first one."""
    speed = KNOWN.speed(KNOWN.devices["pi5"], KNOWN.models["qwen2.5:7b"])

    # 7.69 tok/s (llama3.2:1b) x 1,321,098,329 / 4,683,087,332
    assert speed.decode_tok_s.confidence is Confidence.ESTIMATE
    assert speed.decode_tok_s.value == pytest.approx(2.1694, abs=1e-3)


def test_scaling_by_size_halves_for_twice_the_size() -> None:
    """Decode is bound by memory bandwidth."""
    assert scaled_by_size(10.0, from_bytes=100, to_bytes=200) == 5.0


def test_prefill_is_a_multiple_of_decode() -> None:
    """The second rule is a plain product."""
    assert times_decode(4.0, 2.5) == 10.0


def test_digests_differ_between_models_and_look_like_sha256() -> None:
    """Clients group names by digest, so no two models share one."""
    digests = {model.digest for model in KNOWN.models.values()}

    assert (len(KNOWN.models), {64}) == (len(digests), {len(digest) for digest in digests})


def test_an_unknown_source_is_refused() -> None:
    """A figure that names no listed source does not load."""
    row: dict[str, Any] = {"value": 1, "source": "hearsay", "confidence": "measured"}
    figures = {f.name: row for f in fields(DeviceProfile) if f.name not in ("name", "title", "gpu", "speeds")}
    document = {"sources": {}, "models": {}, "devices": {"x": {"title": "x", "gpu": False, "speeds": {}, **figures}}}

    with pytest.raises(ValueError, match="hearsay"):
        parse_catalogue(document)

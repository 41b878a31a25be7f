"""What the simulated devices and models are like; it does not know how a server uses them.

The figures live in profiles.toml beside this file, each with its source and its confidence. Figures that nobody measured
are scaled there by one of two stated rules, which are the functions `scaled_by_size` and `times_decode` below.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any


class Confidence(StrEnum):
    """How far a figure can be trusted."""

    MEASURED = "measured"
    TRANSFERRED = "transferred"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with its origin, so that nobody takes an estimate for a measurement."""

    value: float
    source: str
    confidence: Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model as Ollama's library lists it; the same on every device."""

    name: str
    size_bytes: int
    family: str
    families: tuple[str, ...]
    parameter_size: str
    parameter_count: int
    quantization_level: str
    context_length: int
    embedding_length: int
    block_count: int
    head_count: int
    kv_bytes_per_token: int
    capabilities: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Give a digest of these very facts: it changes when a capability does, because clients cache by digest."""
        return hashlib.sha256(f"simulated {self!r}".encode()).hexdigest()

    @property
    def cached_head_count(self) -> int:
        """Give the attention heads whose keys and values are cached, 0 for a model without a cache."""
        head_size = self.embedding_length // self.head_count
        return self.kv_bytes_per_token // (4 * self.block_count * head_size)

    def can(self, capability: str) -> bool:
        """Tell whether the model has the capability."""
        return capability in self.capabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Single-stream speeds of one model on one device."""

    decode_tok_s: Figure
    prefill_tok_s: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """One simulated board. `speeds` holds the models that are installed when the simulator starts."""

    name: str
    title: str
    gpu: bool
    memory_total_bytes: Figure
    memory_system_bytes: Figure
    runner_overhead_bytes: Figure
    load_bytes_per_s: Figure
    download_bytes_per_s: Figure
    runner_start_s: Figure
    batch_cost: Figure
    batch_gain_limit: Figure
    idle_w: Figure
    load_w: Figure
    prefill_w: Figure
    decode_w: Figure
    ambient_c: Figure
    thermal_c_per_w: Figure
    thermal_tau_s: Figure
    speeds: Mapping[str, Speed]

    @property
    def memory_usable_bytes(self) -> int:
        """Give what is left for models once the operating system has its share."""
        return int(self.memory_total_bytes.value - self.memory_system_bytes.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Every model and device that the simulator knows."""

    models: Mapping[str, ModelSpec]
    devices: Mapping[str, DeviceProfile]
    sources: Mapping[str, str]

    def speed(self, device: DeviceProfile, model: ModelSpec) -> Speed:
        """Give the speed of a model on a device; a model pulled later is scaled from the device's first generator."""
        known = device.speeds.get(model.name)
        return known if known is not None else _scaled_speed(device, self.models, model)


def scaled_by_size(value: float, *, from_bytes: int, to_bytes: int) -> float:
    """Scale a speed to a model of another size: each token reads all the weights, so speed goes with 1 / size."""
    return value * from_bytes / to_bytes


def times_decode(decode_tok_s: float, ratio: float) -> float:
    """Estimate a prefill speed from the decode speed of the same model on the same device."""
    return decode_tok_s * ratio


@cache
def catalogue() -> Catalogue:
    """Read the catalogue that ships with the package."""
    text = resources.files(__package__).joinpath("profiles.toml").read_text(encoding="utf-8")
    return parse_catalogue(tomllib.loads(text))


def parse_catalogue(document: Mapping[str, Any]) -> Catalogue:
    """Turn the parsed file into values; raise KeyError or ValueError when a row is incomplete or names no known source."""
    models = {name: _model(name, row) for name, row in document["models"].items()}
    sources = dict(document["sources"])
    devices = {name: _device(name, row, models, sources) for name, row in document["devices"].items()}
    return Catalogue(models=models, devices=devices, sources=sources)


def _model(name: str, row: Mapping[str, Any]) -> ModelSpec:
    families = tuple(row.get("families", (row["family"],)))
    rest = {key: value for key, value in row.items() if key not in ("families", "capabilities")}
    return ModelSpec(name=name, families=families, capabilities=tuple(row["capabilities"]), **rest)


def _device(
    name: str, row: Mapping[str, Any], models: Mapping[str, ModelSpec], sources: Mapping[str, str]
) -> DeviceProfile:
    plain = {"name", "title", "gpu", "speeds"}
    figures = {
        field.name: _figure(float(row[field.name]["value"]), row[field.name], sources)
        for field in fields(DeviceProfile)
        if field.name not in plain
    }
    speeds = _speeds(row["speeds"], models, sources)
    return DeviceProfile(name=name, title=row["title"], gpu=row["gpu"], speeds=speeds, **figures)


def _figure(value: float, row: Mapping[str, Any], sources: Mapping[str, str]) -> Figure:
    if row["source"] not in sources:
        raise ValueError(f"profiles.toml: source {row['source']!r} is not listed under [sources]")
    return Figure(value=value, source=sources[row["source"]], confidence=Confidence(row["confidence"]))


def _speeds(rows: Mapping[str, Any], models: Mapping[str, ModelSpec], sources: Mapping[str, str]) -> dict[str, Speed]:
    speeds: dict[str, Speed] = {}
    for name, row in rows.items():
        decode_row, prefill_row = row["decode_tok_s"], row["prefill_tok_s"]
        scaled = _Scaling(name=name, known=speeds, models=models)
        decode = scaled.value(decode_row, "decode_tok_s", decode_tok_s=0.0)
        prefill = scaled.value(prefill_row, "prefill_tok_s", decode_tok_s=decode)
        speeds[name] = Speed(
            decode_tok_s=_figure(decode, decode_row, sources), prefill_tok_s=_figure(prefill, prefill_row, sources)
        )
    return speeds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scaling:
    """Works out one model's speeds from its rows and the rows above them."""

    name: str
    known: Mapping[str, Speed]
    models: Mapping[str, ModelSpec]

    def value(self, row: Mapping[str, Any], field: str, *, decode_tok_s: float) -> float:
        """Give the figure itself, a multiple of the decode speed, or the figure of another model, scaled."""
        if "value" in row:
            return float(row["value"])
        if "times_decode" in row:
            return times_decode(decode_tok_s, float(row["times_decode"]))
        base = row["scaled_from"]
        figure: Figure = getattr(self.known[base], field)
        sizes = {"from_bytes": self.models[base].size_bytes, "to_bytes": self.models[self.name].size_bytes}
        return scaled_by_size(figure.value, **sizes)


def _scaled_speed(device: DeviceProfile, models: Mapping[str, ModelSpec], model: ModelSpec) -> Speed:
    base = next(name for name in device.speeds if models[name].can("completion"))
    sizes = {"from_bytes": models[base].size_bytes, "to_bytes": model.size_bytes}
    source = f"rule: speed ~ 1 / model size, from {base} on the same device"

    def estimate(figure: Figure) -> Figure:
        value = scaled_by_size(figure.value, **sizes)
        return Figure(value=value, source=source, confidence=Confidence.ESTIMATE)

    known = device.speeds[base]
    return Speed(decode_tok_s=estimate(known.decode_tok_s), prefill_tok_s=estimate(known.prefill_tok_s))

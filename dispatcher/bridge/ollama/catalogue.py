"""The fleet's models as Ollama lists them: from heartbeats alone, asking nobody; it knows no HTTP.

Clients tell models apart by digest: llm-ollama takes names with one digest for aliases, and keeps capabilities on its disk under
it. So each virtual model has a digest of its own, which changes with what it can do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from common.codec import digest
from common.messages import AUTO, ModelInfo
from common.virtual import VIRTUAL, virtual
from dispatcher.bridge.contexts import USUAL_TOKENS, usable
from dispatcher.bridge.ollama.lines import date
from dispatcher.bridge.openai.request import split_model
from dispatcher.bridge.presence import offers
from dispatcher.fleet import Fleet, canonical

Json = dict[str, Any]

SERVED = ("completion", "tools", "vision", "embedding")
"""What a model can do through the bridge. Not `thinking`, whose text is not sent over the bus, nor `insert`: no suffix is taken."""

VIRTUAL_FAMILY = "drover"

FOREVER_S = 1e12
"""When a model leaves memory whose device names no time."""

_LEAST_DIGEST = 12
"""`ollama list` shows so many characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One model as clients see it. `context_tokens` is the largest that a device of the fleet has; None where none says."""

    name: str
    infos: tuple[ModelInfo, ...]
    devices: tuple[str, ...]
    remote: bool
    what: str = ""

    @property
    def is_virtual(self) -> bool:
        return bool(self.what)

    @property
    def capabilities(self) -> tuple[str, ...]:
        told = {one for info in self.infos for one in info.capabilities}
        served = SERVED[:-1] if self.is_virtual else SERVED
        return tuple(one for one in served if one in told) or ("completion",)

    @property
    def context_tokens(self) -> int | None:
        return max(filter(None, map(usable, self.infos)), default=None)

    @property
    def family(self) -> str:
        if self.is_virtual:
            return VIRTUAL_FAMILY
        return next((info.family for info in self.infos if info.family), self.name.partition(":")[0])

    @property
    def digest(self) -> str:
        told = next((info.digest for info in self.infos if info.digest), "").removeprefix("sha256:")
        if not self.is_virtual and len(told) >= _LEAST_DIGEST:
            return told
        return digest({"name": self.name, "capabilities": self.capabilities, "context": self.context_tokens}, 64)


def listed(fleet: Fleet, device: str | None = None) -> list[Listed]:
    """Give the virtual models, then those of the fleet; with `device`, as far as that one goes."""
    real = list(_real(fleet, device))
    return [*(_virtual(name, real) for name in VIRTUAL), *real]


def look(fleet: Fleet, name: str) -> Listed | None:
    """Give one model by its name, which may be `model@device`; `:latest` may be left out. Raises `BadRequest` for a device's name
    that is none."""
    model, device = split_model(name)
    found = {one.name: one for one in listed(fleet, device)}
    if device is not None and not any(device in one.devices for one in found.values()):
        return None
    return found.get(canonical(AUTO if virtual(model) is VIRTUAL[AUTO] else model))


def tags(models: Sequence[Listed], since_s: int) -> Json:
    """Write the list; `since_s` stands for the date of a change, which heartbeats don't tell."""
    return {"models": [_tag(one, since_s) for one in models]}


def show(model: Listed, since_s: int) -> Json:
    """Write all about one model."""
    family, tools = model.family, "{{ .Tools }}" if "tools" in model.capabilities else ""
    infos: Json = {
        "general.architecture": family,
        "general.basename": model.name.partition(":")[0],
        f"{family}.context_length": model.context_tokens or USUAL_TOKENS,  # Copilot can't do without a number
    }
    if (billions := _billions(model)) is not None:
        infos["general.parameter_count"] = round(billions * 1e9)
    where = ", ".join(model.devices) or "no device now"
    return {
        "license": "that of the model's makers: `ollama show --license` on a device that has it prints the text",
        "modelfile": f"# {model.what or 'one of the fleet'}: {where}\nFROM {model.name}\n",
        # None: clients send what stands here back with every request, and a context that is asked for costs memory.
        "parameters": "",
        "template": f"{{{{ .System }}}}{tools}{{{{ .Prompt }}}}{{{{ .Response }}}}",
        "details": _details(model),
        "model_info": infos,
        "capabilities": list(model.capabilities),
        "modified_at": date(since_s),
        "x_drover": _facts(model),
    }


def running(models: Sequence[Listed]) -> Json:
    """Write what is in memory: each model once, as the device has it that keeps it longest; that first which stays longest."""
    held = [(one, max(loaded, key=_expires_s)) for one in models if (loaded := _loaded(one))]
    return {"models": [_process(one, info) for one, info in sorted(held, key=lambda pair: -_expires_s(pair[1]))]}


def _real(fleet: Fleet, device: str | None) -> Iterator[Listed]:
    for offer in offers(fleet).values():
        names = tuple(one for one in offer.devices if device in (None, one))
        if names:
            infos = tuple(fleet.devices[one].models[offer.name] for one in names)
            remote = all(fleet.devices[one].beat.remote for one in names)
            yield Listed(name=offer.name, infos=infos, devices=names, remote=remote)


def _virtual(name: str, real: Sequence[Listed]) -> Listed:
    """Give what stands for a choice: it can do what any of those can that it chooses from. Those answer: embeddings of one model
    can't be compared with another's, so there is nothing to choose."""
    chosen = [one for one in real if "completion" in one.capabilities and not (VIRTUAL[name].local and one.remote)]
    return Listed(
        name=canonical(name),
        infos=tuple(info for one in chosen for info in one.infos),
        devices=tuple(sorted({device for one in chosen for device in one.devices})),
        remote=False,
        what=VIRTUAL[name].what,
    )


def _tag(model: Listed, since_s: int) -> Json:
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": date(since_s),
        "size": 0 if model.is_virtual else max(info.size_bytes for info in model.infos),
        "digest": model.digest,
        "details": _details(model),
        "capabilities": list(model.capabilities),
        "x_drover": _facts(model),
    }


def _details(model: Listed) -> Json:
    quantization = next((info.quantization for info in model.infos if info.quantization), "unknown")
    return {
        "parent_model": "",
        "format": "virtual" if model.is_virtual else "remote" if model.remote else "gguf",
        "family": model.family,
        "families": [model.family],
        "parameter_size": "any" if model.is_virtual else _size_text(_billions(model)),
        "quantization_level": "any" if model.is_virtual else quantization,
    }


def _facts(model: Listed) -> Json:
    facts: Json = {"devices": list(model.devices)}
    return {"description": model.what, **facts} if model.is_virtual else facts


def _billions(model: Listed) -> float | None:
    if model.is_virtual:
        return None
    return next((info.parameters_b for info in model.infos if info.parameters_b), None)


def _size_text(billions: float | None) -> str:
    if billions is None:
        return "unknown"
    return f"{billions:.1f}B" if billions >= 1 else f"{billions * 1000:.0f}M"


def _loaded(model: Listed) -> list[ModelInfo]:
    return [] if model.is_virtual else [info for info in model.infos if info.loaded]


def _expires_s(info: ModelInfo) -> float:
    return FOREVER_S if info.expires_unix_s is None else info.expires_unix_s


def _process(model: Listed, info: ModelInfo) -> Json:
    size = info.memory_bytes or info.size_bytes
    where = [name for name, one in zip(model.devices, model.infos, strict=True) if one.loaded]
    return {
        "name": model.name,
        "model": model.name,
        "size": size,
        "digest": model.digest,
        "details": _details(model),
        "expires_at": date(_expires_s(info)),
        "size_vram": min(info.gpu_bytes, size),
        "context_length": info.loaded_context_tokens or usable(info) or USUAL_TOKENS,
        "x_drover": {"loaded_on": where},
    }

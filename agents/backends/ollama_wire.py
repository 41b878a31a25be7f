"""Our values to Ollama's API and back, as plain objects; pure, and without the `ollama` package."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from common import codec, vectors
from common.errors import BadRequest, GarbledReply
from common.frames import Finish
from common.messages import Dispatch, EngineTimings, Message, ModelInfo, Options, ToolCall, Usage

_PARAMETERS = re.compile(r"(\d+(?:\.\d+)?)\s*([KMBT])", re.ASCII)
_NUM_CTX = re.compile(r"^num_ctx\s+(\d{1,9})\s*$", re.MULTILINE | re.ASCII)
_IN_BILLIONS = {"K": 1e-6, "M": 1e-3, "B": 1.0, "T": 1e3}


def turn_to_wire(turn: Message) -> dict[str, Any]:
    """Give one message as Ollama takes it. Images become bytes: the package reads an image *string* as a file's name,
    and a stranger's request must never open a file here. Raises `BadRequest` when an image is not base64."""
    wire: dict[str, Any] = {"role": str(turn.role), "content": turn.content}
    if turn.images:
        wire["images"] = [_image(image) for image in turn.images]
    if turn.tool_calls:
        wire["tool_calls"] = [
            {"function": {"name": call.name, "arguments": call.arguments}} for call in turn.tool_calls
        ]
    if turn.tool_name:
        wire["tool_name"] = turn.tool_name
    return wire


def options_to_wire(options: Options, context_tokens: int | None) -> dict[str, Any]:
    """Give the options under Ollama's names; what is absent stays absent, so that the model's own defaults hold."""
    wire = {
        "num_predict": options.max_tokens,
        "num_ctx": context_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "seed": options.seed,
        "stop": list(options.stop) or None,
        "frequency_penalty": options.frequency_penalty,
        "presence_penalty": options.presence_penalty,
    }
    return {key: value for key, value in wire.items() if value is not None}


def keep_alive_to_wire(text: str) -> str | float:
    """Give a bare number as a number of seconds: as a string Ollama would miss its unit."""
    try:
        return float(text)
    except ValueError:
        return text


def chat_to_wire(dispatch: Dispatch, keep_alive: str, context_tokens: int | None) -> dict[str, Any]:
    """Give the arguments of a chat, tools excepted; `context_tokens` is the size to ask for. Raises `BadRequest` when an image
    is not base64."""
    return {
        "model": dispatch.model,
        "messages": [turn_to_wire(turn) for turn in dispatch.messages],
        "options": options_to_wire(dispatch.options, context_tokens),
        "format": dispatch.format,
        "keep_alive": keep_alive_to_wire(keep_alive),
        **({"logprobs": True} if dispatch.logprobs else {}),  # older libraries have no such argument
    }


def embed_to_wire(dispatch: Dispatch, keep_alive: str, context_tokens: int | None) -> dict[str, Any]:
    """Give the arguments of an embedding; `context_tokens` is the size to ask for."""
    return {
        "model": dispatch.model,
        "input": list(dispatch.inputs or ()),
        "truncate": dispatch.truncate,
        "dimensions": dispatch.dimensions,
        "options": options_to_wire(Options(), context_tokens),
        "keep_alive": keep_alive_to_wire(keep_alive),
    }


def packed(embeddings: Sequence[Sequence[float]]) -> tuple[str, ...]:
    """Pack what came. Raises `GarbledReply` for what is no embedding."""
    try:
        return tuple(vectors.pack(one) for one in embeddings)
    except ValueError as error:
        raise GarbledReply(f"Ollama's answer can't be used: {error}") from error


def logprobs_of(told: Sequence[float]) -> tuple[float, ...]:
    """Read how sure the model was; Ollama tells since November 2025; what is no logarithm of a probability is left out."""
    return tuple(max(one, -1e6) for one in told if one <= 0.0)


def finish_of(reason: str | None, calls: Sequence[ToolCall]) -> Finish:
    """Say why the text ended: called tools win over Ollama's `stop`."""
    if calls:
        return Finish.TOOL_CALLS
    return Finish.LENGTH if reason == "length" else Finish.STOP


def usage_of(prompt: int | None, completion: int | None) -> Usage:
    """Read the counters; Ollama leaves out what is zero, and prompts that were cached in older versions."""
    return Usage(prompt_tokens=prompt or 0, completion_tokens=completion or 0)


def timings_of(load_ns: int | None, prefill_ns: int | None, decode_ns: int | None) -> EngineTimings:
    """Read the durations, which are nanoseconds."""
    return EngineTimings(load_s=_seconds(load_ns), prefill_s=_seconds(prefill_ns), decode_s=_seconds(decode_ns))


def model_of(listed: Mapping[str, Any], loaded: Mapping[str, Any] | None, shown: Mapping[str, Any]) -> ModelInfo:
    """Join what `/api/tags`, `/api/ps` and `/api/show` say of one model. Raises `BadRequest`, or what Python raises of odd
    values: a model that a heartbeat can't carry must not get into one."""
    details = listed.get("details") or {}
    expires = loaded.get("expires_at") if loaded else None
    info = shown.get("modelinfo") or {}
    fields = {
        "name": listed["model"],
        "size_bytes": int(listed.get("size") or 0),
        "loaded": loaded is not None,
        "memory_bytes": int(loaded.get("size") or 0) if loaded else 0,
        "gpu_bytes": int(loaded.get("size_vram") or 0) if loaded else 0,
        "expires_unix_s": expires.timestamp() if isinstance(expires, datetime) else None,
        "parameters_b": _billions(info.get("general.parameter_count"), details.get("parameter_size")),
        "context_tokens": _context(info),
        "loaded_context_tokens": (loaded.get("context_length") or None) if loaded else None,
        "quantization": details.get("quantization_level") or None,
        "family": details.get("family") or None,
        "digest": listed.get("digest") or None,
        "capabilities": tuple(shown.get("capabilities") or ()),
    }
    return codec.build(ModelInfo, fields)


def only_embeds(model: ModelInfo) -> bool:
    """Tell whether a model makes embeddings and no text, as far as it is known."""
    return "embedding" in model.capabilities and "completion" not in model.capabilities


def full_name(model: str) -> str:
    """Give a model's name as Ollama lists it: a missing tag means `latest`."""
    return model if ":" in model.rsplit("/", 1)[-1] else f"{model}:latest"


def default_context(shown: Mapping[str, Any]) -> int | None:
    """Read the context that the model's own Modelfile sets; it goes before OLLAMA_CONTEXT_LENGTH."""
    found = _NUM_CTX.search(str(shown.get("parameters") or ""))
    return int(found[1]) if found else None


def _image(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"an image is not base64 ({error}): send it without a data: head", param="images") from error


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9


def _billions(count: Any, label: Any) -> float | None:
    if isinstance(count, int | float) and count > 0:
        return round(count / 1e9, 3)
    found = _PARAMETERS.match(str(label or "").upper())
    return round(float(found[1]) * _IN_BILLIONS[found[2]], 3) if found else None


def _context(info: Mapping[str, Any]) -> int | None:
    value = info.get(f"{info.get('general.architecture')}.context_length")
    return value if isinstance(value, int) else None

"""Gives values the shapes of Ollama's API: chat, generate, embed, tags, ps, show, pull; it never sees a socket.

Field names, types and omissions are those of api/types.go of Ollama 0.33: durations are nanoseconds, zero counters are
absent, dates are RFC 3339.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from agents.simulator.inference import Finished, Piece, Timings
from agents.simulator.library import Installed
from agents.simulator.profiles import ModelSpec

# The version whose behaviour is simulated. Open WebUI compares what stands before the hyphen.
VERSION = "0.33.0-simulated"

Line = Mapping[str, Any]
# Stands among the lines of a stream for one that is no JSON.
BROKEN_LINE: Line = {}


class Whole(Exception):
    """Raised by lines that are no stream: Ollama answers a mere load or unload with one object, streamed or not."""

    def __init__(self, value: Line) -> None:
        super().__init__("an answer in one piece")
        self.value = value


def encode(value: object) -> bytes:
    """Encode a body."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def date(moment: datetime) -> str:
    """Write a date as Go does."""
    return moment.isoformat().replace("+00:00", "Z")


def error(message: str) -> dict[str, str]:
    """Give the one shape that errors have."""
    return {"error": message}


def chat_piece(model: str, now: datetime, piece: Piece) -> dict[str, Any]:
    """Give a line of a chat stream."""
    message: dict[str, Any] = {"role": "assistant", "content": piece.text}
    if piece.thinking:
        message["thinking"] = piece.thinking
    if piece.tool_calls:
        message["tool_calls"] = list(piece.tool_calls)
    return {"model": model, "created_at": date(now), "message": message, "done": False}


def logprobs(text: str) -> dict[str, Any]:
    """Tell how sure the model was of a token: the same for the same text, between 0.61 and 0.99 of certainty."""
    sure = 0.01 + 0.48 * (zlib.crc32(text.encode("utf-8", "surrogatepass")) % 1000) / 1000
    return {"logprobs": [{"token": text, "logprob": -round(sure, 4), "bytes": list(text.encode("utf-8", "replace"))}]}


def chat_end(model: str, now: datetime, end: Finished) -> dict[str, Any]:
    """Give the last line of a chat stream."""
    line = chat_piece(model, now, Piece(text=end.text))
    return line | {"done": True, "done_reason": end.reason} | counters(end.timings)


def bare_chat(model: str, now: datetime, reason: str) -> dict[str, Any]:
    """Give the answer to a chat that only loads or unloads a model."""
    return chat_piece(model, now, Piece()) | {"done": True, "done_reason": reason}


def generate_piece(model: str, now: datetime, piece: Piece) -> dict[str, Any]:
    """Give a line of a generate stream."""
    line = {"model": model, "created_at": date(now), "response": piece.text, "done": False}
    return line | ({"thinking": piece.thinking} if piece.thinking else {})


def generate_end(model: str, now: datetime, end: Finished, context: Sequence[int]) -> dict[str, Any]:
    """Give the last line of a generate stream; raw prompts have no context."""
    line = generate_piece(model, now, Piece()) | {"done": True, "done_reason": end.reason}
    return line | ({"context": list(context)} if context else {}) | counters(end.timings)


def bare_generate(model: str, now: datetime, reason: str) -> dict[str, Any]:
    """Give the answer to a generate request that only loads or unloads a model."""
    return generate_piece(model, now, Piece()) | {"done": True, "done_reason": reason}


def whole_chat(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join the lines of a chat stream into the one answer of a request without stream."""
    message: dict[str, Any] = {"role": "assistant", "content": _joined(line["message"]["content"] for line in lines)}
    thinking = _joined(line["message"].get("thinking", "") for line in lines)
    calls = [call for line in lines for call in line["message"].get("tool_calls", ())]
    message |= ({"thinking": thinking} if thinking else {}) | ({"tool_calls": calls} if calls else {})
    return {**lines[-1], "message": message, **_sure(lines)}


def _sure(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    told = [one for line in lines for one in line.get("logprobs", ())]
    return {"logprobs": told} if told else {}


def whole_generate(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join the lines of a generate stream into one answer."""
    thinking = _joined(line.get("thinking", "") for line in lines)
    joined = {**lines[-1], "response": _joined(line["response"] for line in lines)}
    return joined | ({"thinking": thinking} if thinking else {}) | _sure(lines)


def counters(timings: Timings) -> dict[str, int]:
    """Give the final counters."""
    values = {
        "total_duration": _ns(timings.total_s),
        "load_duration": _ns(timings.load_s),
        "prompt_eval_count": timings.prompt_tokens,
        "prompt_eval_duration": _ns(timings.prefill_s),
        "eval_count": timings.tokens,
        "eval_duration": _ns(timings.decode_s),
    }
    return {name: value for name, value in values.items() if value}


def embedded(model: str, vectors: Sequence[Sequence[float]], timings: Timings | None) -> dict[str, Any]:
    """Give the answer of /api/embed; without input there is nothing but an empty list."""
    body: dict[str, Any] = {"model": model, "embeddings": [list(vector) for vector in vectors]}
    if timings is None:
        return body
    body["total_duration"], body["load_duration"] = _ns(timings.total_s), _ns(timings.load_s)
    return body | ({"prompt_eval_count": timings.prompt_tokens} if timings.prompt_tokens else {})


def legacy_embedding(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give the answer of /api/embeddings: one vector, or none for an empty prompt."""
    vectors = lines[-1]["embeddings"]
    return {"embedding": vectors[0] if vectors else []}


def details(spec: ModelSpec) -> dict[str, Any]:
    """Give the details of a model."""
    return {
        "parent_model": "",
        "format": "gguf",
        "family": spec.family,
        "families": list(spec.families),
        "parameter_size": spec.parameter_size,
        "quantization_level": spec.quantization_level,
    }


def tag(item: Installed) -> dict[str, Any]:
    """Give an entry of /api/tags."""
    spec = item.spec
    sizes = {"context_length": spec.context_length, "embedding_length": spec.embedding_length}
    return {
        "name": spec.name,
        "model": spec.name,
        "modified_at": date(item.modified_at),
        "size": spec.size_bytes,
        "digest": spec.digest,
        "details": details(spec) | sizes,
        "capabilities": list(spec.capabilities),
    }


def process(
    spec: ModelSpec, *, size_bytes: int, gpu_bytes: int, context_tokens: int, expires_at: datetime
) -> dict[str, Any]:
    """Give an entry of /api/ps."""
    return {
        "name": spec.name,
        "model": spec.name,
        "size": size_bytes,
        "digest": spec.digest,
        "details": details(spec),
        "expires_at": date(expires_at),
        "size_vram": gpu_bytes,
        "context_length": context_tokens,
    }


def show(item: Installed) -> dict[str, Any]:
    """Give the answer of /api/show."""
    spec = item.spec
    template = _template(spec)
    return {
        "license": "Simulated model: there are no weights, and no licence applies to them.",
        "modelfile": f'# Modelfile generated by "ollama show"\nFROM {spec.name}\nTEMPLATE """{template}"""\n',
        "parameters": 'stop                           "<|im_end|>"',
        "template": template,
        "details": details(spec),
        "model_info": _model_info(spec),
        "capabilities": list(spec.capabilities),
        "modified_at": date(item.modified_at),
    }


def progress(status: str, **fields: object) -> dict[str, Any]:
    """Give a line of a pull; a completed count of zero is absent."""
    return {"status": status} | {name: value for name, value in fields.items() if value}


def _model_info(spec: ModelSpec) -> dict[str, Any]:
    family = spec.family
    cached = {f"{family}.attention.head_count_kv": spec.cached_head_count} if spec.cached_head_count else {}
    return {
        "general.architecture": family,
        "general.basename": spec.name.split(":")[0],
        "general.parameter_count": spec.parameter_count,
        f"{family}.block_count": spec.block_count,
        f"{family}.context_length": spec.context_length,
        f"{family}.embedding_length": spec.embedding_length,
        f"{family}.attention.head_count": spec.head_count,
        **cached,
    }


def _template(spec: ModelSpec) -> str:
    tools = "{{ .Tools }}" if spec.can("tools") else ""
    suffix = "{{ .Suffix }}" if spec.can("insert") else ""
    return f"{{{{ .System }}}}{tools}{{{{ .Prompt }}}}{suffix}{{{{ .Response }}}}"


def _joined(parts: Iterable[str]) -> str:
    return "".join(parts)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)

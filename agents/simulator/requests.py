"""Parses the requests of Ollama's API into values, refusing what Ollama refuses; it never sees a socket or a model's state."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.simulator.errors import Refused
from agents.simulator.gojson import BadBody, check, decode_object
from agents.simulator.options import parse_keep_alive

_SHARED = {
    "model": "string",
    "stream": "*bool",
    "format": "any",
    "keep_alive": "any",
    "options": "map[string]interface {}",
    "think": "any",
    "truncate": "*bool",
    "shift": "*bool",
    "logprobs": "bool",
    "top_logprobs": "int",
}
_CHAT = _SHARED | {"messages": "[]api.Message", "tools": "api.Tools"}
_GENERATE = _SHARED | {
    "prompt": "string",
    "suffix": "string",
    "system": "string",
    "template": "string",
    "context": "[]int",
    "raw": "bool",
    "images": "[]api.ImageData",
}
_EMBED = {"model": "string", "input": "any", "truncate": "*bool", "dimensions": "int"}
_EMBED_REST = {"keep_alive": "any", "options": "map[string]interface {}"}
_NAMED = {"model": "string", "name": "string", "stream": "*bool", "verbose": "bool"}
_MESSAGE = {
    "role": "string",
    "content": "string",
    "thinking": "string",
    "tool_name": "string",
    "tool_call_id": "string",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a chat."""

    role: str
    content: str
    thinking: str = ""
    images: tuple[bytes, ...] = ()
    tool_calls: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """A chat or generate request. For generate, `messages` holds the system text and the prompt."""

    model: str
    messages: tuple[Message, ...]
    stream: bool = True
    raw_options: Mapping[str, Any]
    keep_alive_s: float | None = None
    format: object = None
    think: bool | str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    truncate: bool = True
    shift: bool = True
    logprobs: bool = False
    prompt: str = ""
    suffix: str = ""
    context: tuple[int, ...] = ()
    raw: bool = False
    template: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """An embed request, of the new or of the legacy endpoint."""

    model: str
    inputs: tuple[str, ...]
    keep_alive_s: float | None
    raw_options: Mapping[str, Any]
    truncate: bool = True
    dimensions: int = 0
    legacy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRequest:
    """A request about one model: show, pull, delete."""

    model: str
    stream: bool


def parse_chat(body: bytes) -> InferenceRequest:
    """Parse the body of /api/chat; raise Refused."""
    fields = _decoded(body, "ChatRequest", _CHAT)
    tools = fields.get("tools", [])
    _checked(tools, "[]api.Tool", "ChatRequest.tools")
    for tool in tools:
        _checked(tool, "api.Tool", "ChatRequest.tools")
    messages = tuple(_message(raw) for raw in fields.get("messages", []))
    return InferenceRequest(messages=messages, tools=tuple(tools), **_shared(fields))


def parse_generate(body: bytes) -> InferenceRequest:
    """Parse the body of /api/generate; raise Refused."""
    fields = _decoded(body, "GenerateRequest", _GENERATE)
    system, prompt = fields.get("system", ""), fields.get("prompt", "")
    images = _images(fields.get("images", []), "GenerateRequest.images")
    messages = [Message(role="user", content=prompt, images=images)]
    if system:
        messages.insert(0, Message(role="system", content=system))
    return InferenceRequest(
        messages=tuple(messages),
        prompt=prompt,
        suffix=fields.get("suffix", ""),
        context=tuple(fields.get("context", [])),
        raw=fields.get("raw", False),
        template=fields.get("template", ""),
        **_shared(fields),
    )


def parse_embed(body: bytes) -> EmbedRequest:
    """Parse the body of /api/embed; raise Refused."""
    fields = _decoded(body, "EmbedRequest", _EMBED | _EMBED_REST)
    given = fields.get("input", [])
    inputs = [given] if isinstance(given, str) and given else ([] if given == "" else given)
    if not isinstance(inputs, list) or not all(isinstance(text, str) for text in inputs):
        raise Refused(400, "invalid input type")
    return EmbedRequest(
        model=fields.get("model", ""),
        inputs=tuple(inputs),
        keep_alive_s=parse_keep_alive(fields.get("keep_alive")),
        raw_options=fields.get("options", {}),
        truncate=fields.get("truncate", True),
        dimensions=fields.get("dimensions", 0),
    )


def parse_embeddings(body: bytes) -> EmbedRequest:
    """Parse the body of the legacy /api/embeddings; raise Refused."""
    fields = _decoded(body, "EmbeddingRequest", {"model": "string", "prompt": "string"} | _EMBED_REST)
    prompt = fields.get("prompt", "")
    return EmbedRequest(
        model=fields.get("model", ""),
        inputs=(prompt,) if prompt else (),
        keep_alive_s=parse_keep_alive(fields.get("keep_alive")),
        raw_options=fields.get("options", {}),
        legacy=True,
    )


def parse_named(body: bytes, struct: str) -> NamedRequest:
    """Parse a body that names a model as `model` or, as older clients do, as `name`; raise Refused."""
    fields = _decoded(body, struct, _NAMED)
    return NamedRequest(model=fields.get("model") or fields.get("name", ""), stream=fields.get("stream", True))


def _decoded(body: bytes, struct: str, fields: Mapping[str, str]) -> dict[str, Any]:
    try:
        return decode_object(body, struct=struct, fields=fields)
    except BadBody as error:
        raise Refused(400, str(error)) from error


def _checked(value: object, go_type: str, where: str) -> None:
    try:
        check(value, go_type, where)
    except BadBody as error:
        raise Refused(400, str(error)) from error


def _shared(fields: Mapping[str, Any]) -> dict[str, Any]:
    if not 0 <= fields.get("top_logprobs", 0) <= 20:
        raise Refused(400, "top_logprobs must be between 0 and 20")
    return {
        "model": fields.get("model", ""),
        "stream": fields.get("stream", True),
        "raw_options": fields.get("options", {}),
        "keep_alive_s": parse_keep_alive(fields.get("keep_alive")),
        "format": fields.get("format"),
        "think": _think(fields.get("think")),
        "truncate": fields.get("truncate", True),
        "shift": fields.get("shift", True),
        "logprobs": fields.get("logprobs", False),
    }


def _think(value: object) -> bool | str | None:
    if value is None or isinstance(value, bool):
        return value
    levels = '"high", "medium", "low", "max", true, or false'
    if not isinstance(value, str):
        raise Refused(400, f"think must be a boolean or string ({levels})")
    if value not in ("high", "medium", "low", "max"):
        raise Refused(400, f"invalid think value: {json.dumps(value)} (must be {levels})")
    return value


def _message(raw: object) -> Message:
    _checked(raw, "api.Message", "ChatRequest.messages")
    fields = raw if isinstance(raw, dict) else {}
    for name, go_type in _MESSAGE.items():
        _checked(fields.get(name), go_type, f"ChatRequest.messages.{name}")
    _checked(fields.get("tool_calls"), "[]api.ToolCall", "ChatRequest.messages.tool_calls")
    return Message(
        role=(fields.get("role") or "").lower(),
        content=fields.get("content") or "",
        thinking=fields.get("thinking") or "",
        images=_images(fields.get("images") or [], "ChatRequest.messages.images"),
        tool_calls=tuple(fields.get("tool_calls") or ()),
    )


def _images(values: object, where: str) -> tuple[bytes, ...]:
    _checked(values, "[]api.ImageData", where)
    return tuple(_image(value, where) for value in (values if isinstance(values, Sequence) else ()))


def _image(value: object, where: str) -> bytes:
    _checked(value, "string", where)
    try:
        return base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, f"illegal base64 data at input byte {_first_bad_byte(str(value))}") from None


def _first_bad_byte(text: str) -> int:
    bad = re.search(r"[^A-Za-z0-9+/]", text)
    return bad.start() if bad is not None else len(text)

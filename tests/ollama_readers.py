"""What the strictest of Ollama's clients take, as checks of an answer: required fields, their types, and what would break them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

NS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
COUNTS = ("prompt_eval_count", "eval_count")


def lines(body: bytes) -> list[dict[str, Any]]:
    """Read a stream as Zed and the ollama package do: every line is an object, as Python and as everybody else splits them."""
    text = body.decode()
    assert text.endswith("\n")
    split = text.removesuffix("\n").split("\n")
    assert split == text.splitlines(), "a character in a text would end a line in Python"
    read = [json.loads(line) for line in split]
    assert all(isinstance(one, dict) for one in read)
    return read


def chat_line(line: Mapping[str, Any]) -> None:
    """Zed's `ChatResponseDelta`: an enum that is told by its role, whose calls are objects with one key."""
    _texts(line, "model", "created_at")
    assert isinstance(line["done"], bool)
    message = line["message"]
    assert message["role"] == "assistant"
    assert isinstance(message["content"], str)
    for call in message.get("tool_calls") or ():
        assert list(call) == ["function"]
        assert isinstance(call["function"]["name"], str)
        assert isinstance(call["function"]["arguments"], dict)
    _ending(line)


def generate_line(line: Mapping[str, Any]) -> None:
    """Continue reads `response` of each line; Ollama's own tests want a context on the last."""
    _texts(line, "model", "created_at", "response")
    assert isinstance(line["done"], bool)
    _ending(line)
    if line["done"] and line["done_reason"] in ("stop", "length"):
        assert line["context"]
        assert all(isinstance(one, int) and 0 <= one < 2**31 for one in line["context"])


def tags(body: Mapping[str, Any]) -> None:
    """Zed's `LocalModelListing` and Ollama's own test; digests are what llm-ollama tells models apart by."""
    for model in body["models"]:
        _texts(model, "name", "model", "modified_at", "digest")
        assert model["name"] == model["model"]
        assert isinstance(model["size"], int)
        assert model["size"] >= 0
        assert len(model["digest"]) >= 12
        datetime.fromisoformat(model["modified_at"])
        _details(model["details"])
    digests = [model["digest"] for model in body["models"]]
    assert len(set(digests)) == len(digests)


def show(body: Mapping[str, Any]) -> None:
    """ollama-python and Copilot need `model_info`, LiteLLM its context, Continue parameters that it can split into words."""
    _texts(body, "modelfile", "template", "license", "modified_at")
    assert isinstance(body["parameters"], str)
    assert all(re.match(r'^(\S+)\s+((?:".*")|\S+)$', one) for one in body["parameters"].split("\n") if one)
    assert ".Suffix" not in body["template"]
    assert ("tools" in body["template"].lower()) == ("tools" in body["capabilities"])
    _details(body["details"])
    assert body["capabilities"]
    assert all(isinstance(one, str) for one in body["capabilities"])
    info = body["model_info"]
    context = info[f"{info['general.architecture']}.context_length"]
    assert isinstance(context, int)
    assert context > 0


def running(body: Mapping[str, Any]) -> None:
    """Open WebUI reads when a model leaves memory by `datetime.fromisoformat`; Ollama's own test wants sizes."""
    for model in body["models"]:
        _texts(model, "name", "model", "digest", "expires_at")
        assert datetime.fromisoformat(model["expires_at"]).tzinfo is not None
        assert isinstance(model["size"], int)
        assert isinstance(model["size_vram"], int)
        assert model["context_length"] > 0
        _details(model["details"])


def version(body: Mapping[str, Any]) -> tuple[int, ...]:
    """Open WebUI makes a number of each part; Copilot wants 0.6.4 or more."""
    parts = tuple(int(part) for part in str(body["version"]).split("."))
    assert len(parts) == 3
    assert parts >= (0, 6, 4)
    return parts


def _ending(line: Mapping[str, Any]) -> None:
    assert "error" not in line
    if not line["done"] or line["done_reason"] in ("load", "unload"):
        return
    assert line["done_reason"] in ("stop", "length")
    assert all(type(line[name]) is int and line[name] > 0 for name in (*NS, *COUNTS))


def _details(details: Mapping[str, Any]) -> None:
    _texts(details, "format", "family", "parameter_size", "quantization_level")
    assert details["families"] is None or all(isinstance(one, str) for one in details["families"])


def _texts(of: Mapping[str, Any], *names: str) -> None:
    for name in names:
        assert isinstance(of[name], str), name
        assert of[name] or name == "response", name

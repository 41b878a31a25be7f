"""Decides when a simulated model calls a tool, and with which arguments: pure; it never runs a tool.

A tool is called when the last message is the user's and it mentions the tool's name or a telling word of it. After a tool's
answer the model speaks again.
"""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from agents.simulator.requests import Message

BARE = "{"
"""The tag of templates in which a call has none: Ollama then takes for a call whatever begins like an object."""

_TAGS = {"qwen2": "<tool_call>"}
_SHORTEST_TELLING_WORD = 4
_VAGUE = frozenset(("tool", "call", "function", "with", "from", "current", "data", "info", "make", "find"))


def wanted(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], seed: int) -> tuple[dict[str, Any], ...]:
    """Give the calls that the prompt asks for, in the shape of the wire; none when it asks for none."""
    if not messages or messages[-1].role != "user":
        return ()
    question = messages[-1].content
    functions = [function for tool in tools if isinstance(function := tool.get("function"), Mapping)]
    asked = [function for function in functions if _mentions(question, str(function.get("name", "")))]
    return tuple(_call(index, function, question, seed) for index, function in enumerate(asked))


def tag_of(family: str) -> str:
    """Give what a model of a family writes before a call: by it Ollama tells calls from text, and keeps them back."""
    return _TAGS.get(family, BARE)


def spelt(call: Mapping[str, Any], family: str) -> str:
    """Give a call as a model writes it, which Ollama reads and clients never see."""
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    if tag_of(family) == BARE:
        return json.dumps({"name": name, "parameters": arguments})
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def _mentions(question: str, name: str) -> bool:
    said = question.lower()
    words = [word.lower() for word in re.findall(r"[A-Za-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name))]
    telling = [word for word in words if len(word) >= _SHORTEST_TELLING_WORD and word not in _VAGUE]
    return bool(name) and (name.lower() in said or any(re.search(rf"\b{word}", said) for word in telling))


def _call(index: int, function: Mapping[str, Any], question: str, seed: int) -> dict[str, Any]:
    generator = random.Random(f"{seed} {index} {question}")  # noqa: S311 - an identifier, not a secret
    identity = "".join(generator.choices(string.ascii_lowercase + string.digits, k=8))
    parameters = function.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    arguments = {
        name: _argument(schema if isinstance(schema, Mapping) else {}, question)
        for name, schema in (properties.items() if isinstance(properties, Mapping) else ())
    }
    called = {"index": index, "name": str(function.get("name", "")), "arguments": arguments}
    return {"id": f"call_{identity}", "function": called}


def _argument(schema: Mapping[str, Any], question: str) -> Any:
    options = schema.get("enum")
    if isinstance(options, list) and options:
        said = [option for option in options if str(option).lower() in question.lower()]
        return (said or options)[0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    found = re.search(r"-?\d+(?:\.\d+)?", question)
    number = float(found[0]) if found else 1.0
    by_kind = {"integer": int(number), "number": number, "boolean": True, "array": [], "object": {}}
    return by_kind[kind] if kind in by_kind else _spoken(question)


def _spoken(question: str) -> str:
    """Pick what the user most likely means: a quotation, else the last proper noun, else the last word."""
    quoted = re.search(r"[\"“']([^\"”']+)[\"”']", question)
    if quoted:
        return quoted[1]
    words = re.findall(r"[^\W\d_][\w'-]*", question)
    proper = [word for word in words[1:] if word[0].isupper() and len(word) > 1]
    return str((proper or words or ["anything"])[-1])

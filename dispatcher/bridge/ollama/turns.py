"""The turns of an Ollama conversation, and their mapping to ours; it knows nothing else of the request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from common.errors import BadRequest
from dispatcher.bridge.openai.turns import image as data_uri
from dispatcher.bridge.openai.turns import plain
from dispatcher.bridge.reading import Body


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class CalledFunction(Body):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    arguments: dict[str, Any] | None = Field(None, description="an object; OpenAI's API has a text here")


class OllamaToolCall(Body):
    id: str | None = None
    function: CalledFunction


Images = Annotated[list[str], Field(max_length=16, fail_fast=True, description="base64, without a data-URI head")]


class OllamaMessage(Body):
    """One message of the conversation. `thinking` of earlier answers is not sent on."""

    role: Annotated[Literal["system", "developer", "user", "assistant", "tool"], BeforeValidator(_lower)]
    content: str | None = None
    images: Images | None = None
    tool_calls: Annotated[list[OllamaToolCall], Field(max_length=64)] | None = None
    tool_name: str | None = Field(
        None, description="whose result this is; or else `tool_call_id`, or the order of the calls"
    )
    tool_call_id: str | None = None
    name: str | None = Field(None, description="an older name of tool_name")


def to_messages(turns: Sequence[OllamaMessage]) -> tuple[dict[str, Any], ...]:
    """Map the turns. Raises `BadRequest` where there is nothing to answer, and for images that can't be read."""
    calls = _Calls()
    messages = tuple(_message(turn, f"messages.{index}", calls) for index, turn in enumerate(turns))
    if not any(one["content"].strip() or one.get("images") or one.get("tool_calls") for one in messages):
        raise BadRequest("messages have no text: write what you want to ask", param="messages")
    return messages


def spoken(role: str, content: str, images: Sequence[str], where: str) -> dict[str, Any]:
    """Make a message of text and images: all that come over this API pass here. Raises `BadRequest`."""
    message: dict[str, Any] = {"role": role, "content": content}
    if images:
        message["images"] = tuple(_image(one, f"{where}.{index}") for index, one in enumerate(images))
    return message


class _Calls:
    """The calls of the conversation so far: a result may name its own by id, or stand in their order."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._open: list[str] = []

    def made(self, calls: Sequence[OllamaToolCall]) -> None:
        self._names |= {call.id: call.function.name for call in calls if call.id}
        self._open = [call.function.name for call in calls]

    def answered(self, turn: OllamaMessage) -> str | None:
        """Give the function whose result a turn is."""
        told = turn.tool_name or turn.name or self._names.get(turn.tool_call_id or "")
        if told is None:
            return self._open.pop(0) if self._open else None
        if told in self._open:
            self._open.remove(told)
        return told


def _message(turn: OllamaMessage, where: str, calls: _Calls) -> dict[str, Any]:
    role = "system" if turn.role == "developer" else turn.role
    message = spoken(role, turn.content or "", turn.images or (), f"{where}.images")
    if role == "assistant" and turn.tool_calls:
        calls.made(turn.tool_calls)
        message["tool_calls"] = tuple(_call(call) for call in turn.tool_calls)
    if role == "tool":
        message |= {"tool_call_id": turn.tool_call_id, "tool_name": calls.answered(turn)}
    return {key: value for key, value in message.items() if value is not None}


def _call(call: OllamaToolCall) -> dict[str, Any]:
    called = {"name": call.function.name, "arguments": call.function.arguments or {}}
    return called if call.id is None else {**called, "id": call.id}


def _image(data: str, where: str) -> str:
    if data.startswith(("data:", "http://", "https://")):
        return data_uri(data, where)  # what Ollama does not take, and people send: it knows how to say no
    return plain(data, where)

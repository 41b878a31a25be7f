"""The input items of a response, and their mapping to our messages; it knows nothing else of the request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from common.errors import BadRequest, UnsupportedByModel
from dispatcher.bridge.openai.turns import arguments, image, refuse_empty, within
from dispatcher.bridge.reading import Body

Json = dict[str, Any]

ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}

HAS = {
    "input_text": "text",
    "output_text": "text",
    "text": "text",
    "refusal": "refusal",
    "input_image": "image_url",
}
"""What each part says it in; an image may else be a file that somebody has uploaded, and nothing is kept here."""

THOUGHTS = frozenset({"reasoning", "compaction"})
"""What a provider remembers of its own thinking; clients send it back with the rest, and no device can read it."""


class NamedImage(Body):
    url: str


class InputPart(Body):
    """A piece of a message."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | NamedImage | None = None


Content = str | Annotated[list[InputPart], Field(max_length=1000, fail_fast=True)]


class InputItem(Body):
    """A message, a call of a function, or what that gave. Without a type it is a message."""

    type: str = "message"
    role: str | None = None
    content: Content | None = None
    call_id: str | None = None
    name: Annotated[str, Field(max_length=200)] | None = None
    arguments: str | None = None
    output: Content | None = None


def to_messages(given: str | Sequence[InputItem], instructions: str | None) -> tuple[Json, ...]:
    """Map the input. Raises `BadRequest` and `UnsupportedByModel`, with the field in `param`."""
    messages: list[Json] = [{"role": "system", "content": instructions}] if instructions else []
    first = len(messages)
    if isinstance(given, str):
        messages.append({"role": "user", "content": given})
    else:
        names: dict[str, str] = {}
        for index, item in enumerate(given):
            _add(messages, item, f"input[{index}]", names)
    if len(messages) == first or not messages[-1].get("tool_calls"):
        refuse_empty(messages[first:] or [{"role": "user", "content": ""}], "input", _last(given))
    return tuple(messages)


def _last(given: str | Sequence[InputItem]) -> str:
    """Say where the last word stands; thoughts are none."""
    if isinstance(given, str):
        return "input"
    said = [index for index, item in enumerate(given) if item.type not in THOUGHTS]
    return f"input[{said[-1]}].content" if said else "input"


def _add(messages: list[Json], item: InputItem, where: str, names: dict[str, str]) -> None:
    match item.type:
        case "message":
            messages.append(_message(item, where))
        case "function_call":
            _add_call(messages, item, where, names)
        case "function_call_output":
            text, images = _content(item.output, f"{where}.output")
            # A call is answered by its id here, and by the function's name at Ollama: that stands where the call was made.
            told = {"tool_call_id": item.call_id, "tool_name": names.get(item.call_id or "", item.name)}
            known = {key: value for key, value in told.items() if value is not None}
            messages.append({"role": "tool", "content": text, **known, **({"images": images} if images else {})})
        case "item_reference":
            raise UnsupportedByModel(
                f"{where} is a reference, and nothing is kept: send the item itself", param=f"{where}.type"
            )
        case kind if kind not in THOUGHTS:
            what = "the fleet takes message, function_call and function_call_output"
            raise UnsupportedByModel(f"{where}.type is {kind[:40]!r}: {what}", param=f"{where}.type")


def _message(item: InputItem, where: str) -> Json:
    role = ROLES.get(item.role or "")
    if role is None:
        named = "missing" if item.role is None else repr(item.role[:40])
        raise BadRequest(f"{where}.role is {named}: send one of {', '.join(ROLES)}", param=f"{where}.role")
    text, images = _content(item.content, f"{where}.content")
    return {"role": role, "content": text, **({"images": images} if images else {})}


def _add_call(messages: list[Json], item: InputItem, where: str, names: dict[str, str]) -> None:
    """Add a call to the turn that it belongs to: one answer's text and calls are items of their own here."""
    if not item.name:
        raise BadRequest(f"{where}.name is missing: which function was called?", param=f"{where}.name")
    called: Json = {"name": item.name, "arguments": arguments(item.arguments or "", f"{where}.arguments")}
    if item.call_id:
        names[item.call_id] = item.name
        called["id"] = item.call_id
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": ""})
    messages[-1]["tool_calls"] = (*messages[-1].get("tool_calls", ()), called)


def _content(content: Content | None, where: str) -> tuple[str, tuple[str, ...]]:
    if content is None or isinstance(content, str):
        return content or "", ()
    texts, images = [], []
    for index, part in enumerate(content):
        here = f"{where}[{index}]"
        match part.type:
            case "input_text" | "output_text" | "text" if part.text is not None:
                texts.append(part.text)
            case "refusal" if part.refusal is not None:
                texts.append(part.refusal)
            case "input_image" if isinstance(part.image_url, str):
                images.append(image(part.image_url, f"{here}.image_url"))
            case "input_image" if isinstance(part.image_url, NamedImage):
                images.append(image(part.image_url.url, f"{here}.image_url.url"))
            case kind if (missing := HAS.get(kind)) is not None:
                raise UnsupportedByModel(
                    f"{here}.{missing} is missing: all that the fleet takes of a part of type {kind}",
                    param=f"{here}.{missing}",
                )
            case _:
                what = f"the fleet takes {', '.join(HAS)}"
                raise UnsupportedByModel(f"{here}.type is {part.type[:40]!r}: {what}", param=f"{here}.type")
    return "\n".join(texts), tuple(within(images, where))

"""The turns of an OpenAI conversation, and their mapping to ours; it knows nothing else of the request."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from common import codec
from common.errors import BadRequest, UnsupportedByModel
from common.messages import MOST_IMAGES

IMAGE_TYPES = ("jpeg", "jpg", "png", "webp", "gif")
_LOOKED_AT = 1024
"""Characters at either end of an image, a multiple of four."""

_DATA_URI = re.compile(rf"data:(?:image/(?:{'|'.join(IMAGE_TYPES)}))?;base64,")


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class ImageUrl(_Part):
    url: str


class ContentPart(_Part):
    """A piece of a turn. `image_url` may also be the bare URL, as some clients have it."""

    type: str
    text: str | None = None
    image_url: ImageUrl | str | None = None


class FunctionCall(_Part):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    arguments: str = ""


class CalledTool(_Part):
    id: str | None = None
    type: Literal["function"] = "function"
    function: FunctionCall


class Turn(_Part):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[ContentPart], Field(fail_fast=True)] | None = Field(
        None,
        description="text, or parts of type text and image_url (base64 data URIs only: the bridge fetches nothing)",
    )
    tool_calls: Annotated[list[CalledTool], Field(max_length=64)] | None = None
    tool_call_id: str | None = None
    name: str | None = None


def to_messages(turns: Sequence[Turn]) -> tuple[dict[str, Any], ...]:
    """Map the turns. Raises `BadRequest` for an empty last word, images that can't be read and calls that aren't JSON."""
    names: dict[str, str] = {}
    messages = []
    for index, turn in enumerate(turns):
        where = f"messages[{index}]"
        names |= {call.id: call.function.name for call in turn.tool_calls or [] if call.id}
        messages.append(_message(turn, where, names))
    refuse_empty(messages, "messages", f"messages[{len(messages) - 1}].content")
    return tuple(messages)


def _message(turn: Turn, where: str, names: dict[str, str]) -> dict[str, Any]:
    text, images = _content(turn.content, f"{where}.content")
    message: dict[str, Any] = {"role": "system" if turn.role == "developer" else turn.role, "content": text}
    if images:
        message["images"] = tuple(images)
    if turn.role == "assistant" and turn.tool_calls:
        message["tool_calls"] = tuple(_call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(turn.tool_calls))
    if turn.role == "tool":
        # OpenAI answers a call by its id, Ollama by the function's name: the name stands where the call was made.
        name = names.get(turn.tool_call_id or "", turn.name)
        message |= {"tool_call_id": turn.tool_call_id, "tool_name": name}
    return {key: value for key, value in message.items() if value is not None}


def refuse_empty(messages: Sequence[dict[str, Any]], field: str, where: str) -> None:
    """Raise `BadRequest` for an empty last word, or none at all; `field` is where they were, and `where` the last of them."""
    last = messages[-1]
    if last["role"] == "user" and not last["content"].strip() and not last.get("images"):
        raise BadRequest(f"{where} is empty: write what you want to ask", param=where)
    if not any(message["content"].strip() or message.get("images") for message in messages):
        raise BadRequest(f"{field} have no text: write what you want to ask", param=field)


def _content(content: str | list[ContentPart] | None, where: str) -> tuple[str, list[str]]:
    if content is None or isinstance(content, str):
        return content or "", []
    texts, images = [], []
    for index, part in enumerate(content):
        here = f"{where}[{index}]"
        match part.type:
            case "text" if part.text is not None:
                texts.append(part.text)
            case "image_url" if isinstance(part.image_url, str):
                images.append(image(part.image_url, f"{here}.image_url"))
            case "image_url" if isinstance(part.image_url, ImageUrl):
                images.append(image(part.image_url.url, f"{here}.image_url.url"))
            case "text" | "image_url" as missing:
                raise BadRequest(
                    f"{here}.{missing} is missing: a part of type {missing} has one", param=f"{here}.{missing}"
                )
            case _:
                raise UnsupportedByModel(
                    f"{here}.type is {part.type[:40]!r}: the fleet takes text and image_url", param=f"{here}.type"
                )
    return "\n".join(texts), within(images, where)


def within(images: list[str], where: str) -> list[str]:
    """Give the images of one turn. Raises `BadRequest` for more than travel with it."""
    if len(images) > MOST_IMAGES:
        raise BadRequest(f"{where} has {len(images)} images: {MOST_IMAGES} are taken in one turn", param=where)
    return images


def image(url: str, where: str) -> str:
    """Give the base64 of a data URI. Raises `BadRequest` for web addresses, other types and broken base64."""
    if url.startswith(("http://", "https://")):
        raise BadRequest(
            f"{where} is a web address, and the bridge fetches nothing: send the image as data:image/png;base64,…",
            param=where,
        )
    head = _DATA_URI.match(url)
    if head is None:
        raise BadRequest(f"{where} is no image: send data:image/{{{','.join(IMAGE_TYPES)}}};base64,…", param=where)
    return plain(url[head.end() :], where)


def plain(data: str, where: str) -> str:
    """Give base64 that begins and ends as such. Raises `BadRequest`. All of it is read by the process that reads the image: 20 MB
    would keep everybody waiting here."""
    ends = data if len(data) <= 2 * _LOOKED_AT else data[:_LOOKED_AT] + data[-_LOOKED_AT - len(data) % 4 :]
    try:
        decoded = base64.b64decode(ends, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"{where} is not base64 ({error})", param=where) from error
    if not decoded:
        raise BadRequest(f"{where} is an empty image", param=where)
    return data


def _call(call: CalledTool, where: str) -> dict[str, Any]:
    """Map a call that the model made before. Its arguments are a JSON text at OpenAI and an object here."""
    called = {
        "name": call.function.name,
        "arguments": arguments(call.function.arguments, f"{where}.function.arguments"),
    }
    return called if call.id is None else {**called, "id": call.id}


def arguments(given: str, where: str) -> dict[str, Any]:
    """Read the arguments of a call, a JSON text. Raises `BadRequest` for what is no object."""
    text = given.strip() or "{}"
    if not text.startswith("{"):
        raise BadRequest(f"{where} is not a JSON object in a string", param=where)
    try:
        return codec.decode_request(text.encode())
    except (BadRequest, UnicodeEncodeError) as error:
        raise BadRequest(f"{where} is not a JSON object in a string: {error}", param=where) from error

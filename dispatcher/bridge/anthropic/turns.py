"""The turns of an Anthropic conversation, and their mapping to ours; it knows nothing else of the request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from common.errors import BadRequest, UnsupportedByModel
from dispatcher.bridge.openai.turns import IMAGE_TYPES, plain, within
from dispatcher.bridge.reading import Body

Json = dict[str, Any]

HAS = {"text": "text", "image": "source"}
"""What a block says it in, by its type."""

MEDIA_TYPES = tuple(f"image/{kind}" for kind in IMAGE_TYPES)

THOUGHTS = frozenset({"thinking", "redacted_thinking"})
"""What a model thought before; clients send it back, and no device can read another's."""

FAILED = "Error: "
"""Stands before what a tool gave that failed: the devices know no other way to say so."""


class NamedSource(Body):
    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None


class Block(Body):
    """A piece of a turn; which fields count, its type tells."""

    type: str
    text: str | None = None
    source: NamedSource | None = None
    id: str | None = None
    name: Annotated[str, Field(max_length=200)] | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | Annotated[list[Block], Field(fail_fast=True)] | None = None
    is_error: bool | None = None


Blocks = str | Annotated[list[Block], Field(max_length=1000, fail_fast=True)]


class MessageTurn(Body):
    """One message of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: Blocks


def to_messages(turns: Sequence[MessageTurn], system: Blocks | None) -> tuple[Json, ...]:
    """Map the turns. Raises `BadRequest` and `UnsupportedByModel`, with the field in `param`."""
    messages: list[Json] = []
    told = _blocks(system, "system")
    if told.images and not isinstance(system, str):
        where = f"system.{next(index for index, block in enumerate(system or []) if block.type == 'image')}.type"
        raise UnsupportedByModel(f"{where} is 'image': images stand in a user's turn", param=where)
    if any(told.texts):
        messages.append(told.message("system"))
    names: dict[str, str] = {}
    for index, turn in enumerate(turns):
        messages.extend(_turn(turn, f"messages.{index}", names))
    last = messages[-1] if messages else {"role": "user", "content": ""}
    if last["role"] == "user" and not last["content"].strip() and not last.get("images"):
        where = f"messages.{len(turns) - 1}.content"
        raise BadRequest(f"{where} is empty: write what you want to ask", param=where)
    return tuple(messages)


def _turn(turn: MessageTurn, where: str, names: dict[str, str]) -> Iterator[Json]:
    """Give the messages of a turn: what tools gave stands in the user's turn there, and in messages of its own here."""
    if isinstance(turn.content, str):
        yield {"role": turn.role, "content": turn.content}
        return
    said, results = _Said(), 0
    for index, block in enumerate(turn.content):
        here = f"{where}.content.{index}"
        if block.type == "tool_result" and turn.role == "user":
            results += 1
            yield _result(block, here, names)
        elif block.type == "tool_use" and turn.role == "assistant":
            said.calls.append(_call(block, here, names))
        elif block.type not in THOUGHTS:
            said.add(block, here)
    within(said.images, f"{where}.content")
    if said.has_any or not results:
        yield said.message(turn.role)


class _Said:
    """What one turn says itself."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.images: list[str] = []
        self.calls: list[Json] = []

    @property
    def has_any(self) -> bool:
        return bool(self.texts or self.images or self.calls)

    def add(self, block: Block, where: str) -> None:
        match block.type:
            case "text" if block.text is not None:
                self.texts.append(block.text)
            case "image" if block.source is not None:
                self.images.append(_image(block.source, f"{where}.source"))
            case kind if (missing := HAS.get(kind)) is not None:
                where = f"{where}.{missing}"
                raise UnsupportedByModel(f"{where} is missing: a block of type {kind} has one", param=where)
            case kind:
                raise _unknown(kind, f"{where}.type")

    def message(self, role: str) -> Json:
        """Give it as one message."""
        found = {"images": tuple(self.images), "tool_calls": tuple(self.calls)}
        return {
            "role": role,
            "content": "\n".join(self.texts),
            **{key: value for key, value in found.items() if value},
        }


def _call(block: Block, where: str, names: dict[str, str]) -> Json:
    if not block.name:
        raise BadRequest(f"{where}.name is missing: which tool was used?", param=f"{where}.name")
    called: Json = {"name": block.name, "arguments": block.input or {}}
    if not block.id:
        return called
    names[block.id] = block.name
    return {**called, "id": block.id}


def _result(block: Block, where: str, names: dict[str, str]) -> Json:
    given = _blocks(block.content, f"{where}.content").message("tool")
    told = {"tool_call_id": block.tool_use_id, "tool_name": names.get(block.tool_use_id or "")}
    text = given["content"]
    known = {key: value for key, value in told.items() if value is not None}
    return {**given, "content": f"{FAILED}{text}" if block.is_error else text, **known}


def _blocks(content: Blocks | None, where: str) -> _Said:
    said = _Said()
    if isinstance(content, str):
        said.texts.append(content)
    else:
        for index, block in enumerate(content or []):
            said.add(block, f"{where}.{index}")
    within(said.images, where)
    return said


def _image(source: NamedSource, where: str) -> str:
    if source.type != "base64":
        what = "the bridge fetches and keeps nothing: send the image as base64"
        raise UnsupportedByModel(f"{where}.type is {source.type[:40]!r}: {what}", param=f"{where}.type")
    if source.media_type and source.media_type not in MEDIA_TYPES:
        where = f"{where}.media_type"
        raise BadRequest(f"{where} is {source.media_type[:40]!r}: send one of {', '.join(MEDIA_TYPES)}", param=where)
    return plain(source.data or "", f"{where}.data")


def _unknown(kind: str, where: str) -> UnsupportedByModel:
    what = "the fleet takes text, image, tool_use (of an assistant) and tool_result (of a user)"
    return UnsupportedByModel(f"{where} is {kind[:40]!r}: {what}", param=where)

"""Bytes to values and back: JSON for what people read, MessagePack between our own processes.

The first byte tells them apart: a JSON object starts with `{` (or white space), which MessagePack would read as a small
integer, never as a map. This module knows no message; it is the only one that imports msgpack and orjson.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

import msgpack  # type: ignore[import-untyped]  # it ships no annotations
import orjson
from pydantic import TypeAdapter, ValidationError

from common.errors import BadRequest

T = TypeVar("T")

MAX_DEPTH = 64
"""No honest request nests deeper: an OpenAI tool schema stays below 20 levels."""

_JSON_STARTS = frozenset(b'{[ \t\r\n"')
_MAP_STARTS = frozenset([*range(0x80, 0x90), 0xDE, 0xDF])


class Encoding(Enum):
    """How a payload is written; an answer is written as its request was."""

    JSON = "json"
    MSGPACK = "msgpack"


def sniff(payload: bytes) -> Encoding:
    """Tell the encoding by the first byte. Anything that is not a MessagePack map counts as JSON, also garbage,
    since the error then goes to a person."""
    return Encoding.MSGPACK if payload and payload[0] in _MAP_STARTS else Encoding.JSON


def decode(payload: bytes) -> dict[str, Any]:
    """Read one object. Raises `BadRequest` for anything else: not JSON, bad UTF-8, too deep, no object."""
    if not payload:
        raise BadRequest('the payload is empty: send an object such as {"prompt":"hi"}')
    value = _unpack(payload) if sniff(payload) is Encoding.MSGPACK else _parse(payload)
    if not isinstance(value, dict):
        raise BadRequest(f'the payload is a {type(value).__name__}: send an object such as {{"prompt":"hi"}}')
    return value


def decode_request(payload: bytes) -> dict[str, Any]:
    """Read one object from a stranger: as `decode`, and nothing nested deeper than `MAX_DEPTH`."""
    value = decode(payload)
    if _too_deep(value, MAX_DEPTH):
        raise BadRequest(f"the payload nests deeper than {MAX_DEPTH} levels: flatten it")
    return value


def encode(value: Mapping[str, Any], encoding: Encoding = Encoding.JSON) -> bytes:
    """Write one object."""
    if encoding is Encoding.MSGPACK:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
        return packed
    return orjson.dumps(value, default=str)


def encode_pretty(value: Any) -> str:
    """Write JSON for people to read, indented."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _parse(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f'the payload is not JSON ({error}): send an object such as {{"prompt":"hi"}}') from error


def _unpack(payload: bytes) -> Any:
    try:
        return msgpack.unpackb(payload, raw=False, strict_map_key=True)
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise BadRequest(f"the payload is not MessagePack ({type(error).__name__}: {error})") from error


def _too_deep(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        return depth == 0 or any(_too_deep(child, depth - 1) for child in value.values())
    if isinstance(value, list):
        return depth == 0 or any(_too_deep(child, depth - 1) for child in value)
    return False


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _adapter(cls: type[T]) -> TypeAdapter[T]:
    """Give the adapter of a dataclass; building one takes a thousand times as long as using it."""
    adapter = _ADAPTERS.get(cls)
    if adapter is None:
        adapter = _ADAPTERS[cls] = TypeAdapter(cls)
    return adapter


def build(cls: type[T], wire: Mapping[str, Any]) -> T:
    """Validate an object into the dataclass `cls`. Raises `BadRequest` that names every wrong field at once."""
    try:
        return _adapter(cls).validate_python(wire)
    except ValidationError as error:
        raise BadRequest(explain(error), param=_where(error)) from error


def plain(value: Any) -> dict[str, Any]:
    """Turn a dataclass into what `encode` takes; absent (`None`) fields are left out."""
    wire: dict[str, Any] = _adapter(type(value)).dump_python(value, exclude_none=True)
    return wire


def explain(error: ValidationError, *, name: Callable[[str], str] = str) -> str:
    """Say in one line what is wrong with every field: its name, what was expected, the value that came."""
    faults = []
    for fault in error.errors(include_url=False, include_context=False):
        where = name(".".join(str(part) for part in fault["loc"]) or "payload")
        faults.append(f"{where}: {fault['msg']} (got {_short(fault['input'])})")
    return "; ".join(faults[:8])


def _where(error: ValidationError) -> str:
    path = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
    return str(path[0]) if path else "payload"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

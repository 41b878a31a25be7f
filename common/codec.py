"""Bytes to values and back: JSON for what people read, MessagePack between our own processes.

The first byte tells them apart: a JSON object starts with `{` (or white space), which MessagePack would read as a small
integer, never as a map. This module knows no message; it is the only one that imports msgpack and orjson.
"""

from __future__ import annotations

import gc
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import chain
from types import MappingProxyType
from typing import Any, TypeVar, get_type_hints

import msgpack  # type: ignore[import-untyped]  # it ships no annotations
import orjson
from pydantic import TypeAdapter, ValidationError

from common.errors import BadRequest

T = TypeVar("T")

MAX_FAULTS = 8
"""So many wrong fields are told at once: more help nobody, and may be made by the thousand."""

MAX_PLACE = 200
"""Characters of the name of a field; the longest of ours, with all that it stands in, has 80."""

MAX_LOOKED_AT = 200
"""Of those so many are looked at, to tell which are meant."""

MAX_DEPTH = 64
"""No honest request nests deeper: an OpenAI tool schema stays below 20 levels."""

_MAX_NESTED = 100_000
"""A thousand messages with all their images and calls have a tenth of it."""

_LARGE_BYTES = 64 * 1024
"""What is smaller is read within a millisecond, whatever it holds."""

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
        raise BadRequest(f'the payload is {kind(value)}: send an object such as {{"prompt":"hi"}}')
    return value


def decode_all(payload: bytes) -> list[dict[str, Any]]:
    """Read one object, or several that stand one after the other, which MessagePack allows. Raises `BadRequest`."""
    if sniff(payload) is not Encoding.MSGPACK:
        return [decode(payload)]
    unpacker = msgpack.Unpacker(
        raw=False, strict_map_key=True, max_array_len=_MAX_NESTED, max_map_len=_MAX_NESTED, max_buffer_size=len(payload)
    )
    unpacker.feed(payload)
    values, read_bytes = [], 0
    try:
        while read_bytes < len(payload):
            values.append(unpacker.unpack())
            read_bytes = unpacker.tell()
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise BadRequest(f"the payload is not MessagePack ({type(error).__name__}: {error})") from error
    if not all(isinstance(value, dict) for value in values):
        raise BadRequest("the payload is not MessagePack objects, one after the other")
    return values


def decode_request(payload: bytes) -> dict[str, Any]:
    """Read one object from a stranger: as `decode`, nothing nested deeper than `MAX_DEPTH`, and every key is text."""
    with _collector_paused(len(payload)):
        value = decode(payload)
        _require_tame(value)
    return value


@contextmanager
def _collector_paused(size_bytes: int) -> Iterator[None]:
    """Keep the garbage collector from walking again and again through what is just being read.

    A megabyte of empty lists makes it run hundreds of times, which takes four times as long as reading them.
    """
    if size_bytes < _LARGE_BYTES or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def encode(value: Mapping[str, Any], encoding: Encoding = Encoding.JSON) -> bytes:
    """Write one object."""
    if encoding is Encoding.MSGPACK:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
        return packed
    return orjson.dumps(value, default=str)


def digest(value: Mapping[str, Any], chars: int = 32) -> str:
    """Give a short name of what an object says, 64 characters at most; the order of its keys does not matter. Raises `TypeError`
    for what JSON can't say."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:chars]


def encode_request(value: Mapping[str, Any]) -> bytes:
    """Write a producer's request, as MessagePack. Raises `BadRequest` that names the field whose text is no Unicode."""
    try:
        return encode(value, Encoding.MSGPACK)
    except UnicodeEncodeError as error:
        field, character = _lone_surrogate(value)
        field = field.encode(errors="backslashreplace").decode()  # it may be a key that can't be printed either
        raise BadRequest(
            f"{field}: the text has a character that can't be sent ({character!r}, half of one, as bytes that are not UTF-8 "
            "are read): read it as UTF-8, or leave the character out",
            param=field,
        ) from error


def _lone_surrogate(value: Any, field: str = "") -> tuple[str, str]:
    """Give the first field whose text can't be encoded, and the character; two empty texts when all can."""
    if isinstance(value, str):
        character = _SURROGATE.search(value)
        return (field, character[0]) if character else ("", "")
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for key, item in items:
        path = f"{field}.{key}" if field else str(key)
        for part in (key, item):
            if (found := _lone_surrogate(part, path)) != ("", ""):
                return found
    return "", ""


_SURROGATE = re.compile("[\ud800-\udfff]")


def place(data: bytes, at: int) -> str:
    """Say where in a text byte number `at` stands, as an editor counts."""
    line_start = data.rfind(b"\n", 0, at) + 1
    line = data.count(b"\n", 0, at) + 1
    return f"line {line}, byte {at - line_start + 1}: 0x{data[at]:02x}"


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
        return msgpack.unpackb(
            payload, raw=False, strict_map_key=True, max_array_len=_MAX_NESTED, max_map_len=_MAX_NESTED
        )
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise BadRequest(f"the payload is not MessagePack ({type(error).__name__}: {error})") from error


def _require_tame(value: dict[str, Any]) -> None:
    """Look at a level at a time: a call for each of a megabyte's half million values would take a tenth of a second."""
    lists: list[list[Any]] = []
    maps: list[dict[Any, Any]] = [value]
    for _ in range(MAX_DEPTH):
        # MessagePack carries bytes as keys; pydantic would describe each of them.
        if not set(map(type, chain.from_iterable(maps))) <= {str}:
            raise BadRequest("the payload has a key that is no text: MessagePack needs keys of type str")
        below: Iterable[Any] = chain(chain.from_iterable(lists), chain.from_iterable(map(dict.values, maps)))
        nested = [item for item in below if item.__class__ is list or item.__class__ is dict]
        if not nested:
            return
        if len(nested) > _MAX_NESTED:
            raise BadRequest(f"the payload has {len(nested)} lists and objects on one level: {_MAX_NESTED} are allowed")
        lists = [item for item in nested if item.__class__ is list]
        maps = [item for item in nested if item.__class__ is dict]
    raise BadRequest(f"the payload nests deeper than {MAX_DEPTH} levels: flatten it")


def require_writable(value: Any) -> Any:
    """Return `value`, or raise `ValueError` when an encoding can't write it: for validators of what has no fields of ours."""
    try:
        orjson.dumps(
            [[[[[[[[value]]]]]]]], option=_NOTHING_SPECIAL
        )  # what it will stand in nests too, and orjson counts
    except orjson.JSONEncodeError as error:
        raise ValueError(f"it can't be sent on ({error})") from error
    return value


_NOTHING_SPECIAL = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
"""orjson writes more types than MessagePack does; whatever JSON itself has, both write, in the same 64 bits."""


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
        raise refusal(error, inner=_inner(cls)) from error


def _inner(cls: type) -> Mapping[str, str]:
    """Give the path of each field of the objects in an object: people put it one level too high."""
    if not is_dataclass(cls):
        return {}
    hints = get_type_hints(cls)
    objects = [(one.name, hints[one.name]) for one in fields(cls) if is_dataclass(hints[one.name])]
    return {one.name: f"{name}.{one.name}" for name, kind in objects for one in fields(kind)}


def plain(value: Any) -> dict[str, Any]:
    """Turn a dataclass into what `encode` takes; absent (`None`) fields are left out."""
    wire: dict[str, Any] = _adapter(type(value)).dump_python(value, exclude_none=True)
    return wire


def refusal(
    error: ValidationError, *, name: Callable[[str], str] = str, inner: Mapping[str, str] = MappingProxyType({})
) -> BadRequest:
    """Give the error for its sender: one line that tells of each wrong field its name, what was expected and what came.

    `name` gives a field's path as the sender knows it, and `inner` where a name of no field would be one. `param` is the first
    wrong field.
    """
    # Asked once: of a stranger's payload this may have thousands of rows.
    faults = error.errors(include_url=False, include_context=False)[:MAX_LOOKED_AT]
    found = _innermost([(name(_path(fault["loc"])), fault) for fault in faults])[:MAX_FAULTS]
    # A field that there is not has whatever name its sender gave it.
    places = [place[:MAX_PLACE] or "payload" for place, _ in found]
    rows = [
        f"{place}: {expectation(fault)}{_elsewhere(fault, inner)}{_got(place, fault['input'])}"
        for place, (_, fault) in zip(places, found, strict=True)
    ]
    return BadRequest("; ".join(rows), param=places[0])


def _innermost(faults: list[tuple[str, T]]) -> list[tuple[str, T]]:
    """Leave out those of a field in which something else is wrong: what may be a text or a list is both to pydantic, and a list
    with one wrong item is told to be no text as well."""
    outer = {place[: mark.start()] for place, _ in faults for mark in _STEP.finditer(place)}
    return [(place, fault) for place, fault in faults if place not in outer]


_STEP = re.compile(r"[.[]")


def _got(place: str, value: Any) -> str:
    """Quote what came, unless the field is named like a secret, rightly spelt or not: refusals end up in logs."""
    return "" if "key" in place.lower() else f" (got {_short(value)})"


def _elsewhere(fault: Mapping[str, Any], inner: Mapping[str, str]) -> str:
    unknown = _EXPECTED.get(fault["type"]) == _NO_FIELD and len(fault["loc"]) == 1
    return f": write {inner[fault['loc'][0]]}" if unknown and fault["loc"][0] in inner else ""


def _path(loc: tuple[int | str, ...]) -> str:
    """Name a field as JSON does: pydantic puts the type that it tried for a union into the path."""
    return ".".join(str(part) for part in loc if not _TRIED.match(str(part)))


_TRIED = re.compile(r"(literal|function-\w+|dict|list|tuple)\[")


def expectation(fault: Mapping[str, Any]) -> str:
    """Say what a fault of pydantic's wanted, in the words of JSON and not of Python."""
    return _EXPECTED.get(fault["type"]) or _PYTHON.sub(lambda word: _JSON[word[0]], fault["msg"])


_NO_FIELD = "There is no such field"
_EXPECTED = {
    "tuple_type": "Input should be a list",
    "list_type": "Input should be a list",
    "dict_type": "Input should be an object",
    "dataclass_type": "Input should be an object",
    "model_type": "Input should be an object",
    "model_attributes_type": "Input should be an object",
    "bool_type": "Input should be true or false",
    "bool_parsing": "Input should be true or false",
    "none_required": "Input should be null",
    "unexpected_keyword_argument": _NO_FIELD,
    "extra_forbidden": _NO_FIELD,
}
_JSON = {"Value error, ": "", "Tuple": "List", "Dictionary": "Object", " after validation": ""}
_PYTHON = re.compile("|".join(f"^{word}" if word[0] != " " else word for word in _JSON))


def kind(value: Any) -> str:
    """Say what a value is, in the words of JSON."""
    if value is None or isinstance(value, bool):
        return _short(value)
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str):
        return "a string"
    return "a number" if isinstance(value, int | float) else f"of type {type(value).__name__}"


def _short(value: Any) -> str:
    """Show a value. What has parts is only counted: to write out a megabyte of them takes longer than to refuse it."""
    if value is None or isinstance(value, bool):
        return str(orjson.dumps(value), "ascii")
    if isinstance(value, dict):
        return f"an object of {len(value)}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "[]"
    text = repr(value[:60]) if isinstance(value, str | bytes) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

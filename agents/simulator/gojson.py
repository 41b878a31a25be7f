"""Decodes request bodies with the strictness and the words of Go's encoding/json; it does not know any endpoint.

Ollama answers a wrong body with Go's own message. Clients show these to people, so the common ones are reproduced:
a missing body, a syntax error, and a value of the wrong type for a field.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


class BadBody(ValueError):
    """The body can't be used; the message is the one Ollama answers with."""


def decode_object(body: bytes, *, struct: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """Decode a JSON object and check the types of its known fields.

    `fields` maps field names to Go types as they stand in Ollama's structs; unknown fields are dropped, null counts as
    absent, as in Go. Raise BadBody.
    """
    if not body.strip():
        raise BadBody("missing request body")
    value = _decode(body)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadBody(f"json: cannot unmarshal {_kind(value)} into Go value of type api.{struct}")
    for name, go_type in fields.items():
        check(value.get(name), go_type, f"{struct}.{name}")
    return {name: value[name] for name in fields if value.get(name) is not None}


def check(value: object, go_type: str, where: str) -> None:
    """Raise BadBody unless the value fits the Go type; null always fits."""
    if value is not None and not _fits(value, go_type):
        shown = go_type.removeprefix("*")
        raise BadBody(f"json: cannot unmarshal {_kind(value)} into Go struct field {where} of type {shown}")


def _decode(body: bytes) -> Any:
    # Go replaces bytes that are no UTF-8; it does not refuse them.
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise BadBody("json: exceeded max depth") from None
    except json.JSONDecodeError as error:
        raise BadBody(_syntax_error(text, error)) from None
    except ValueError as error:
        if isinstance(error, BadBody):
            raise
        raise BadBody("json: cannot unmarshal number into Go value of type float64") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BadBody(f"json: cannot unmarshal number {text} into Go value of type float64")
    return value


def _no_constant(name: str) -> None:
    raise BadBody(f"invalid character {name[0]!r} looking for beginning of value")


def _syntax_error(text: str, error: json.JSONDecodeError) -> str:
    rest = text[error.pos :].lstrip()
    if not rest or error.msg.startswith("Unterminated"):
        return "unexpected EOF"
    char = rest[0]
    quoted = "'\\''" if char == "'" else f"'{char}'"
    place = {
        "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
        "Illegal trailing comma before end of object": "looking for beginning of object key string",
        "Expecting ':' delimiter": "after object key",
        "Expecting ',' delimiter": "after object key:value pair",
        "Extra data": "after top-level value",
    }.get(error.msg, "looking for beginning of value")
    return f"invalid character {quoted} {place}"


def _kind(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _fits(value: object, go_type: str) -> bool:
    if go_type.startswith("[]"):
        return isinstance(value, list)
    match go_type.removeprefix("*"):
        case "string":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "map[string]interface {}" | "api.Message" | "api.Tool":
            return isinstance(value, dict)
        case _:  # any: api.Duration, api.ThinkValue and json.RawMessage have decoders of their own
            return True

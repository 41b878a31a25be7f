"""Writes JSON for a requested format: an object for "json", a value that fits for a schema; it knows no model.

Of JSON Schema it follows what structured-output clients send: type, properties, required, items, enum, const, anyOf, oneOf,
allOf, $ref into the same document, minItems, minimum, maximum, minLength, maxLength. Patterns and formats are not followed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.simulator import judging

_DEEPEST = 8


def fill(wanted: object, *, label: str, topic: str, question: str = "") -> str:
    """Write JSON text for a format; free strings carry the label, so that the text stays marked as simulated. What a schema bounds
    on both sides, or enumerates, is taken for a judgement of the question.

    Raise ValueError for a schema that is none.
    """
    sample = _Sample(f"{label}{topic}", question)
    if not isinstance(wanted, Mapping):
        return json.dumps({"simulated": True, "answer": sample.text}, ensure_ascii=False)
    try:
        value = _value(wanted, wanted, sample, 0)
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError("a keyword of the schema has a value of the wrong type") from error
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class _Sample:
    """What values are made of."""

    text: str
    question: str


def _value(schema: object, root: Mapping[str, Any], sample: _Sample, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return judging.chosen(sample.question, schema["enum"])
    inner = _alternative(schema, root)
    if inner is not None:
        return _value(inner, root, sample, depth + 1)
    return _typed(schema, root, sample, depth)


def _alternative(schema: Mapping[str, Any], root: Mapping[str, Any]) -> object:
    """Give the schema that stands for this one, if it is a reference or a choice; null only when nothing else is left."""
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _resolved(reference, root)
    for keyword in ("anyOf", "oneOf"):
        choices = schema.get(keyword)
        if isinstance(choices, list) and choices:
            real = [choice for choice in choices if not (isinstance(choice, Mapping) and choice.get("type") == "null")]
            return (real or choices)[0]
    parts = schema.get("allOf")
    if isinstance(parts, list) and parts:
        return _merged(schema, parts, root)
    return None


def _resolved(reference: str, root: Mapping[str, Any]) -> object:
    node: object = root
    for step in reference.removeprefix("#/").split("/"):
        node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) else None
    return node if isinstance(node, Mapping) else {}


def _merged(schema: Mapping[str, Any], parts: list[Any], root: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    for part in parts:
        known = _resolved(part["$ref"], root) if isinstance(part, Mapping) and "$ref" in part else part
        if isinstance(known, Mapping):
            properties = {**merged.get("properties", {}), **known.get("properties", {})}
            merged = {**merged, **known} | ({"properties": properties} if properties else {})
    return merged


def _typed(schema: Mapping[str, Any], root: Mapping[str, Any], sample: _Sample, depth: int) -> Any:
    kind = _kind(schema)
    match kind:
        case "object":
            properties = schema.get("properties", {})
            return {name: _value(inner, root, sample, depth + 1) for name, inner in properties.items()}
        case "array":
            count = max(int(schema.get("minItems", 1)), 0)
            return [_value(schema.get("items", {}), root, sample, depth + 1) for _ in range(count)]
        case "integer" | "number":
            judged = _judged(schema, sample.question)
            usual = 1.0 if kind == "integer" else 1.5
            number = _within(schema, usual if judged is None else judged)
            return int(number) if kind == "integer" else number
        case "boolean" | "null":
            return True if kind == "boolean" else None
        case _:
            padded = sample.text.ljust(int(schema.get("minLength", 0)), ".")
            return padded[: int(schema["maxLength"])] if "maxLength" in schema else padded


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((str(name) for name in kind if name != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _judged(schema: Mapping[str, Any], question: str) -> float | None:
    """Give how hard the question is on the scale from 0 to 1 or more that a schema names; None for other numbers."""
    if schema.get("minimum") != 0 or "maximum" not in schema:
        return None
    return float(schema["maximum"]) * judging.difficulty(question)


def _within(schema: Mapping[str, Any], value: float) -> float:
    """Move a number into the schema's bounds; an exclusive bound is kept by a distance of one."""
    least = [schema["minimum"]] if "minimum" in schema else []
    least += [schema["exclusiveMinimum"] + 1] if "exclusiveMinimum" in schema else []
    most = [schema["maximum"]] if "maximum" in schema else []
    most += [schema["exclusiveMaximum"] - 1] if "exclusiveMaximum" in schema else []
    return float(min([max([value, *least]), *most]))

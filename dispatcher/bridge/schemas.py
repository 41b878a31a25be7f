"""From the types that say what is sent to JSON schemas; it knows neither routes nor what they answer.

Answers are described by the dataclass that they are written from, or by a `TypedDict` beside the code that writes them: both cost
next to nothing until somebody asks for the description.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

Json = dict[str, Any]

REF = "#/components/schemas/{model}"

Way = Literal["validation", "serialization"]
"""Whether something is read or written."""

_NULL: Json = {"type": "null"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """`Annotated[A | B, Together()]` has the fields of both at once; `only` those of B, or all `without` some."""

    only: Collection[str] | None = None
    without: Collection[str] = ()

    def __get_pydantic_json_schema__(self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        own, other = map(handler.resolve_ref_schema, handler(core)["anyOf"])
        taken = {
            name: one
            for name, one in other["properties"].items()
            if name not in self.without and (self.only is None or name in self.only)
        }
        needed = [name for name in other.get("required", ()) if name in taken]
        merged = {**own, "properties": {**taken, **own["properties"]}}
        return {**merged, "required": sorted({*needed, *own.get("required", ())})}


class AsWritten(GenerateJsonSchema):
    """Describes what is written: a dataclass without what is absent of it, and with all else, as `codec.plain` writes it. There are
    no fields but those that are described, unless a type says so."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Names of fields say nothing again in capitals: an answer has hundreds."""
        return self.mode == "validation" and super().field_title_should_be_set(schema)

    def dataclass_args_schema(self, schema: core_schema.DataclassArgsSchema) -> Json:
        found = super().dataclass_args_schema(schema)
        if self.mode == "serialization":
            given = found["properties"]
            found["required"] = [name for name, one in given.items() if _NULL not in one.get("anyOf", ())]
            found["properties"] = {name: _present(one) for name, one in given.items()}
        return found

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> Json:
        return self._closed(super().dataclass_schema(schema))

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> Json:
        return self._closed(super().typed_dict_schema(schema))

    def model_schema(self, schema: core_schema.ModelSchema) -> Json:
        return self._closed(super().model_schema(schema))

    def _closed(self, found: Json) -> Json:
        if self.mode == "serialization" and "properties" in found:
            found.setdefault("additionalProperties", False)
        return found


def schemas(named: Mapping[str, tuple[Way, Any]]) -> dict[str, Json]:
    """Give the schemas of types by their names, each as it is read or written, and of what those hold. Where types that they hold
    have one name, that of their module stands before it."""
    wanted = [(name, way, TypeAdapter(one)) for name, (way, one) in named.items()]
    found, held = TypeAdapter.json_schemas(wanted, ref_template=REF, schema_generator=AsWritten)
    inner: dict[str, Json] = held.get("$defs", {})
    names = {name: _short(name) for name in inner}
    names |= {_name(one["$ref"]): name for (name, _), one in found.items() if "$ref" in one}
    told = {name: one for (name, _), one in found.items() if "$ref" not in one}
    told |= {names[name]: {**one, "title": names[name]} for name, one in inner.items()}
    return _needed({name: _renamed(one, names) for name, one in told.items()}, [*named])


def _needed(told: Mapping[str, Json], first: Sequence[str]) -> dict[str, Json]:
    """Leave out what none of the first ones leads to: of two that stand together, only that is told."""
    kept, left = dict[str, Json](), list(first)
    while left:
        name = left.pop()
        if name not in kept:
            kept[name] = told[name]
            left += _refs(told[name])
    return dict(sorted(kept.items()))


def _refs(told: Any) -> Iterator[str]:
    if isinstance(told, list):
        for one in told:
            yield from _refs(one)
    elif isinstance(told, dict):
        for key, value in told.items():
            if key == "$ref":
                yield _name(value)
            else:
                yield from _refs(value)


def _present(one: Json) -> Json:
    """Describe a field where it is there: what is absent is not written, and no default stands for it."""
    kept = {name: value for name, value in one.items() if name != "default"}
    left = [option for option in one.get("anyOf", ()) if option != _NULL]
    if len(left) != 1:
        return {**kept, "anyOf": left} if left else kept
    kept.pop("anyOf")
    return {**left[0], **kept}


def _short(name: str) -> str:
    """Shorten a name that stands for one of several: `common__conversations__Listed` is `ConversationsListed`."""
    *_, module, own = f"__{name}".rsplit("__", 2)
    return "".join(map(str.capitalize, module.split("_"))) + own


def _name(ref: str) -> str:
    return ref.rpartition("/")[2]


def _renamed(told: Any, names: Mapping[str, str]) -> Any:
    if isinstance(told, list):
        return [_renamed(one, names) for one in told]
    if not isinstance(told, dict):
        return told
    return {
        key: REF.format(model=names.get(_name(value), _name(value))) if key == "$ref" else _renamed(value, names)
        for key, value in told.items()
    }

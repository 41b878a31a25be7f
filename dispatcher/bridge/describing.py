"""What `/openapi.json` says of a route: the body that it takes, the headers that count, and each status that it can answer with;
it knows no route. Routes read their bodies themselves, so that errors have their API's form: FastAPI can't see what they take.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from common import codec
from common.keys import Scope
from dispatcher.bridge.gate import Need
from dispatcher.bridge.surfaces import OPENAI, Surface

Json = dict[str, Any]

GUARDED: frozenset[int] = frozenset({400, 401, 403, 408, 429, 431, 500, 503, 504})
"""What every route can answer that asks whose request it is: who asks for a foreign host is told so, too, and whose headers are too
late or too large."""

ASKS: frozenset[int] = GUARDED | {404, 413, 415}
"""And one that reads a body, and asks somebody about it."""

RUNS: frozenset[int] = ASKS | {409, 499, 502}
"""And one that runs a job, which can also fail on its device, or be cancelled by somebody else."""

PHRASES: Mapping[int, str] = {499: "Cancelled by somebody else", 529: "Overloaded"}

_REF = "#/components/schemas/{model}"
_NAMED: dict[str, type[BaseModel]] = {}
"""The models that routes have named; their schemas are made when somebody asks for them."""


def described(
    body: type[BaseModel] | None = None,
    *,
    surface: Surface = OPENAI,
    statuses: Collection[int] = GUARDED,
    answer: str = "The answer",
    stream: str | None = None,
    schema: Json | type[BaseModel] | None = None,
    examples: Mapping[str, str] | None = None,
    parameters: Sequence[Json] = (),
    success: int = 200,
) -> dict[str, Any]:
    """Give the options of a route that describe it: `router.post(path, summary=…, **described(…))`.

    `statuses` are those of its errors, `success` is the other one, `schema` is what its answer looks like, `stream` the media type
    of its answer as a stream, where it has one; `examples` are bodies as JSON, by what they show.
    """
    form = _named(schema) if isinstance(schema, type) else schema or {"type": "object"}
    content: Json = {"application/json": {"schema": form}}
    if stream is not None:
        content[stream.partition(";")[0]] = {"schema": {"description": "what comes is told piece by piece"}}
    extra: Json = {}
    if body is not None:
        extra["requestBody"] = {"required": True, "content": {"application/json": _body(body, examples or {})}}
    if parameters:
        extra["parameters"] = list(parameters)
    said: Json = (
        {"description": answer} if success == HTTPStatus.NO_CONTENT else {"description": answer, "content": content}
    )
    responses: dict[int | str, Json] = {success: said}
    responses |= {status: _failure(status, surface) for status in sorted(map(surface.status, statuses))}
    return {
        "responses": responses,
        "openapi_extra": extra,
        **({} if success == HTTPStatus.OK else {"status_code": success}),
    }


def form_body(form: type[BaseModel], said: dict[str, Any]) -> dict[str, Any]:
    """Add to what `described` gave that the route takes a form."""
    content = {"multipart/form-data": {"schema": _named(form)}}
    return {**said, "openapi_extra": {**said["openapi_extra"], "requestBody": {"required": True, "content": content}}}


def _body(body: type[BaseModel], examples: Mapping[str, str]) -> Json:
    shown = {
        f"example-{number}": {"summary": what, "value": codec.decode(text.encode())}
        for number, (what, text) in enumerate(examples.items(), 1)
    }
    return {"schema": _named(body), **({"examples": shown} if shown else {})}


def _failure(status: int, surface: Surface) -> Json:
    said = PHRASES.get(status) or HTTPStatus(status).phrase
    return {"description": said, "content": {"application/json": {"schema": _named(surface.form)}}}


def _named(model: type[BaseModel]) -> Json:
    if _NAMED.setdefault(model.__name__, model) is not model:
        raise AssertionError(f"two models are called {model.__name__}: one would be described as the other")
    return {"$ref": _REF.format(model=model.__name__)}


def describe(app: FastAPI) -> None:
    """Publish at `/openapi.json` what the routes say of themselves."""
    app.openapi = _once(app)  # type: ignore[method-assign]  # FastAPI's documented way to change the description


def _once(app: FastAPI) -> Callable[[], dict[str, Any]]:
    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            found.setdefault("components", {}).setdefault("schemas", {}).update(_schemas())
            _forget_422(found)
            _say_who_may(found, app)
            app.openapi_schema = found
        return app.openapi_schema

    return schema


def _schemas() -> dict[str, Json]:
    """Give the schemas of what routes have named, and of what those hold. A name that two models have is written out for both of
    them, and the short one stands for the one that was named."""
    refs, models = models_json_schema([(model, "validation") for model in _NAMED.values()], ref_template=_REF)
    return {**{name: refs[model, "validation"] for name, model in _NAMED.items()}, **models["$defs"]}


def _forget_422(found: dict[str, Any]) -> None:
    """FastAPI promises a 422 of its own shape for every path with parameters; here no such answer exists."""
    for operations in found["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        found["components"]["schemas"].pop(name, None)


_WAYS_IN: Json = {
    "key": {"type": "http", "scheme": "bearer", "description": "a key: `dr_…`"},
    "header": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "the same, as Anthropic's clients send it",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "drover",
        "description": "what `POST /api/v1/session` gives a browser",
    },
}


def _say_who_may(found: Json, app: FastAPI) -> None:
    """Name the ways in, and of each route the scope that it needs; a bridge without keys asks for none of it."""
    found["components"]["securitySchemes"] = _WAYS_IN
    for route, need in gated(app):
        for method in (route.methods or set()) & {"GET", "POST", "PUT", "PATCH", "DELETE"}:
            operation = found["paths"].get(route.path_format or "", {}).get(method.lower())
            if operation is not None:
                operation["security"] = [{name: []} for name in _WAYS_IN]
                asked = f"needs the scope `{need}`" if need else "takes any key"
                operation["description"] = " ".join([*filter(None, [operation.get("description")]), f"({asked})"])


def gated(app: FastAPI) -> list[tuple[RouteContext, Scope | None]]:
    """Give the routes that stand behind the gate, with the scope that each needs; None for any key."""
    return [
        (route, dependant.call.scope)
        for route in iter_route_contexts(
            app.routes
        )  # `app.routes` has routers that were included, and not their routes
        if isinstance(route.original_route, APIRoute)
        for dependant in route.dependant.dependencies
        if isinstance(dependant.call, Need)
    ]

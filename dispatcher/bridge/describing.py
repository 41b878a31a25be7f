"""What `/openapi.json` says of a route: the body that it takes, the headers that count, and each status that it can answer with;
it knows no route. Routes read their bodies themselves, so that errors have their API's form: FastAPI can't see what they take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import BaseModel
from starlette.responses import Response

from common import codec
from common.keys import Scope
from dispatcher.bridge.gate import Asks, Need
from dispatcher.bridge.schemas import REF, Way, schemas
from dispatcher.bridge.surfaces import OPENAI, Surface

Json = dict[str, Any]

DESCRIPTION = "/openapi.json"

GUARDED: frozenset[int] = frozenset({400, 401, 403, 408, 429, 431, 500, 503, 504})
"""What every route can answer that asks whose request it is: who asks for a foreign host is told so, too, and whose headers are too
late or too large."""

ASKS: frozenset[int] = GUARDED | {404, 413, 415}
"""And one that reads a body, and asks somebody about it."""

RUNS: frozenset[int] = ASKS | {409, 499, 502}
"""And one that runs a job, which can also fail on its device, or be cancelled by somebody else."""

PHRASES: Mapping[int, str] = {499: "Cancelled by somebody else", 529: "Overloaded"}

_NAMED: dict[str, tuple[Way, Any]] = {}
"""The types of bodies and of answers that routes have named; their schemas are made when somebody asks for them."""


def described(
    body: type[BaseModel] | None = None,
    *,
    surface: Surface = OPENAI,
    statuses: Collection[int] = GUARDED,
    answer: str = "The answer",
    stream: str | None = None,
    schema: Any = None,
    examples: Mapping[str, str] | None = None,
    parameters: Sequence[Json] = (),
    success: int = 200,
    also: Mapping[int, tuple[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Give the options of a route that describe it: `router.post(path, summary=…, **described(…))`.

    `statuses` are those of its errors, `success` is the other one, `schema` is the type of its answer as JSON, if it has any, and
    `stream` the media type of its answer as a stream, where it has one; `also` tells what its other answers are that are no errors,
    and their types. `examples` are bodies as JSON, by what they show.
    """
    extra: Json = {}
    if body is not None:
        extra["requestBody"] = {"required": True, "content": {"application/json": _body(body, examples or {})}}
    if parameters:
        extra["parameters"] = list(parameters)
    responses: dict[int | str, Json] = {success: _answer(answer, schema, stream)}
    responses |= {status: _failure(status, surface) for status in sorted(map(surface.status, statuses))}
    responses |= {status: _answer(what, kind) for status, (what, kind) in also.items()}
    return {
        "responses": responses,
        "openapi_extra": extra,
        **({} if success == HTTPStatus.OK else {"status_code": success}),
        **({} if schema is not None else {"response_class": Response}),  # else FastAPI promises JSON
    }


def _answer(what: str, schema: Any, stream: str | None = None) -> Json:
    content: Json = {} if schema is None else {"application/json": {"schema": _named(schema, "serialization")}}
    if stream is not None:
        content[stream.partition(";")[0]] = {"schema": {"description": "what comes is told piece by piece"}}
    return {"description": what, "content": content} if content else {"description": what}


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


def _named(kind: Any, way: Way = "validation") -> Json:
    name: str = kind.__name__
    if _NAMED.setdefault(name, (way, kind)) != (way, kind):
        raise AssertionError(f"two models are called {name}: one would be described as the other")
    return {"$ref": REF.format(model=name)}


def describe(app: FastAPI) -> None:
    """Publish at `/openapi.json` what the routes say of themselves.

    It is made when somebody asks for it first, beside the loop, since that takes a third of a second; from then on it is bytes.
    """
    app.openapi = _once(app)  # type: ignore[method-assign]  # FastAPI's documented way to change the description
    making, made = asyncio.Lock(), list[bytes]()

    async def description(_: Request) -> Response:
        async with making:
            if not made:
                made.append(await asyncio.to_thread(lambda: codec.encode(app.openapi())))
        return Response(made[0], media_type="application/json")

    app.add_route(DESCRIPTION, description, include_in_schema=False)


def _once(app: FastAPI) -> Callable[[], dict[str, Any]]:
    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            found.setdefault("components", {}).setdefault("schemas", {}).update(schemas(_NAMED))
            _forget_422(found)
            _say_who_may(found, app)
            app.openapi_schema = found
        return app.openapi_schema

    return schema


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
                asked += "; counts among the requests that a key has a minute" if gives_work(route) else ""
                operation["description"] = " ".join([*filter(None, [operation.get("description")]), f"({asked})"])


def gives_work(route: RouteContext) -> bool:
    """Tell whether a gated route gives the fleet work, by what counts its requests."""
    return any(isinstance(one.call, Asks) for one in route.dependant.dependencies)


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

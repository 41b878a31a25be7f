"""The paths of Ollama's API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response
from ulid import ULID

from common import codec
from common.errors import NotAllowed, UnknownModel
from common.keys import Scope
from common.messages import ChatRequest
from dispatcher.bridge.bodies import json_body
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.ollama import catalogue, lines, request
from dispatcher.bridge.ollama.dialects import ChatLines, GenerateLines
from dispatcher.bridge.wiring import Bridge
from dispatcher.bridge.wishes import CHAT_PARAMETERS, job_id, priority, progress, wished

Json = dict[str, Any]

VERSION = "0.33.0"
"""The release whose API this follows. Open WebUI reads each part between the dots as a number, and Copilot wants 0.6.4 or more, so
it is neither our own version nor one with a word in it."""

MANAGEMENT: Mapping[str, tuple[str, ...]] = {
    "/pull": ("POST",),
    "/push": ("POST",),
    "/create": ("POST",),
    "/copy": ("POST",),
    "/delete": ("DELETE",),
    "/blobs/{digest}": ("POST", "HEAD"),
}
"""What changes the models of a device. These are the paths that Ollama's known holes were in (CVE-2024-37032, CVE-2026-7482)."""


def ollama_routes(bridge: Bridge) -> APIRouter:
    """The routes below `/api`."""
    router = APIRouter(prefix="/api", tags=["ollama"])
    router.include_router(_answering(bridge))
    router.include_router(_listing(bridge))
    router.include_router(_open_to_all())
    return router


def published() -> Sequence[type[BaseModel]]:
    """Give the models of requests, for the API's description."""
    return (request.OllamaChat, request.OllamaGenerate, request.OllamaShow)


def _answering(bridge: Bridge) -> APIRouter:
    router = bridge.gate.router(Scope.CHAT)

    @router.post("/chat", summary="Chat, as Ollama has it", openapi_extra=_described("OllamaChat", chat=True))
    async def chat(http: Request) -> Response:
        asked = request.read(request.OllamaChat, await _body(http), request.CHAT_EXAMPLE)
        messages = request.chat_messages(asked)
        if not messages:
            return _idle(bridge, asked, lines.chat(request.named(asked.model), bridge.clock.unix_s()))
        telling = progress(http.headers, stream=asked.streams)
        sent = _wanted(bridge, http, asked, messages)
        dialect = ChatLines(job=str(sent.job), now=bridge.clock.unix_s)
        return bridge.answer(sent, caller_of(http), dialect, stream=asked.streams, progress=telling)

    @router.post(
        "/generate", summary="Answer a prompt, as Ollama has it", openapi_extra=_described("OllamaGenerate", chat=True)
    )
    async def generate(http: Request) -> Response:
        asked = request.read(request.OllamaGenerate, await _body(http), request.GENERATE_EXAMPLE)
        messages = request.generate_messages(asked)
        if not messages:
            return _idle(bridge, asked, lines.generated(request.named(asked.model), bridge.clock.unix_s()))
        telling = progress(http.headers, stream=asked.streams)
        sent = _wanted(bridge, http, asked, messages)
        dialect = GenerateLines(job=str(sent.job), now=bridge.clock.unix_s, asked=messages)
        return bridge.answer(sent, caller_of(http), dialect, stream=asked.streams, progress=telling)

    return router


def _listing(bridge: Bridge) -> APIRouter:
    router = bridge.gate.router(Scope.CHAT)

    @router.get("/tags", summary="The models that the fleet has now, as Ollama has it")
    async def tags() -> Response:
        return _json(catalogue.tags(catalogue.listed(bridge.presence.fleet()), bridge.started_unix_s))

    @router.post("/show", summary="One model, as Ollama has it", openapi_extra=_described("OllamaShow"))
    async def show(http: Request) -> Response:
        asked = request.read(request.OllamaShow, await _body(http), request.SHOW_EXAMPLE)
        return _json(catalogue.show(_found(bridge, asked.model or asked.name), bridge.started_unix_s))

    @router.get("/ps", summary="The models in memory, as Ollama has it")
    async def running() -> Response:
        return _json(catalogue.running(catalogue.listed(bridge.presence.fleet())))

    router.add_api_route("/tags", tags, methods=["HEAD"], include_in_schema=False)
    return router


def _open_to_all() -> APIRouter:
    """What asks for no key: the version, by which clients find out what they talk to, and what everybody is refused."""
    router = APIRouter()

    @router.get("/version", summary="The release of Ollama whose API this is")
    async def version() -> Response:
        return _json({"version": VERSION})

    async def management(http: Request) -> Response:
        raise NotAllowed(
            f"{http.scope['path'][:80]}: the models of a device are changed on the device itself: run `ollama pull NAME`, "
            "`ollama rm NAME` or the like there; within a few seconds its heartbeat tells the fleet"
        )

    router.add_api_route("/version", version, methods=["HEAD"], include_in_schema=False)
    for path, methods in MANAGEMENT.items():
        router.add_api_route(path, management, methods=list(methods), include_in_schema=False)
    return router


async def _body(http: Request) -> bytes:
    return await json_body(http, untyped=True)


def _wanted(
    bridge: Bridge, http: Request, asked: request.OllamaRun, messages: Sequence[Mapping[str, Any]]
) -> ChatRequest:
    """Give the chat that is sent to the fleet, with what the headers ask for."""
    known = catalogue.look(bridge.presence.fleet(), request.named(asked.model))
    job = job_id(http.headers)
    chat = request.to_chat(
        asked,
        messages,
        job=job or str(ULID()),
        priority=priority(http.headers),
        most_context=None if known is None else known.context_tokens,
    )
    return bridge.named(wished(chat, http.headers), job)


def _idle(bridge: Bridge, asked: request.OllamaRun, line: Json) -> Response:
    """Answer at once, in one piece, as Ollama does. Raises `UnknownModel`."""
    _found(bridge, asked.model)
    return _json({**line, **lines.idle("unload" if asked.unloads else "load")})


def _found(bridge: Bridge, name: str) -> catalogue.Listed:
    """Give a model by its name. Raises `UnknownModel`."""
    found = catalogue.look(bridge.presence.fleet(), request.named(name))
    if found is None:
        raise UnknownModel(f"model {name[:200]!r} not found: GET /api/tags lists those there are", param="model")
    return found


def _described(name: str, *, chat: bool = False) -> Json:
    schema = {"$ref": f"#/components/schemas/{name}"}
    body = {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
    return {**body, "parameters": list(CHAT_PARAMETERS)} if chat else body


def _json(body: Json) -> Response:
    return Response(codec.encode(body), media_type="application/json")

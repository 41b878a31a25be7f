"""The paths of Ollama's API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from common.errors import NotAllowed, UnknownModel
from common.keys import Scope
from common.messages import ChatRequest
from dispatcher.bridge.bodies import answered, json_body
from dispatcher.bridge.describing import ASKS, RUNS, described
from dispatcher.bridge.entry import Entry, chat_entry, entry
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.ollama import catalogue, embed, lines, request, shapes
from dispatcher.bridge.ollama.dialects import ChatLines, EmbedLines, GenerateLines
from dispatcher.bridge.reading import Body
from dispatcher.bridge.surfaces import OLLAMA
from dispatcher.bridge.wiring import Bridge
from dispatcher.bridge.wishes import CHAT_PARAMETERS, CONVERSATION_PARAMETER

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


def _runs(
    body: type[Body], schema: Any, example: str, *more: Json, stream: str | None = lines.NDJSON
) -> dict[str, Any]:
    return described(
        body,
        surface=OLLAMA,
        statuses=RUNS,
        schema=schema,
        stream=stream,
        examples={"Short": example},
        parameters=(*CHAT_PARAMETERS, *more),
    )


CHAT = _runs(request.OllamaChat, shapes.OllamaChatTold, request.CHAT_EXAMPLE, CONVERSATION_PARAMETER)
GENERATE = _runs(request.OllamaGenerate, shapes.OllamaGenerated, request.GENERATE_EXAMPLE)
EMBED = _runs(embed.OllamaEmbed, shapes.OllamaEmbedded, embed.EXAMPLE, stream=None)
EMBEDDINGS = _runs(embed.OllamaEmbeddings, shapes.OllamaEmbedding, embed.LEGACY_EXAMPLE, stream=None)
SHOW = described(
    request.OllamaShow,
    surface=OLLAMA,
    statuses=ASKS,
    schema=shapes.OllamaModel,
    examples={"Short": request.SHOW_EXAMPLE},
)
TAGS = described(surface=OLLAMA, schema=shapes.OllamaTags)
RUNNING = described(surface=OLLAMA, schema=shapes.OllamaProcesses)
VERSIONED = described(surface=OLLAMA, statuses={400}, schema=shapes.OllamaVersion)


def ollama_routes(bridge: Bridge) -> APIRouter:
    """The routes below `/api`."""
    router = APIRouter(prefix="/api", tags=["ollama"])
    router.include_router(_answering(bridge))
    router.include_router(_embedding(bridge))
    router.include_router(_listing(bridge))
    router.include_router(_open_to_all())
    return router


def _answering(bridge: Bridge) -> APIRouter:
    router, asks = bridge.gate.router(Scope.CHAT), bridge.gate.asks()

    @router.post("/chat", summary="Chat, as Ollama has it", dependencies=asks, **CHAT)
    async def chat(http: Request) -> Response:
        asked = request.read(request.OllamaChat, await _body(http), request.CHAT_EXAMPLE)
        messages = request.chat_messages(asked)
        if not messages:
            return _idle(bridge, http, asked, lines.chat(request.named(asked.model), bridge.clock.unix_s()))
        come = chat_entry(caller_of(http), http.headers)
        dialect = ChatLines(job=come.job, now=bridge.clock.unix_s)
        return bridge.run(come, _wanted(bridge, come, asked, messages), dialect, stream=asked.streams)

    @router.post("/generate", summary="Answer a prompt, as Ollama has it", dependencies=asks, **GENERATE)
    async def generate(http: Request) -> Response:
        asked = request.read(request.OllamaGenerate, await _body(http), request.GENERATE_EXAMPLE)
        messages = request.generate_messages(asked)
        if not messages:
            return _idle(bridge, http, asked, lines.generated(request.named(asked.model), bridge.clock.unix_s()))
        come = entry(caller_of(http), http.headers)
        dialect = GenerateLines(job=come.job, now=bridge.clock.unix_s, asked=messages)
        return bridge.run(come, _wanted(bridge, come, asked, messages), dialect, stream=asked.streams)

    return router


def _embedding(bridge: Bridge) -> APIRouter:
    router, asks = bridge.gate.router(Scope.CHAT), bridge.gate.asks()

    @router.post("/embed", summary="Embed texts, as Ollama has it", dependencies=asks, **EMBED)
    async def embed_texts(http: Request) -> Response:
        asked = request.read(embed.OllamaEmbed, await _body(http), embed.EXAMPLE)
        return _embedded(bridge, http, asked, embed.texts_of(asked), legacy=False)

    @router.post("/embeddings", summary="Embed one text, as Ollama's older API has it", dependencies=asks, **EMBEDDINGS)
    async def embed_prompt(http: Request) -> Response:
        asked = request.read(embed.OllamaEmbeddings, await _body(http), embed.LEGACY_EXAMPLE)
        return _embedded(bridge, http, asked, [asked.prompt] if asked.prompt else [], legacy=True)

    return router


def _embedded(bridge: Bridge, http: Request, asked: embed.Embeds, texts: Sequence[str], *, legacy: bool) -> Response:
    """Answer with embeddings; for no text at once, as Ollama does, if there is such a model. Raises `UnknownModel`."""
    if not texts:
        _found(bridge, http, asked.model)
        return answered({"embedding": []} if legacy else {"model": asked.model, "embeddings": []})
    come = entry(caller_of(http), http.headers)
    wanted = embed.to_job(asked, texts, job=come.job, priority=come.priority)
    return bridge.embeddings(bridge.sent(come, wanted), texts, come.caller, EmbedLines(job=come.job, legacy=legacy))


def _listing(bridge: Bridge) -> APIRouter:
    router = bridge.gate.router(Scope.CHAT)

    @router.get("/tags", summary="The models that the fleet has now, as Ollama has it", **TAGS)
    async def tags(http: Request) -> Response:
        return answered(catalogue.tags(catalogue.listed(bridge.fleet(caller_of(http))), bridge.started_unix_s))

    @router.post("/show", summary="One model, as Ollama has it", **SHOW)
    async def show(http: Request) -> Response:
        asked = request.read(request.OllamaShow, await _body(http), request.SHOW_EXAMPLE)
        return answered(catalogue.show(_found(bridge, http, asked.model or asked.name), bridge.started_unix_s))

    @router.get("/ps", summary="The models in memory, as Ollama has it", **RUNNING)
    async def running(http: Request) -> Response:
        return answered(catalogue.running(catalogue.listed(bridge.fleet(caller_of(http)))))

    for path, answer in (("/tags", tags), ("/ps", running)):
        router.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False)
    return router


def _open_to_all() -> APIRouter:
    """What asks for no key: the version, by which clients find out what they talk to, and what everybody is refused."""
    router = APIRouter()

    @router.get("/version", summary="The release of Ollama whose API this is", **VERSIONED)
    async def version() -> Response:
        return answered({"version": VERSION})

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
    bridge: Bridge, come: Entry, asked: request.OllamaRun, messages: Sequence[Mapping[str, Any]]
) -> ChatRequest:
    """Give the chat that is sent to the fleet."""
    known = catalogue.look(bridge.fleet(come.caller), request.named(asked.model))
    most = None if known is None else known.context_tokens
    return request.to_chat(asked, messages, job=come.job, priority=come.priority, most_context=most)


def _idle(bridge: Bridge, http: Request, asked: request.OllamaRun, line: Json) -> Response:
    """Answer at once, in one piece, as Ollama does. Raises `UnknownModel`."""
    _found(bridge, http, asked.model)
    return answered({**line, **lines.idle("unload" if asked.unloads else "load")})


def _found(bridge: Bridge, http: Request, name: str | None) -> catalogue.Listed:
    """Give a model by its name. Raises `UnknownModel`."""
    model = request.named(name)
    found = catalogue.look(bridge.fleet(caller_of(http)), model)
    if found is None:
        raise UnknownModel(f"model {model[:200]!r} not found: GET /api/tags lists those there are", param="model")
    return found

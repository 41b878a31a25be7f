"""The routes of Ollama's API: bodies in, values to the other modules, answers out; it decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from agents.simulator import admin, wire
from agents.simulator.answering import CHAT, GENERATE, Dialect, Simulator, answer, embed, find_model, prepare
from agents.simulator.clock import DeviceClock
from agents.simulator.engine import Engine
from agents.simulator.errors import Refused
from agents.simulator.faults import FaultBox, FaultKind
from agents.simulator.inference import Stage
from agents.simulator.library import Library, canonical
from agents.simulator.meter import Meter
from agents.simulator.profiles import catalogue
from agents.simulator.pulling import pull
from agents.simulator.requests import (
    EmbedRequest,
    InferenceRequest,
    parse_chat,
    parse_embed,
    parse_embeddings,
    parse_generate,
    parse_named,
)
from agents.simulator.responses import JsonResponse, LinesResponse, refusal
from agents.simulator.settings import Settings
from agents.simulator.wire import Line, Whole


def build(settings: Settings) -> Starlette:
    """Build the simulated device that the settings describe, as an ASGI application."""
    known = catalogue()
    device = known.devices[settings.profile]
    clock = DeviceClock(settings.time_factor)
    meter = Meter(device, clock)
    engine = Engine(device, clock, meter, settings.limits)
    sim = Simulator(
        stage=Stage(engine=engine, clock=clock, meter=meter, known=known),
        library=Library(known, device),
        faults=FaultBox(),
        seed=settings.seed,
    )
    handlers = {Refused: _on_refused, Whole: _on_whole, HTTPException: _on_http_error}
    return Starlette(routes=[*routes(sim), *admin.routes(sim)], exception_handlers=handlers)  # type: ignore[arg-type]  # Starlette types handlers by the widest exception


def routes(sim: Simulator) -> list[BaseRoute]:
    """Bind Ollama's routes to a simulated device."""

    async def on_chat(request: Request) -> Response:
        return _inference(sim, parse_chat(await request.body()), CHAT)

    async def on_generate(request: Request) -> Response:
        return _inference(sim, parse_generate(await request.body()), GENERATE)

    async def on_embed(request: Request) -> Response:
        parsed = parse_embed(await request.body())
        empty = Refused(404, "model '' not found")
        return _embedding(sim, parsed, empty, legacy=False)

    async def on_embeddings(request: Request) -> Response:
        parsed = parse_embeddings(await request.body())
        return _embedding(sim, parsed, Refused(400, "model is required"), legacy=True)

    async def on_pull(request: Request) -> Response:
        named = parse_named(await request.body(), "PullRequest")
        lines = pull(sim, named.model)
        return LinesResponse(lambda: lines, join=None if named.stream else _last, on_hang_up=_ignore)

    return [
        Route("/", _on_root, methods=["GET"]),
        Route("/api/chat", on_chat, methods=["POST"]),
        Route("/api/generate", on_generate, methods=["POST"]),
        Route("/api/embed", on_embed, methods=["POST"]),
        Route("/api/embeddings", on_embeddings, methods=["POST"]),
        Route("/api/pull", on_pull, methods=["POST"]),
        *_reading_routes(sim),
    ]


def _reading_routes(sim: Simulator) -> list[BaseRoute]:
    async def on_tags(_: Request) -> Response:
        return JsonResponse({"models": [wire.tag(item) for item in sim.library.all()]})

    async def on_ps(_: Request) -> Response:
        return JsonResponse({"models": loaded_models(sim)})

    async def on_show(request: Request) -> Response:
        name = parse_named(await request.body(), "ShowRequest").model
        missing = Refused(404, f"model '{canonical(name)}' not found")
        spec = find_model(sim, name, empty=Refused(400, "model is required"), missing=missing)
        item = sim.library.find(spec.name)
        if item is None:
            raise missing
        return JsonResponse(wire.show(item))

    async def on_delete(request: Request) -> Response:
        name = parse_named(await request.body(), "DeleteRequest").model
        missing = Refused(404, f"model '{name}' not found")
        find_model(sim, name, empty=Refused(400, "model is required"), missing=missing)
        sim.library.remove(name)
        return Response(status_code=200)

    return [
        Route("/api/tags", on_tags, methods=["GET"]),
        Route("/api/ps", on_ps, methods=["GET"]),
        Route("/api/show", on_show, methods=["POST"]),
        Route("/api/version", _on_version, methods=["GET"]),
        Route("/api/delete", on_delete, methods=["DELETE"]),
    ]


def loaded_models(sim: Simulator) -> list[Line]:
    """Give the entries of /api/ps, the model that stays longest first."""
    engine = sim.stage.engine
    on_gpu = engine.device.gpu and sim.faults.standing.kind is not FaultKind.NO_GPU
    return [
        wire.process(
            runner.model,
            size_bytes=runner.size_bytes,
            gpu_bytes=runner.size_bytes if on_gpu else 0,
            context_tokens=runner.context_tokens,
            expires_at=sim.stage.clock.date_in(engine.remaining_s(runner)),
        )
        for runner in engine.runners()
    ]


def _inference(sim: Simulator, request: InferenceRequest, dialect: Dialect) -> Response:
    model = prepare(sim, request, dialect)
    join = None if request.stream else dialect.join
    return LinesResponse(lambda: answer(sim, request, model, dialect), join=join, on_hang_up=lambda: _hung_up(sim))


def _embedding(sim: Simulator, request: EmbedRequest, empty: Refused, *, legacy: bool) -> Response:
    missing = Refused(404, f'model "{request.model}" not found, try pulling it first')
    model = find_model(sim, request.model, empty=empty, missing=missing)
    join = wire.legacy_embedding if legacy else _last
    return LinesResponse(lambda: embed(sim, request, model), join=join, on_hang_up=lambda: _hung_up(sim))


def _hung_up(sim: Simulator) -> None:
    sim.stage.engine.counters.aborted_by_client += 1


def _ignore() -> None:
    """A pull that the client leaves just stops."""


def _last(lines: Sequence[Line]) -> Line:
    return lines[-1]


async def _on_root(_: Request) -> Response:
    return PlainTextResponse("Ollama is running")


async def _on_version(_: Request) -> Response:
    return JsonResponse({"version": wire.VERSION})


async def _on_refused(_: Request, error: Refused) -> Response:
    return refusal(error)


async def _on_whole(_: Request, whole: Whole) -> Response:
    return JsonResponse(whole.value)


async def _on_http_error(_: Request, error: HTTPException) -> Response:
    """Answer unknown paths and methods in plain text, as Gin does."""
    texts = {404: "404 page not found", 405: "405 method not allowed"}
    text = texts.get(error.status_code, error.detail)
    return PlainTextResponse(text, status_code=error.status_code, headers=error.headers)

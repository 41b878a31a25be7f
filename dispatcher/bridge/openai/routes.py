"""The paths of OpenAI's API."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response
from ulid import ULID

from common import codec
from common.errors import UnknownModel
from common.keys import Scope
from common.messages import AUTO, ChatRequest
from common.virtual import VIRTUAL, Virtual, virtual
from dispatcher.bridge.bodies import json_body
from dispatcher.bridge.describing import GUARDED, RUNS, described
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.openai import reply, request
from dispatcher.bridge.openai.chat import ChatDialect
from dispatcher.bridge.presence import Offer, find, offers
from dispatcher.bridge.sse import EVENTS
from dispatcher.bridge.wiring import Bridge
from dispatcher.bridge.wishes import CHAT_PARAMETERS, job_id, priority, progress, wished

CHAT = described(
    request.ChatCompletionRequest,
    statuses=RUNS,
    stream=EVENTS,
    examples={"One question": request.EXAMPLE},
    parameters=CHAT_PARAMETERS,
)


def openai_routes(bridge: Bridge) -> APIRouter:
    """The routes below `/v1`."""
    router = bridge.gate.router(Scope.CHAT, prefix="/v1")

    @router.post("/chat/completions", summary="Chat with the fleet", tags=["chat"], **CHAT)
    async def chat_completions(http: Request) -> Response:
        asked = request.read(await json_body(http))
        job = job_id(http.headers)
        stream = bool(asked.stream)
        telling = progress(http.headers, stream=stream)
        chat = request.to_chat(asked, job=job or str(ULID()), priority=priority(http.headers))
        chat = bridge.named(wished(chat, http.headers), job)
        dialect = ChatDialect(
            job=str(chat.job),
            created=int(bridge.clock.unix_s()),
            include_usage=bool(asked.stream_options and asked.stream_options.include_usage),
        )
        return bridge.answer(chat, caller_of(http), dialect, stream=stream, progress=telling)

    @router.get("/models", summary="The models that the fleet has now", tags=["models"], **described())
    async def models() -> Response:
        virtuals = [_virtual_card(name, one, bridge) for name, one in VIRTUAL.items()]
        cards = [_card(offer, bridge) for offer in offers(bridge.presence.fleet()).values()]
        return _json({"object": "list", "data": [*virtuals, *cards]})

    @router.get("/models/{model:path}", summary="One model", tags=["models"], **described(statuses=GUARDED | {404}))
    async def model(model: str) -> Response:
        if (found := virtual(model)) is not None:
            return _json({**_virtual_card(AUTO, found, bridge), "id": model})
        offer = find(bridge.presence.fleet(), model)
        if offer is None:
            what = f"no device has the model {model[:200]!r}: GET /v1/models lists those there are"
            raise UnknownModel(what, param="model")
        return _json({**_card(offer, bridge), "id": model})

    return router


async def explained(http: Request) -> ChatRequest:
    """Read a chat that is to be explained, and not run."""
    asked = request.read(await json_body(http))
    chat = request.to_chat(asked, job=str(ULID()), priority=priority(http.headers))
    return wished(chat, http.headers)


def _virtual_card(name: str, one: Virtual, bridge: Bridge) -> reply.Json:
    return reply.model_card(name, bridge.started_unix_s, {"description": one.what})


def _card(offer: Offer, bridge: Bridge) -> reply.Json:
    info = offer.info
    facts = {
        "devices": offer.devices,
        "loaded_on": offer.loaded_on,
        "parameters_b": info.parameters_b,
        "context_tokens": info.context_tokens,
        "capabilities": info.capabilities,
        "input_usd_per_mtok": info.input_usd_per_mtok,
        "output_usd_per_mtok": info.output_usd_per_mtok,
    }
    return reply.model_card(
        offer.name, bridge.started_unix_s, {key: value for key, value in facts.items() if value is not None}
    )


def _json(body: reply.Json) -> Response:
    return Response(codec.encode(body), media_type="application/json")

"""The paths of OpenAI's API."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from common.errors import BadRequest
from common.keys import Scope
from common.messages import ChatRequest
from common.trials import TrialWeights, read_weights
from dispatcher.bridge.bodies import json_body
from dispatcher.bridge.describing import RUNS, described
from dispatcher.bridge.entry import chat_entry, entry
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.openai import completions, embeddings, request, shapes
from dispatcher.bridge.openai.chat import ChatDialect
from dispatcher.bridge.openai.responses import request as responses
from dispatcher.bridge.openai.responses.dialect import ResponseDialect
from dispatcher.bridge.openai.responses.reply import Writer
from dispatcher.bridge.openai.responses.shapes import ResponseTold
from dispatcher.bridge.reading import Body
from dispatcher.bridge.sse import EVENTS
from dispatcher.bridge.wiring import Bridge
from dispatcher.bridge.wishes import CHAT_PARAMETERS, CONVERSATION_PARAMETER


def _runs(body: type[Body], schema: Any, example: str, *more: dict[str, Any]) -> dict[str, Any]:
    return described(
        body,
        statuses=RUNS,
        schema=schema,
        stream=EVENTS,
        examples={"One question": example},
        parameters=(*CHAT_PARAMETERS, *more),
    )


CHAT = _runs(request.ChatCompletionRequest, shapes.ChatCompletion, request.EXAMPLE, CONVERSATION_PARAMETER)
COMPLETION = _runs(completions.CompletionRequest, shapes.TextCompletion, completions.EXAMPLE)
RESPONSE = _runs(responses.ResponsesRequest, ResponseTold, responses.EXAMPLE, CONVERSATION_PARAMETER)

EMBEDDINGS = described(
    embeddings.EmbeddingRequest,
    statuses=RUNS,
    schema=shapes.EmbeddingList,
    examples={"Two texts": embeddings.EXAMPLE},
    parameters=CHAT_PARAMETERS,
)


def openai_routes(bridge: Bridge) -> APIRouter:
    """The routes below `/v1`."""
    router = bridge.gate.router(Scope.CHAT, prefix="/v1")
    asks = bridge.gate.asks()

    @router.post("/chat/completions", summary="Chat with the fleet", tags=["chat"], dependencies=asks, **CHAT)
    async def chat_completions(http: Request) -> Response:
        asked = request.read(await json_body(http))
        come = chat_entry(caller_of(http), http.headers, conversation_id=asked.conversation_id)
        chat = request.to_chat(asked, job=come.job, priority=come.priority)
        usage = include_usage(asked.stream_options)
        dialect = ChatDialect(job=str(chat.job), created=int(bridge.clock.unix_s()), include_usage=usage)
        return bridge.run(come, chat, dialect, stream=not chat.hold)

    @router.post(
        "/completions",
        summary="Answer a prompt, as OpenAI's older API has it",
        tags=["chat"],
        dependencies=asks,
        **COMPLETION,
    )
    async def legacy_completions(http: Request) -> Response:
        asked = completions.read(await json_body(http))
        come = entry(caller_of(http), http.headers)
        chat = completions.to_chat(asked, job=come.job, priority=come.priority)
        dialect = completions.CompletionDialect(
            job=str(chat.job),
            created=int(bridge.clock.unix_s()),
            include_usage=include_usage(asked.stream_options),
            echo=completions.prompt_of(asked) if asked.echo else "",
        )
        return bridge.run(come, chat, dialect, stream=not chat.hold)

    @router.post(
        "/responses",
        summary="Chat with the fleet by items; nothing is kept",
        tags=["chat"],
        dependencies=asks,
        **RESPONSE,
    )
    async def create_response(http: Request) -> Response:
        asked = responses.read(await json_body(http))
        come = chat_entry(caller_of(http), http.headers)
        chat = responses.to_chat(asked, job=come.job, priority=come.priority)
        writer = Writer(job=str(chat.job), created=int(bridge.clock.unix_s()), asked=asked)
        return bridge.run(come, chat, ResponseDialect(writer, bridge.clock.unix_s), stream=not chat.hold)

    @router.post("/embeddings", summary="Embed texts", tags=["embeddings"], dependencies=asks, **EMBEDDINGS)
    async def create_embeddings(http: Request) -> Response:
        asked = embeddings.read(await json_body(http))
        come = entry(caller_of(http), http.headers)
        wanted = embeddings.to_job(asked, job=come.job, priority=come.priority)
        dialect = embeddings.EmbeddingDialect(job=come.job, packed=asked.encoding_format == "base64")
        return bridge.embeddings(bridge.sent(come, wanted), embeddings.texts_of(asked), come.caller, dialect)

    return router


def include_usage(options: request.StreamOptions | None) -> bool:
    """Tell whether token counts are wanted in a stream."""
    return bool(options is not None and options.include_usage)


async def explained(http: Request) -> tuple[ChatRequest, TrialWeights | None]:
    """Read a chat that is to be explained, and not run, and the weights that are to be tried. Raises `BadRequest` for one that
    belongs to a conversation."""
    asked = request.read_explained(await json_body(http))
    if asked.conversation_id is not None:
        raise BadRequest(
            "a chat is explained by what it says itself: send the messages of its conversation, and no conversation_id",
            param="conversation_id",
        )
    come = entry(caller_of(http), http.headers)
    weights = None if asked.weights is None else read_weights(asked.weights.model_dump())
    return come.wished(request.to_chat(asked, job=come.job, priority=come.priority)), weights

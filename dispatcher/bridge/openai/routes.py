"""The paths of OpenAI's API."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response
from ulid import ULID

from common.errors import BadRequest
from common.keys import Scope
from common.messages import ChatRequest
from dispatcher.bridge.bodies import json_body
from dispatcher.bridge.describing import RUNS, described
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.openai import completions, embeddings, request
from dispatcher.bridge.openai.chat import ChatDialect
from dispatcher.bridge.openai.responses import request as responses
from dispatcher.bridge.openai.responses.dialect import ResponseDialect
from dispatcher.bridge.openai.responses.reply import Writer
from dispatcher.bridge.reading import Body
from dispatcher.bridge.speech import Dialect
from dispatcher.bridge.sse import EVENTS
from dispatcher.bridge.wiring import Bridge
from dispatcher.bridge.wishes import (
    CHAT_PARAMETERS,
    CONVERSATION_PARAMETER,
    conversation,
    job_id,
    priority,
    progress,
    wished,
)


def _runs(body: type[Body], example: str, *more: dict[str, Any]) -> dict[str, Any]:
    parameters = (*CHAT_PARAMETERS, *more)
    return described(body, statuses=RUNS, stream=EVENTS, examples={"One question": example}, parameters=parameters)


CHAT = _runs(request.ChatCompletionRequest, request.EXAMPLE, CONVERSATION_PARAMETER)
COMPLETION = _runs(completions.CompletionRequest, completions.EXAMPLE)
RESPONSE = _runs(responses.ResponsesRequest, responses.EXAMPLE)

EMBEDDINGS = described(
    embeddings.EmbeddingRequest, statuses=RUNS, examples={"Two texts": embeddings.EXAMPLE}, parameters=CHAT_PARAMETERS
)


def openai_routes(bridge: Bridge) -> APIRouter:
    """The routes below `/v1`."""
    router = bridge.gate.router(Scope.CHAT, prefix="/v1")

    @router.post("/chat/completions", summary="Chat with the fleet", tags=["chat"], **CHAT)
    async def chat_completions(http: Request) -> Response:
        asked = request.read(await json_body(http))
        job = job_id(http.headers)
        chat = request.to_chat(asked, job=job or str(ULID()), priority=priority(http.headers))
        usage = include_usage(asked.stream_options)
        dialect = ChatDialect(job=str(chat.job), created=int(bridge.clock.unix_s()), include_usage=usage)
        return _answer(bridge, http, chat, job, dialect, talk=conversation(http.headers, asked.conversation_id))

    @router.post("/completions", summary="Answer a prompt, as OpenAI's older API has it", tags=["chat"], **COMPLETION)
    async def legacy_completions(http: Request) -> Response:
        asked = completions.read(await json_body(http))
        job = job_id(http.headers)
        chat = completions.to_chat(asked, job=job or str(ULID()), priority=priority(http.headers))
        dialect = completions.CompletionDialect(
            job=str(chat.job),
            created=int(bridge.clock.unix_s()),
            include_usage=include_usage(asked.stream_options),
            echo=completions.prompt_of(asked) if asked.echo else "",
        )
        return _answer(bridge, http, chat, job, dialect)

    @router.post("/responses", summary="Chat with the fleet by items; nothing is kept", tags=["chat"], **RESPONSE)
    async def create_response(http: Request) -> Response:
        asked = responses.read(await json_body(http))
        job = job_id(http.headers)
        chat = responses.to_chat(asked, job=job or str(ULID()), priority=priority(http.headers))
        writer = Writer(job=str(chat.job), created=int(bridge.clock.unix_s()), asked=asked)
        return _answer(bridge, http, chat, job, ResponseDialect(writer, bridge.clock.unix_s))

    @router.post("/embeddings", summary="Embed texts", tags=["embeddings"], **EMBEDDINGS)
    async def create_embeddings(http: Request) -> Response:
        asked = embeddings.read(await json_body(http))
        job = job_id(http.headers)
        wanted = embeddings.to_job(asked, job=job or str(ULID()), priority=priority(http.headers))
        dialect = embeddings.EmbeddingDialect(job=str(wanted.job), packed=asked.encoding_format == "base64")
        told = bridge.named(wished(wanted, http.headers), job)
        return bridge.embeddings(told, embeddings.texts_of(asked), caller_of(http), dialect)

    return router


def _answer(
    bridge: Bridge, http: Request, chat: ChatRequest, job: str | None, dialect: Dialect, *, talk: str | None = None
) -> Response:
    """Answer a chat with what its headers ask for besides; `job` is the id that its sender chose, if it did, and `talk` the
    conversation that it belongs to."""
    stream = not chat.hold
    telling = progress(http.headers, stream=stream)
    asked = bridge.named(wished(chat, http.headers), job)
    return bridge.answer(asked, caller_of(http), dialect, stream=stream, progress=telling, conversation=talk)


def include_usage(options: request.StreamOptions | None) -> bool:
    """Tell whether token counts are wanted in a stream."""
    return bool(options is not None and options.include_usage)


async def explained(http: Request) -> ChatRequest:
    """Read a chat that is to be explained, and not run. Raises `BadRequest` for one that belongs to a conversation."""
    asked = request.read(await json_body(http))
    if conversation(http.headers, asked.conversation_id) is not None:
        raise BadRequest(
            "a chat is explained by what it says itself, and no conversation is read for it: send its messages, and neither "
            "conversation_id nor X-Drover-Conversation",
            param="conversation_id",
        )
    chat = request.to_chat(asked, job=str(ULID()), priority=priority(http.headers))
    return wished(chat, http.headers)

"""The paths of Anthropic's API, but for its list of models, which shares OpenAI's path."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from common.keys import Scope
from dispatcher.bridge.anthropic import request
from dispatcher.bridge.anthropic.dialect import MessageDialect
from dispatcher.bridge.anthropic.shapes import MessageTold, TokenEstimate
from dispatcher.bridge.bodies import answered, json_body
from dispatcher.bridge.describing import ASKS, RUNS, described
from dispatcher.bridge.entry import chat_entry
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.sse import EVENTS
from dispatcher.bridge.surfaces import ANTHROPIC
from dispatcher.bridge.wiring import Bridge
from dispatcher.bridge.wishes import CHAT_PARAMETERS, CONVERSATION_PARAMETER

MESSAGES = described(
    request.MessagesRequest,
    surface=ANTHROPIC,
    statuses=RUNS,
    schema=MessageTold,
    stream=EVENTS,
    examples={"One question": request.EXAMPLE},
    parameters=(*CHAT_PARAMETERS, CONVERSATION_PARAMETER),
)

COUNT = described(
    request.CountTokensRequest,
    surface=ANTHROPIC,
    statuses=ASKS,
    answer="An estimate, on the safe side",
    schema=TokenEstimate,
    examples={"One question": request.EXAMPLE},
)


def anthropic_routes(bridge: Bridge) -> APIRouter:
    """The routes below `/v1/messages`."""
    router = bridge.gate.router(Scope.CHAT, prefix="/v1/messages", tags=["messages"])

    @router.post("", summary="Chat with the fleet, as Anthropic has it", dependencies=bridge.gate.asks(), **MESSAGES)
    async def messages(http: Request) -> Response:
        asked = request.read(await json_body(http))
        come, stream = chat_entry(caller_of(http), http.headers), bool(asked.stream)
        chat = request.to_chat(asked, job=come.job, priority=come.priority)
        estimate = request.chat_tokens(chat) if stream else 0
        return bridge.run(come, chat, MessageDialect(job=come.job, prompt_tokens=estimate), stream=stream)

    @router.post("/count_tokens", summary="Estimate the tokens of a request; nothing is run", **COUNT)
    async def count_tokens(http: Request) -> Response:
        count = request.estimated_tokens(request.read_count(await json_body(http)))
        why = "an estimate, on the safe side: each model has a tokenizer of its own"
        told = {"input_tokens": count, "x_drover": {"estimated": True, "note": why}}
        return answered(told, headers=ANTHROPIC.naming())

    return router

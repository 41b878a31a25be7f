"""A provider of paid models that answers what a test orders, as a process of its own: `python -m tests.provider --key=sk-…`.

It speaks the chat API as OpenAI documents it: server-sent chunks with one id, the usage in a last chunk without choices, errors as
`{"error":{"message","type","param","code"}}`, limits in `x-ratelimit-*`. A chat that does not ask for a stream gets a whole answer.
It knows nothing of Drover.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

MODELS = ("gpt-small", "gpt-large")


class Provider:
    """One order per chat, in their order; without one what stands for its model, else an ordinary answer. `seen` keeps the
    requests, `hung_up` how many streams their clients left before the end."""

    def __init__(self, keys: list[str]) -> None:
        self._keys = keys
        self._begin()

    def _begin(self) -> None:
        self._orders: list[dict[str, Any]] = []
        self._standing: dict[str, dict[str, Any]] = {}
        self._listing: dict[str, Any] | None = None
        self._cards: dict[str, dict[str, Any]] = {}
        self._seen: list[dict[str, Any]] = []
        self._hung_up = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/embeddings", self.embeddings, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/orders", self.order, methods=["POST"]),
                Route("/standing", self.order_standing, methods=["POST"]),
                Route("/cards", self.order_cards, methods=["POST"]),
                Route("/listing", self.order_listing, methods=["POST"]),
                Route("/state", self.state),
                Route("/forget", self.forget, methods=["POST"]),
            ]
        )

    async def order(self, request: Request) -> Response:
        self._orders += await request.json()
        return JSONResponse({})

    async def order_standing(self, request: Request) -> Response:
        self._standing = await request.json()
        return JSONResponse({})

    async def order_cards(self, request: Request) -> Response:
        self._cards = await request.json()
        return JSONResponse({})

    async def order_listing(self, request: Request) -> Response:
        self._listing = await request.json()
        return JSONResponse({})

    async def forget(self, _: Request) -> Response:
        self._begin()
        return JSONResponse({})

    async def state(self, _: Request) -> Response:
        return JSONResponse({"seen": self._seen, "hung_up": self._hung_up, "asked": len(self._seen)})

    async def models(self, request: Request) -> Response:
        if (refused := self._locked(request)) is not None:
            return refused
        if self._listing is not None:
            return _refusal(self._listing)
        cards = [
            {"id": name, "object": "model", "created": 1, "owned_by": "provider", **self._cards.get(name, {})}
            for name in MODELS
        ]
        return JSONResponse({"object": "list", "data": cards})

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self._seen.append({"headers": dict(request.headers), "body": body, "at_s": time.monotonic()})
        if (refused := self._locked(request)) is not None:
            return refused
        order = self._orders.pop(0) if self._orders else self._standing.get(body["model"], {})
        if order.get("mute"):
            while (await request.receive())["type"] != "http.disconnect":
                pass
            self._hung_up += 1
        if order.get("status", 200) != 200 and not (order.get("schema_only") and "response_format" not in body):
            return _refusal(order)
        if not body.get("stream"):
            return whole(order, body["model"])
        chunks = self._chunks(order, body["model"])
        return StreamingResponse(chunks, headers=order.get("headers"), media_type="text/event-stream")

    async def embeddings(self, request: Request) -> Response:
        """Give each text's length as its embedding, the last text's first; `body` is what comes instead."""
        body = await request.json()
        self._seen.append({"headers": dict(request.headers), "body": body, "at_s": time.monotonic()})
        if (refused := self._locked(request)) is not None:
            return refused
        order = self._orders.pop(0) if self._orders else {}
        if order.get("status", 200) != 200:
            return _refusal(order)
        packed = [base64.b64encode(struct.pack("<f", len(text))).decode() for text in body["input"]]
        data = [{"object": "embedding", "index": number, "embedding": one} for number, one in enumerate(packed)]
        usage = {"prompt_tokens": 1000, "total_tokens": 1000}
        answer = {"object": "list", "data": data[::-1], "model": body["model"], "usage": usage}
        return JSONResponse(order.get("body", answer))

    async def _chunks(self, order: dict[str, Any], model: str) -> AsyncIterator[str]:
        try:
            for raw in order["raw"] if "raw" in order else ordinary(order, model):
                yield raw
            if order.get("then") == "hold":
                await asyncio.Event().wait()
            if order.get("then") == "sever":
                raise ConnectionAbortedError("as ordered")
        except (asyncio.CancelledError, GeneratorExit):
            self._hung_up += 1
            raise

    def _locked(self, request: Request) -> Response | None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if given in self._keys:
            return None
        return _refusal(
            {
                "status": 401,
                "error": {
                    "message": f"Incorrect API key provided: {given[:4]}****{given[-4:]}.",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": "invalid_api_key",
                },
            }
        )


def ordinary(order: dict[str, Any], model: str) -> list[str]:
    """Give the events of an answer: the role, the deltas, the finish, the usage, the end, unless the order says otherwise."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    deltas = order.get("deltas", [{"content": text} for text in order.get("texts", ["Hello", " from the cloud"])])
    events = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None}
        for delta in [{"role": "assistant", "content": ""}, *deltas]
    ]
    if order.get("then") is None:
        finish = order.get("finish", "stop")
        events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "usage": None})
        usage = order.get("usage", {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500})
        if usage:
            events.append({**head, "choices": [], "usage": usage})
    done = ["data: [DONE]\n\n"] if order.get("then") is None else []
    return [*(f"data: {json.dumps(event)}\n\n" for event in events), *done]


def whole(order: dict[str, Any], model: str) -> Response:
    """An answer in one piece; `raw` is what comes instead, as it stands."""
    if "raw" in order:
        return Response("".join(order["raw"]), headers=order.get("headers"), media_type="application/json")
    text = "".join(order.get("texts", ["Hello", " from the cloud"]))
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": order.get("finish", "stop"),
    }
    usage = order.get("usage", {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500})
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    return JSONResponse({**body, "usage": usage} if usage else body, headers=order.get("headers"))


def _refusal(order: dict[str, Any]) -> Response:
    body = order.get("body")
    if body is not None:
        return Response(body, order["status"], order.get("headers"), "text/html")
    return JSONResponse({"error": order["error"]}, order["status"], order.get("headers"))


def main() -> None:
    """Serve on a free port, and say which."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--key", action="append", default=[])
    provider = Provider(parser.parse_args().key or [""])
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        sys.stdout.write(f"listening on http://127.0.0.1:{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        config = uvicorn.Config(provider.app(), log_level="critical", timeout_graceful_shutdown=1)
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()

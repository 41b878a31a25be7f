"""The HTTP API: paths and statuses; the only place where a typed error becomes a status."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import NamedTuple

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from ulid import ULID

from common import codec
from common.energy import Energy
from common.errors import DeadlineInfeasible, FleetError, InternalError, QueueFull, Stopping, UnknownModel
from common.logs import get_logger
from common.messages import AUTO, ChatRequest
from dispatcher.bridge.answer import ChatAnswer, Manner, Means
from dispatcher.bridge.explaining import explaining
from dispatcher.bridge.headers import ENERGY_HEADER, JOB_HEADER, energy_text, header_text
from dispatcher.bridge.jobs import jobs
from dispatcher.bridge.openai import reply, request
from dispatcher.bridge.presence import Offer, Presence, find, offers
from dispatcher.bridge.wishes import job_id, priority, progress, wished

log = get_logger("bridge")

BODY_READ_S = 30.0
"""A megabyte takes 8 s on a 1 Mbit/s line; who needs longer holds a connection for nothing."""


class Verdict(NamedTuple):
    """How HTTP says it: the status, and OpenAI's `type`."""

    status: int
    kind: str


_OURS = "server_error"
_THEIRS = "invalid_request_error"

STATUSES: Mapping[str, Verdict] = {
    "error": Verdict(500, _OURS),
    "request": Verdict(400, _THEIRS),
    "bad_request": Verdict(400, _THEIRS),
    "too_large": Verdict(413, _THEIRS),
    "unknown_model": Verdict(404, _THEIRS),
    "unknown_device": Verdict(404, _THEIRS),
    "not_allowed": Verdict(403, "permission_error"),
    "too_dear": Verdict(400, _THEIRS),
    "unsupported": Verdict(400, _THEIRS),
    "context_length_exceeded": Verdict(400, _THEIRS),
    "unknown_job": Verdict(404, _THEIRS),
    "unknown_key": Verdict(404, _THEIRS),
    "unknown_conversation": Verdict(404, _THEIRS),
    "unreadable_file": Verdict(400, _THEIRS),
    "unauthorized": Verdict(401, "authentication_error"),
    "duplicate_job": Verdict(409, _THEIRS),
    "capacity": Verdict(503, _OURS),
    "cache": Verdict(503, _OURS),
    "no_device": Verdict(503, _OURS),
    "queue_full": Verdict(429, "rate_limit_error"),
    "rate_limit": Verdict(429, "rate_limit_error"),
    "quota_spent": Verdict(429, "insufficient_quota"),
    "deadline": Verdict(504, _OURS),
    # Not a time-out: it was refused at once, and later, or with more time, the same request may do.
    "deadline_infeasible": Verdict(503, _OURS),
    "stopping": Verdict(503, _OURS),
    "no_dispatcher": Verdict(503, _OURS),
    "attempt": Verdict(502, _OURS),
    "busy": Verdict(503, _OURS),
    "budget": Verdict(503, _OURS),
    "device_lost": Verdict(502, _OURS),
    "silent": Verdict(504, _OURS),
    "backend": Verdict(502, _OURS),
    "not_loadable": Verdict(502, _OURS),
    "garbled": Verdict(502, _OURS),
    "interrupted": Verdict(502, _OURS),
    # Somebody else cancelled the job: no registered status says that; proxies know 499, "client closed request".
    "cancelled": Verdict(499, _THEIRS),
    "bus": Verdict(503, _OURS),
    "disconnected": Verdict(503, _OURS),
    "no_responders": Verdict(503, _OURS),
    "bus_timeout": Verdict(504, _OURS),
    "no_streams": Verdict(503, _OURS),
    "stream_conflict": Verdict(409, _OURS),
    "stream": Verdict(503, _OURS),
    "ledger": Verdict(503, _OURS),
    "config": Verdict(500, _OURS),
    "labels": Verdict(500, _OURS),
    "weights": Verdict(500, _OURS),
    "weights_mismatch": Verdict(500, _OURS),
    "internal": Verdict(500, _OURS),
}


NEVER_BEGUN = frozenset({Stopping.code, QueueFull.code, DeadlineInfeasible.code})


def verdict(error: FleetError) -> Verdict:
    """The status of an error; of its nearest known ancestor, if the code is newer than this table."""
    codes = (getattr(cls, "code", "") for cls in type(error).__mro__)
    return next((STATUSES[code] for code in codes if code in STATUSES), STATUSES["error"])


def refusal(error: FleetError, job: str | None = None, accepted: bool = False, taken: Energy | None = None) -> Response:
    """Make the response for an error.

    Once the fleet had accepted the job, clients are told not to send it again by themselves: it may have run. A dispatcher
    that stops gives its jobs up, and another one is glad to take them; what the line refuses was never begun.
    """
    status, kind = verdict(error)
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if (accepted and error.code not in NEVER_BEGUN) or status == HTTPStatus.CONFLICT:
        headers["x-should-retry"] = "false"
    if job is not None:
        headers[JOB_HEADER] = header_text(job)
    if taken is not None:
        headers[ENERGY_HEADER] = header_text(energy_text(taken))
    log.info("http.refused", status=status, code=error.code, job=job)
    return _json(reply.error_body(error, kind, job=job, taken=taken), status, headers)


def error_body(error: FleetError, job: str, taken: Energy | None = None) -> reply.Json:
    """Make the error object of a stream that has begun."""
    return reply.error_body(error, verdict(error).kind, job=job, taken=taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """What the routes need."""

    means: Means
    presence: Presence
    hold_s: float
    retry_grace_s: float
    started_unix_s: int


def api(bridge: Bridge) -> APIRouter:
    """The routes of OpenAI's API, and `/health`."""
    router = APIRouter()

    @router.post("/v1/chat/completions", summary="Chat with the fleet", tags=["chat"])
    async def chat_completions(http: Request) -> Response:
        asked = request.read(await _json_body(http))
        job = job_id(http.headers)
        manner = Manner(
            stream=bool(asked.stream),
            include_usage=bool(asked.stream_options and asked.stream_options.include_usage),
            progress=progress(http.headers, stream=bool(asked.stream)),
            hold_s=bridge.hold_s,
        )
        chat = request.to_chat(asked, job=job or str(ULID()), priority=priority(http.headers))
        # Only who chose the id can come again under it; for others nobody needs to look whether the job is known.
        chat = wished(chat, http.headers)
        chat = replace(chat, resends=0) if job is None else replace(chat, keep_s=bridge.retry_grace_s)
        return ChatAnswer(chat, manner, bridge.means)

    @router.get("/v1/models", summary="The models that the fleet has now", tags=["models"])
    async def models() -> Response:
        cards = [_card(offer, bridge) for offer in offers(bridge.presence.fleet()).values()]
        return _json({"object": "list", "data": [_auto_card(bridge), *cards]})

    @router.get("/v1/models/{model:path}", summary="One model", tags=["models"])
    async def model(model: str) -> Response:
        if model == AUTO:
            return _json(_auto_card(bridge))
        offer = find(bridge.presence.fleet(), model)
        if offer is None:
            what = f"no device has the model {model[:200]!r}: GET /v1/models lists those there are"
            return refusal(UnknownModel(what, param="model"))
        return _json({**_card(offer, bridge), "id": model})

    @router.get("/health", summary="Whether a chat can be answered now", tags=["fleet"])
    async def health() -> Response:
        now = await bridge.presence.health()
        if now.reason:
            return _json({"status": "unavailable", "reason": now.reason, **now.facts}, 503)
        return _json({"status": "ok", **now.facts})

    router.include_router(explaining(bridge.means.drover, _asked, _json_body))
    router.include_router(jobs(bridge.means.drover, bridge.means.curfew, _json_body))
    router.add_api_route("/health", health, methods=["HEAD"], include_in_schema=False)
    return router


async def _asked(http: Request) -> ChatRequest:
    """Read a chat that is to be explained, and not run."""
    asked = request.read(await _json_body(http))
    chat = request.to_chat(asked, job=str(ULID()), priority=priority(http.headers))
    return wished(chat, http.headers)


def answer_errors(app: FastAPI) -> None:
    """Give every error OpenAI's shape, those of the framework included, and never a stack trace."""

    async def typed(_: Request, error: Exception) -> Response:
        return refusal(error if isinstance(error, FleetError) else InternalError())

    async def http_error(http: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # registered for this class only
        code = _CODES.get(error.status_code, "request")
        body = {"message": _http_message(http, error), "type": _THEIRS, "param": None, "code": code}
        return _json({"error": body}, error.status_code, dict(error.headers or {}))

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=499)

    app.add_exception_handler(FleetError, typed)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, typed)


_CODES = {404: "not_found", 405: "method_not_allowed", 408: "body_timeout", 415: "unsupported_media_type"}


def _http_message(http: Request, error: HTTPException) -> str:
    path = http.scope["path"][:200]
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return f"there is nothing at {path}: /docs lists the paths"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"{path} does not take {http.method}: /docs lists the methods"
        case _:
            return str(error.detail)


async def _json_body(http: Request) -> bytes:
    """Read the body, which must say that it is JSON."""
    if not _takes_type(http.headers):
        kind = http.headers.get("content-type", "")[:80]
        raise HTTPException(415, f"the content type is {kind or 'missing'!r}: send -H 'Content-Type: application/json'")
    if http.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "compressed bodies are not taken: send the JSON as it is")
    try:
        async with asyncio.timeout(BODY_READ_S):
            return await http.body()
    except TimeoutError as error:
        raise HTTPException(408, f"the body did not come within {BODY_READ_S:g} s") from error


def _takes_type(headers: Mapping[str, str]) -> bool:
    """Tell whether a body of this type is read.

    1. JSON by any of its names: a web page can't send that to another site without asking first, and it is never allowed.
    2. What `curl -d` says when it is told nothing, but not from a browser: pages can send forms anywhere.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return True
    from_browser = "origin" in headers or "sec-fetch-site" in headers
    return kind == "application/x-www-form-urlencoded" and not from_browser


def _auto_card(bridge: Bridge) -> reply.Json:
    return reply.model_card(AUTO, bridge.started_unix_s, {"description": "the fleet chooses model and device"})


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


def _json(body: reply.Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(codec.encode(body), status, headers, "application/json")

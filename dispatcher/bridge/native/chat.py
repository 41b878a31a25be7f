"""Drover's own chat over HTTP: one answer as JSON, or the frames of NATS as events, each named as its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from common import codec, energy, frames
from common.energy import Energy
from common.errors import BadRequest, FleetError
from common.keys import Scope
from dispatcher.bridge.bodies import json_body
from dispatcher.bridge.describing import RUNS, described
from dispatcher.bridge.entry import chat_entry
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.headers import KEY_HEADER, PROGRESS_HEADER
from dispatcher.bridge.native.request import EXAMPLE, IN_NATIVE, NativeChatRequest, attached, to_chat
from dispatcher.bridge.native.shapes import NativeAnswer
from dispatcher.bridge.openai import reply
from dispatcher.bridge.reading import read_as
from dispatcher.bridge.sse import COMMENT, EVENTS, event
from dispatcher.bridge.surfaces import NATIVE
from dispatcher.bridge.threads import NEW
from dispatcher.bridge.wiring import Bridge
from dispatcher.bridge.wishes import CHAT_PARAMETERS, CONVERSATION_PARAMETER

Json = dict[str, Any]

CHAT = described(
    NativeChatRequest,
    surface=NATIVE,
    statuses=RUNS,
    schema=NativeAnswer,
    stream=EVENTS,
    examples={
        "One question": EXAMPLE,
        "In a conversation": '{"prompt":"And at night?","conversation_id":"new","stream":true}',
    },
    parameters=(*CHAT_PARAMETERS, CONVERSATION_PARAMETER),
)


def chat_routes(bridge: Bridge) -> APIRouter:
    """The route `/api/v1/chat`."""
    router = bridge.gate.router(Scope.CHAT, prefix="/api/v1", tags=["chat"])

    @router.post(
        "/chat",
        summary="Chat with the fleet, as on NATS",
        dependencies=bridge.gate.asks(),
        description="As a stream it gives the events `ack`, `route`, `ka` (with the phase, and the place in the queue), `tok`, and "
        "`end` or `err`; their data are the frames that producers get.",
        **CHAT,
    )
    async def chat(http: Request) -> Response:
        asked = read_as(NativeChatRequest, await json_body(http), example=EXAMPLE, elsewhere=IN_NATIVE)
        come = chat_entry(caller_of(http), http.headers, job=asked.job, conversation_id=asked.conversation_id)
        stream = asked.stream
        sent = to_chat(asked, job=come.job, stream=stream)
        if come.priority is not None:
            sent = replace(sent, priority=come.priority)
        # Every step is told, unless somebody would rather have headers that name the device.
        telling = None if PROGRESS_HEADER in http.headers else stream
        files, files_of = attached(asked), asked.files_of
        if files_of is not None and come.talk in {None, NEW}:
            raise BadRequest(
                "files_of names a turn of a conversation: send its id as conversation_id", param="files_of"
            )
        del asked  # what has been read is not kept for as long as the job waits and runs
        dialect = NativeDialect(job=come.job)
        return bridge.run(come, sent, dialect, stream=stream, progress=telling, attached=files, files_of=files_of)

    return router


class NativeDialect:
    """Writes one answer."""

    surface = NATIVE
    called: Mapping[str, str] = MappingProxyType({"provider_key": KEY_HEADER, "images": "messages"})
    media_type = EVENTS

    def __init__(self, *, job: str) -> None:
        self._job = job
        self._tokens = 0
        self._routed: tuple[object, ...] = ()

    def begin(self, model: str) -> bytes:  # noqa: ARG002  # as all dialects are asked
        return _event(frames.to_wire(frames.Ack(self._job)))

    def text(self, model: str, text: str) -> bytes:  # noqa: ARG002
        frame = frames.Token(self._tokens, text)
        self._tokens += 1
        return _event(frames.to_wire(frame))

    def still(self, model: str, standing: Json) -> bytes:  # noqa: ARG002
        """Tell the route where it is a new one, and else what the job waits for; a comment where nothing is known."""
        route: Json = {
            name: standing[name] for name in ("job", "device", "model", "reason", "attempt") if name in standing
        }
        found = tuple(route.values())
        told = b""
        if "device" in route and found != self._routed:
            self._routed = found
            told = _event({"t": "route", **route})
        if "phase" in standing:
            waits: Json = {"t": "ka", "phase": standing["phase"]}
            if "eta_s" in standing:
                waits["eta_ms"] = round(standing["eta_s"] * 1000)
            if "position" in standing:
                waits["position"] = standing["position"]
            told += _event(waits)
        return told or COMMENT

    def end(self, model: str, end: frames.End) -> bytes:  # noqa: ARG002
        return _event({**frames.to_wire(end), "route": reply.account(self._job, end.route)})

    def broken(self, error: FleetError, taken: Energy | None) -> bytes:
        failed = frames.to_wire(frames.Err(error))
        return _event(failed if taken is None else {**failed, "energy": energy.to_wire(taken)})

    def whole(self, model: str, text: str, end: frames.End) -> Json:
        wire = frames.to_wire(end)
        told: Json = {
            name: wire[name] for name in ("finish", "usage", "engine", "tool_calls", "cost_usd") if name in wire
        }
        return {"job": self._job, "text": text, "model": model, **told, "x_drover": reply.receipt(self._job, end)}


def _event(wire: Json) -> bytes:
    return event(codec.encode(wire), name=str(wire["t"]))

"""Durable jobs over HTTP: submit, look, follow, cancel; it knows streams through the producer's library, and no routing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from ulid import ULID

from common import codec, keys
from common.client import Drover
from common.durable import Note
from common.durable_client import DurableJobs, Event
from common.errors import BadRequest, UnknownJob
from common.logs import get_logger
from common.messages import CacheWish, ChatRequest, Priority
from common.subjects import is_token
from dispatcher.bridge.bodies import json_body
from dispatcher.bridge.callers import on_behalf
from dispatcher.bridge.describing import ASKS, GUARDED, described
from dispatcher.bridge.gate import Gate, caller_of
from dispatcher.bridge.headers import JOB_HEADER, header_text
from dispatcher.bridge.sse import COMMENT, Curfew, ReaderStalled, Stream, event, while_connected
from dispatcher.bridge.sse import EVENTS as MEDIA_TYPE
from dispatcher.bridge.wishes import job_id, wished
from dispatcher.bridge.wishes import priority as priority_of

log = get_logger("bridge")

BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "description": "A chat request as on NATS: `prompt` or `messages`, and what else is wanted.",
                "properties": {
                    "prompt": {"type": "string"},
                    "messages": {"type": "array", "items": {"type": "object"}},
                    "model": {"type": "string", "default": "auto"},
                    "job": {"type": "string", "description": "the job's id; the same request again adds nothing"},
                    "options": {"type": "object", "description": "`max_tokens`, `temperature`, … stand in here"},
                    "timeout_s": {"type": "number", "description": "seconds from the submission until it is given up"},
                    "strategy": {"type": "string", "description": "how the device is chosen"},
                    "max_cost_usd": {
                        "type": "number",
                        "description": "keeps it from models that may cost more",
                    },
                    "cache": {
                        "type": "string",
                        "enum": [str(one) for one in CacheWish],
                        "description": "which answers that were given before will do",
                    },
                    "user": {"type": "string", "description": "on whose behalf you ask"},
                },
            },
            "examples": {"short": {"summary": "One question", "value": {"prompt": "Why is the sky blue?"}}},
        }
    },
}

COMMENT_S = 15.0
"""A job may lie in the queue for hours: proxies end a connection that is silent for half a minute or more."""

EVENTS = (
    "One event per state, named as it, and the last one has the answer or the error; `Last-Event-ID` goes on where a connection "
    "broke off. The text comes in one piece with `done`: until it is stored the job may begin anew on another device, or with "
    "another dispatcher, with another text. For text as it grows use `/v1/chat/completions` with `stream`."
)

_ID = Path(description="the job's id, as the submission gave it")

KNOWN = GUARDED | {404}
"""What can be wrong with a question about a job."""

SUBMIT = {**described(statuses=ASKS | {409}, success=202), "openapi_extra": {"requestBody": BODY}}

TOLD = described(statuses=KNOWN, stream=MEDIA_TYPE)
TOLD["responses"][204] = {"description": "It is over, and nothing more will be told behind `Last-Event-ID`"}


def jobs(drover: Drover, curfew: Curfew, gate: Gate) -> APIRouter:
    """The routes below `/v1/jobs`."""
    router = gate.router(keys.Scope.CHAT, prefix="/v1/jobs", tags=["jobs that survive every process"])
    durable = drover.durable

    @router.post("", summary="Submit a job", **SUBMIT)
    async def submit(
        http: Request,
        priority: Annotated[
            Priority | None, Query(description="class of the queue; else the body's `priority`, else normal")
        ] = None,
    ) -> Response:
        request = codec.build(ChatRequest, codec.decode_request(await json_body(http)))
        caller = caller_of(http)
        job = request.job or job_id(http.headers) or str(ULID())
        request = replace(on_behalf(caller, wished(request, http.headers)), job=job)
        request = await gate.admit(caller, request)
        done = await durable.submit(request, priority=priority or priority_of(http.headers), tenant=caller.tenant)
        where = f"/v1/jobs/{done.job}"
        body = {"id": done.job, "object": "job", "state": done.state, "known": done.known, "url": where}
        return _json(body, 202, {"location": where, JOB_HEADER: header_text(done.job)})

    @router.get("/{job}", summary="How far a job is, and its answer", **described(statuses=KNOWN))
    async def look(http: Request, job: Annotated[str, _ID]) -> Response:
        return _json(
            _card(await durable.look(_known(job), tenant=caller_of(http).tenant)), 200, {JOB_HEADER: header_text(job)}
        )

    @router.get("/{job}/events", summary="What happens to a job, as server-sent events", description=EVENTS, **TOLD)
    async def events(http: Request, job: Annotated[str, _ID]) -> Response:
        after = _last_event(http.headers)
        tenant = caller_of(http).tenant
        await durable.look(_known(job), tenant=tenant)
        if await durable.over(job, after=after, tenant=tenant):
            return Response(status_code=204)  # by it a browser's EventSource learns that it need not come back
        return JobEvents(durable, job, after, curfew, tenant=tenant)

    @router.delete("/{job}", summary="Cancel a job", **described(statuses=KNOWN))
    async def cancel(http: Request, job: Annotated[str, _ID]) -> Response:
        return _json({"id": job, "cancelled": await durable.cancel(_known(job), tenant=caller_of(http).tenant)})

    return router


class JobEvents(Response):
    """The notes of one job as they come, each with its number in the stream: `Last-Event-ID` goes on behind it."""

    def __init__(
        self, durable: DurableJobs, job: str, after: int, curfew: Curfew, *, tenant: str, comment_s: float = COMMENT_S
    ) -> None:
        super().__init__()
        self._durable = durable
        self._job = job
        self._after = after
        self._curfew = curfew
        self._tenant = tenant
        self._comment_s = comment_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # as ASGI calls it
        await while_connected(receive, self._follow(Stream(send)))

    async def _follow(self, out: Stream) -> None:
        try:
            await out.start([(JOB_HEADER.encode(), header_text(self._job).encode())])
            async with (
                asyncio.timeout(None) as limit,
                aclosing(self._durable.events(self._job, after=self._after, tenant=self._tenant)) as events,
            ):
                with self._curfew.bind(limit):
                    await self._tell(events, out)
        except TimeoutError:
            pass  # the bridge stops: the client comes again, with the number of the last event
        except ReaderStalled:
            log.info("http.job_events", job=self._job, outcome="reader_stalled")
            return
        await out.close()

    async def _tell(self, events: AsyncIterator[Event], out: Stream) -> None:
        """Send the events, and comments while there is none. Raises `ReaderStalled`."""
        stalled = False
        try:
            async with asyncio.TaskGroup() as tasks:
                comments = tasks.create_task(self._comment(out))
                async for one in events:
                    await out.put(event(_data(one), number=one.seq, name=str(one.note.state)))
                comments.cancel()
        except* ReaderStalled:
            stalled = True
        if stalled:
            raise ReaderStalled

    async def _comment(self, out: Stream) -> None:
        while True:
            await asyncio.sleep(self._comment_s)
            await out.put(COMMENT)


def _data(one: Event) -> bytes:
    return codec.encode(_card(one.note))


def _card(note: Note) -> dict[str, Any]:
    wire = codec.plain(replace(note, fingerprint=None))  # it is between producers and dispatchers
    return {"id": wire.pop("job"), "object": "job", **wire}


def _known(job: str) -> str:
    """Refuse what can't be the id of any job."""
    if not is_token(job):
        raise UnknownJob(f"there is no job {job[:80]!r}: ids are 1 to 64 of A-Z a-z 0-9 _ -", param="job")
    return job


def _last_event(headers: Mapping[str, str]) -> int:
    given = headers.get("last-event-id", "0")
    if not (given.isascii() and given.isdecimal() and len(given) < 19):
        raise BadRequest(
            f"Last-Event-ID {given[:40]!r} is no number of an event: leave it out to begin at the first",
            param="Last-Event-ID",
        )
    return int(given)


def _json(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(codec.encode(body), status, dict(headers or {}), "application/json")

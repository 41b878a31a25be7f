"""Jobs over HTTP: submit durable ones, follow them, and look at, list and cancel one's own; it knows streams through the
producer's library, and no routing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen
from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from common import codec, keys
from common.errors import (
    BusTimeout,
    NoDispatcher,
    NoResponders,
    StreamsUnavailable,
    UnknownJob,
)
from common.ledger import MOST_ROWS, JobsQuery, Span
from common.messages import Priority, Token
from common.subjects import is_token
from dispatcher.bridge.bodies import answered, json_body
from dispatcher.bridge.callers import Caller, first_known, listed, on_behalf
from dispatcher.bridge.describing import GUARDED, RUNS, described
from dispatcher.bridge.entry import entry
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.headers import JOB_HEADER, PRIORITY_HEADER, header_text
from dispatcher.bridge.native.following import JobEvents, card, last_event
from dispatcher.bridge.native.replies import SPAN, from_ledger, limit_of, parameter, queried, record_of
from dispatcher.bridge.native.request import EXAMPLE, IN_NATIVE, NativeJobRequest, to_chat
from dispatcher.bridge.native.shapes import JobCancelled, JobPage, JobSubmitted, JobTold
from dispatcher.bridge.reading import read_as
from dispatcher.bridge.sse import EVENTS
from dispatcher.bridge.surfaces import NATIVE
from dispatcher.bridge.wiring import Bridge
from dispatcher.bridge.wishes import CHAT_PARAMETERS
from dispatcher.bridge.wishes import priority as priority_of

JOB_PARAMETERS = (
    parameter(
        "priority",
        "class of the queue; else the body's `priority`, else normal",
        type="string",
        enum=[str(one) for one in Priority],
    ),
    *(one for one in CHAT_PARAMETERS if one["name"] != "X-Drover-Progress"),
)

EVENTS_SAID = (
    "One event per state, named as it, and the last one has the answer or the error; `Last-Event-ID` goes on where a connection "
    "broke off. The text comes in one piece with `done`: until it is stored the job may begin anew on another device, or with "
    "another dispatcher, with another text. For text as it grows use `/v1/chat/completions` with `stream`."
)

ALL_TOLD = "It is over, and its last event was told: there is no more to come back for"

NO_DURABLE = (UnknownJob, StreamsUnavailable, BusTimeout)
"""What a job is met with that is no durable one, and any where nobody has made the streams: a bus may not say which."""

_ID = Path(description="the job's id, as the submission gave it")

LISTED, MOST_CURSOR_CHARS = 20, 64
"""Of a page whose asker names no number, and of what names the page behind it: the id of a record."""

LIST_PARAMETERS = (
    limit_of(MOST_ROWS, LISTED),
    parameter("before", "the `next` of the page before", type="string", maxLength=MOST_CURSOR_CHARS),
    *SPAN,
    parameter("device", "that answered", type="string"),
    parameter("model", "that answered", type="string"),
    parameter("state", "such as done, failed or cancelled", type="string"),
    parameter("strategy", "that chose, as it was asked for", type="string"),
    parameter("error", "the code of what it failed with, such as deadline", type="string"),
    parameter(
        "tenant",
        "whose; who may not see all of the fleet (read:fleet) is told of its own user's jobs alone",
        type="string",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing(Span):
    limit: Annotated[int, Ge(1), Le(MOST_ROWS)] = LISTED
    before: Annotated[str, MaxLen(MOST_CURSOR_CHARS)] | None = None
    device: Token | None = None
    model: Annotated[str, MaxLen(200)] | None = None
    state: Annotated[str, MaxLen(16)] | None = None
    strategy: Annotated[str, MaxLen(64)] | None = None
    error: Annotated[str, MaxLen(64)] | None = None
    tenant: Token | None = None


def job_routes(bridge: Bridge, prefix: str = "/api/v1/jobs", *, shown: bool = True) -> APIRouter:
    """The routes of jobs below `prefix`; `shown` in the API's description, or not, where they are an alias."""
    router = bridge.gate.router(keys.Scope.CHAT, prefix=prefix, tags=["jobs"], include_in_schema=shown)
    _add_durable(router, bridge, prefix)
    _add_known(router, bridge)
    return router


def _add_durable(router: APIRouter, bridge: Bridge, prefix: str) -> None:
    durable = bridge.drover.durable

    @router.post(
        "",
        summary="Submit a job that survives every process",
        dependencies=bridge.gate.asks(),
        **described(
            NativeJobRequest,
            surface=NATIVE,
            statuses=RUNS,
            success=202,
            schema=JobSubmitted,
            answer="It is in the queue",
            examples={"One question": EXAMPLE},
            parameters=JOB_PARAMETERS,
        ),
    )
    async def submit(http: Request) -> Response:
        asked = read_as(NativeJobRequest, await json_body(http), example=EXAMPLE, elsewhere=IN_NATIVE)
        caller = caller_of(http)
        come = entry(caller, http.headers, job=asked.job)
        chat = come.wished(to_chat(asked, job=come.job, stream=False))
        urgency = _priority(http) or come.priority
        # Counted until it lies in the queue: there it waits for its turn, among all of its tenant's.
        with bridge.gate.running(caller):
            chat = await bridge.asking.prepared(chat, caller)
            async with bridge.gate.job(caller, on_behalf(caller, chat)) as place:
                done = await durable.submit(
                    place.request, priority=urgency, tenant=caller.tenant, handover=place.handover
                )
        where = f"{prefix}/{done.job}"
        body = {"id": done.job, "object": "job", "state": done.state, "known": done.known, "url": where}
        return answered(body, 202, {"location": where, JOB_HEADER: header_text(done.job)})

    @router.get(
        "/{job}/events",
        summary="What happens to a durable job, as server-sent events",
        description=EVENTS_SAID,
        **described(surface=NATIVE, statuses=GUARDED | {404}, stream=EVENTS, also={204: (ALL_TOLD, None)}),
    )
    async def events(http: Request, job: Annotated[str, _ID]) -> Response:
        after = last_event(http.headers)
        caller = caller_of(http)
        tenant = caller.tenant

        async def found(one: str) -> str:
            await durable.look(one, tenant=tenant)
            return one

        job = await first_known(caller.jobs_to_see(_known(job)), found)
        if await durable.over(job, after=after, tenant=tenant):
            return Response(status_code=204)  # by it a browser's EventSource learns that it need not come back
        recalls = partial(bridge.gate.recalls.bind, caller)
        counted = bridge.gate.following(caller)
        return JobEvents(durable, job, after, bridge.curfew, tenant=tenant, recalls=recalls, counted=counted)


def _add_known(router: APIRouter, bridge: Bridge) -> None:
    @router.get(
        "",
        summary="Jobs that are over, newest first, as the ledger has them",
        **described(surface=NATIVE, statuses=GUARDED, schema=JobPage, parameters=LIST_PARAMETERS),
    )
    async def past(http: Request) -> Response:
        query = _whose(queried(_Listing, http), caller_of(http))
        return answered(await from_ledger(bridge, "jobs", query))

    @router.get(
        "/{job}",
        summary="How far a job is, and its answer; of one that is over and was not durable, how it went",
        **described(surface=NATIVE, statuses=GUARDED | {404}, schema=JobTold),
    )
    async def look(http: Request, job: Annotated[str, _ID]) -> Response:
        caller = caller_of(http)
        job, told = await first_known(caller.jobs_to_see(_known(job)), partial(_told, bridge, caller))
        return answered(told, 200, {JOB_HEADER: header_text(job)})

    @router.delete(
        "/{job}",
        summary="Cancel a job, durable or live",
        **described(surface=NATIVE, statuses=GUARDED | {404}, schema=JobCancelled),
    )
    async def cancel(http: Request, job: Annotated[str, _ID]) -> Response:
        caller = caller_of(http)
        job, done = await first_known(caller.jobs_to_change(_known(job)), partial(_cancel, bridge, caller.tenant))
        return answered({"id": job, "cancelled": done})


def _whose(asked: _Listing, caller: Caller) -> JobsQuery:
    """Keep a caller to the jobs that it is told of. Raises `NotAllowed`."""
    seen = listed(caller, asked.tenant)
    return JobsQuery(**{**codec.plain(asked), "tenant": seen.tenant, "ending": seen.ending})


async def _told(bridge: Bridge, caller: Caller, job: str) -> tuple[str, Mapping[str, Any]]:
    """Say how far a job is, behind its id. Raises `UnknownJob`."""
    try:
        note = await bridge.drover.durable.look(job, tenant=caller.tenant)
    except NO_DURABLE as unknown:
        record = await _record(bridge, job, caller)
        if record is None:
            raise UnknownJob(unknown.message, param="job") from unknown
        return job, {"id": job, "object": "job", "state": record["state"], "record": record}
    record = await _record(bridge, job, caller) if note.final else None
    return job, card(note) | ({} if record is None else {"record": record})


async def _cancel(bridge: Bridge, tenant: str, job: str) -> tuple[str, bool]:
    """Cancel a job, and say behind its id whether it was not over. Raises `UnknownJob`."""
    try:
        return job, await bridge.drover.durable.cancel(job, tenant=tenant)
    except NO_DURABLE as unknown:
        if await _cancel_live(bridge, job, tenant):
            return job, True
        raise UnknownJob(
            f"there is no job {job!r} that could be cancelled: it is over, or the id is wrong", param="job"
        ) from unknown


async def _cancel_live(bridge: Bridge, job: str, tenant: str) -> bool:
    try:
        return await bridge.drover.cancel(job, tenant=tenant)
    except (BusTimeout, NoResponders) as error:
        raise NoDispatcher("no dispatcher is there to cancel it: start one with `drover dispatcher`") from error


async def _record(bridge: Bridge, job: str, caller: Caller) -> Mapping[str, Any] | None:
    """Give what the ledger knows of a job; None where that is nothing, or no ledger runs. What was weighed besides the device
    that answered is told, as far as the caller may see it, by `GET /api/v1/route/{job}`."""
    record = await record_of(bridge, job, caller.tenant)
    if record is None or caller.sees_all:
        return record
    return {name: value for name, value in record.items() if name != "decision"}


def _priority(http: Request) -> Priority | None:
    """Read the class of the queue from the address, where it stands there."""
    given = http.query_params.get("priority")
    return None if given is None else priority_of({PRIORITY_HEADER: given})


def _known(job: str) -> str:
    """Refuse what can't be the id of any job."""
    if not is_token(job):
        raise UnknownJob(f"there is no job {job[:80]!r}: ids are 1 to 64 of A-Z a-z 0-9 _ -", param="job")
    return job

"""What people say of answers over HTTP: thumbs of one, votes among several, and what all of it adds up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from common import codec, keys
from common.errors import BadRequest, NotAllowed
from common.ledger import Span
from common.messages import Token
from common.ratings import MOST_COMPARED, read_rating
from common.votes import Contest, VotesQuery
from dispatcher.bridge import judging
from dispatcher.bridge.bodies import answered, json_body
from dispatcher.bridge.callers import Caller, why_own
from dispatcher.bridge.decisions import FeedbackTold
from dispatcher.bridge.describing import ASKS, GUARDED, described
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.native.replies import SPAN, from_ledger, parameter, queried
from dispatcher.bridge.native.shapes import VoteSums, VoteTold
from dispatcher.bridge.reading import Body, read_as
from dispatcher.bridge.surfaces import NATIVE
from dispatcher.bridge.wiring import Bridge

EXAMPLE = '{"jobs":["first","second"],"winner":"second"}'
ELSEWHERE = {
    "over": "POST /api/v1/votes compares",
    "keep": "what is said here is kept wherever a ledger runs",
    "word": "what you say again replaces what you said before",
    "withdrawn": '{"rating":null} takes a thumb back',
}

MOST_NAME_CHARS = 512
"""Of a job as its caller may know it: by an `Idempotency-Key`, which may be longer than an id."""

SAID = (
    'With `"rating":null` the thumb is taken back. Of what a user says of a job the last word is kept, and learned from in the '
    "place of the one before; of the words of several, and of thumbs and votes, routing learns from the first."
)

PARAMETERS = (
    parameter(
        "by",
        "between what votes decide",
        type="string",
        enum=[str(one) for one in Contest],
        default=str(Contest.DEVICE),
    ),
    *SPAN,
    parameter(
        "tenant", "whose; who may not see all of the fleet (read:fleet) is told of its own user's alone", type="string"
    ),
)

_Name = Annotated[str, Field(min_length=1, max_length=MOST_NAME_CHARS)]


class VoteRequest(Body):
    """What `POST /api/v1/votes` takes: jobs of your own that are over, and which of them has the best answer."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    jobs: Annotated[list[_Name], Field(min_length=2, max_length=MOST_COMPARED, fail_fast=True)]
    winner: Annotated[_Name | None, Field(description="one of the jobs; null where none is better")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked(Span):
    by: Contest = Contest.DEVICE
    tenant: Token | None = None


def feedback_routes(bridge: Bridge, prefix: str) -> APIRouter:
    """The route of thumbs below `prefix`."""
    router = bridge.gate.router(keys.Scope.CHAT, prefix=prefix, tags=["route"])

    @router.post(
        "/feedback",
        summary="Say how an answer was: a thumb, or a score",
        description=SAID,
        **described(statuses=ASKS, schema=FeedbackTold),
    )
    async def feedback(http: Request) -> Response:
        said = codec.decode_request(await json_body(http))
        job = said.pop("job", None)
        if not isinstance(job, str) or not job:
            raise BadRequest('job is missing: send {"job":"…","rating":"up"}', param="job")
        for name, instead in ELSEWHERE.items():
            if name in said:
                raise BadRequest(f"{name} has no place in the body of this request: {instead}", param=name)
        caller = caller_of(http)
        if _taken_back(said):
            return answered(await judging.take_back(bridge, caller, job))
        return answered(await judging.rate(bridge, caller, job, said, read_rating(said)))

    return router


def vote_routes(bridge: Bridge) -> APIRouter:
    """The routes `/api/v1/votes`. Any key may read: without `read:fleet` it sees its own user's words."""
    router = APIRouter(prefix="/api/v1", tags=["votes"])

    @router.post(
        "/votes",
        summary="Say which of several answers of yours is the best",
        description="Said again of the same jobs it replaces what was said before.",
        dependencies=bridge.gate.depends(keys.Scope.CHAT),
        **described(
            VoteRequest,
            surface=NATIVE,
            statuses=ASKS,
            schema=VoteTold,
            examples={"The second is better": EXAMPLE, "A tie": '{"jobs":["first","second"],"winner":null}'},
        ),
    )
    async def vote(http: Request) -> Response:
        asked = read_as(VoteRequest, await json_body(http), example=EXAMPLE, elsewhere={})
        return answered(await judging.vote(bridge, caller_of(http), asked.jobs, asked.winner))

    @router.get(
        "/votes",
        summary="Who won over whom, and how thumbs were, by device, model or strategy",
        dependencies=bridge.gate.depends(),
        **described(surface=NATIVE, statuses=GUARDED | {413}, schema=VoteSums, parameters=PARAMETERS),
    )
    async def votes(http: Request) -> Response:
        return answered(await from_ledger(bridge, "votes", _whose(queried(_Asked, http), caller_of(http))))

    return router


def _taken_back(said: dict[str, Any]) -> bool:
    named = said.keys() & {"rating", "score"}
    return bool(named) and all(said[name] is None for name in named)


def _whose(asked: _Asked, caller: Caller) -> VotesQuery:
    """Keep a caller to its own words, unless it may see the whole fleet. Raises `NotAllowed`."""
    if not caller.oversees:
        if asked.tenant not in {None, caller.tenant}:
            raise NotAllowed(f"this key sees its own votes: {why_own(caller)}", param="tenant")
        voter = caller.mark.removeprefix("-")
    else:
        voter = None
    return VotesQuery(
        since_unix_s=asked.since_unix_s,
        until_unix_s=asked.until_unix_s,
        tenant=asked.tenant or caller.tenant,
        by=asked.by,
        voter=voter,
    )

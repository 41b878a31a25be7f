"""Conversations over HTTP: each caller's own, and nobody else's; what is kept, and how, is the ledger's affair."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

from annotated_types import MaxLen, MinLen
from fastapi import APIRouter, Path, Request
from pydantic import ConfigDict, FailFast, RootModel
from starlette.responses import Response

from common import codec, keys
from common.conversation_client import Conversations
from common.conversations import (
    LISTED,
    MOST_AT_ONCE,
    MOST_CURSOR_CHARS,
    MOST_LISTED,
    MOST_SEARCH_CHARS,
    Conversation,
    Cursor,
    Id,
    Limit,
    NewTitle,
    Turn,
    TurnLimit,
    Where,
    new_id,
)
from common.errors import BadRequest, UnknownConversation
from common.messages import Message
from common.subjects import is_token
from dispatcher.bridge.belated import Belated
from dispatcher.bridge.bodies import answered, json_body
from dispatcher.bridge.describing import ASKS, GUARDED, described
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.native.downloads import Download, as_json, as_markdown
from dispatcher.bridge.native.replies import limit_of, parameter, queried
from dispatcher.bridge.native.shapes import (
    ConversationExport,
    ConversationPage,
    ConversationsForgotten,
    ConversationTurns,
    TurnsKept,
)
from dispatcher.bridge.reading import read_as
from dispatcher.bridge.speech import as_asked
from dispatcher.bridge.surfaces import NATIVE
from dispatcher.bridge.threads import owner_of
from dispatcher.bridge.wiring import Bridge

FOUND = GUARDED | {404}
CHANGES = ASKS | {409}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Closed:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Titled(_Closed):
    title: NewTitle = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Renamed(_Closed):
    title: NewTitle


@dataclass(frozen=True, slots=True, kw_only=True)
class _At(_Closed):
    turn: Id | None  # to be said, also where it is null: who misspells it must not begin anew


@dataclass(frozen=True, slots=True, kw_only=True)
class _BranchAt(_Closed):
    turn: Id
    title: NewTitle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said(_Closed):
    messages: Annotated[tuple[Message, ...], FailFast(), MinLen(1), MaxLen(MOST_AT_ONCE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing(_Closed):
    limit: Limit = LISTED
    before: Cursor | None = None
    q: Annotated[str, MinLen(1), MaxLen(MOST_SEARCH_CHARS)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page(_Closed):
    turn: Id | None = None
    limit: TurnLimit = MOST_AT_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form(_Closed):
    format: Literal["json", "markdown"] = "json"
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sure(_Closed):
    confirm: Literal["all"] | None = None


class NewConversation(RootModel[_Titled]):
    """What makes a conversation."""


class RenamedConversation(RootModel[_Renamed]):
    """What gives a conversation another title."""


class SelectedTurn(RootModel[_At]):
    """The turn behind which a conversation goes on; null is its start."""


class ConversationBranch(RootModel[_BranchAt]):
    """The last turn that a new conversation gets a copy of."""


class SaidByHand(RootModel[_Said]):
    """Messages that no job has given."""


_ID = Path(description="the conversation's id")
Name = Annotated[str, _ID]


def conversation_routes(bridge: Bridge) -> APIRouter:
    """The routes below `/api/v1/conversations`."""
    router = bridge.gate.router(keys.Scope.CHAT, prefix="/api/v1/conversations", tags=["conversations"])
    talk = bridge.conversations
    _add_many(router, talk)
    _add_one(router, bridge)
    _add_turns(router, talk, bridge.remembering.keeping.belated)
    return router


def _add_many(router: APIRouter, talk: Conversations) -> None:
    @router.get(
        "",
        summary="Your conversations, newest first, or those that have words",
        **described(
            surface=NATIVE,
            schema=ConversationPage,
            parameters=(
                limit_of(MOST_LISTED, LISTED),
                parameter("before", "the `next` of the page before", type="string", maxLength=MOST_CURSOR_CHARS),
                parameter(
                    "q", "words that all have to be in it", type="string", minLength=1, maxLength=MOST_SEARCH_CHARS
                ),
            ),
        ),
    )
    async def listed(http: Request) -> Response:
        asked, owner = queried(_Listing, http), owner_of(caller_of(http))
        if asked.q is None:
            return answered(codec.plain(await talk.listed(owner, limit=asked.limit, before=asked.before)))
        try:
            found = await talk.search(owner, asked.q, limit=asked.limit, before=asked.before)
        except BadRequest as error:
            raise as_asked(error, {"text": "q"}) from error
        return answered(codec.plain(found))

    @router.post(
        "",
        summary="Begin one",
        **described(
            NewConversation,
            surface=NATIVE,
            statuses=ASKS,
            success=201,
            schema=Conversation,
            examples={"Named": '{"title":"Bees"}'},
        ),
    )
    async def create(http: Request) -> Response:
        asked = read_as(NewConversation, await json_body(http), example='{"title":"Bees"}', elsewhere={}).root
        made = await talk.create(owner_of(caller_of(http)), title=asked.title)
        return answered(codec.plain(made), 201, {"location": f"/api/v1/conversations/{made.id}"})

    @router.delete(
        "",
        summary="Forget all of yours",
        **described(
            surface=NATIVE,
            schema=ConversationsForgotten,
            parameters=(parameter("confirm", "`all`", type="string", enum=["all"]),),
        ),
    )
    async def forget_all(http: Request) -> Response:
        if queried(_Sure, http).confirm is None:
            raise BadRequest("this forgets all of your conversations: say so with ?confirm=all", param="confirm")
        return answered({"conversations": await talk.delete_all(owner_of(caller_of(http)))})


def _add_one(router: APIRouter, bridge: Bridge) -> None:
    talk, belated = bridge.conversations, bridge.remembering.keeping.belated

    @router.get(
        "/{conversation}",
        summary="The newest turns of one",
        **described(
            surface=NATIVE,
            statuses=FOUND,
            schema=ConversationTurns,
            parameters=(
                parameter(
                    "turn", "the last turn of the page: the `next` of the page before, or of a branch", type="string"
                ),
                limit_of(MOST_AT_ONCE, MOST_AT_ONCE),
            ),
        ),
    )
    async def look(http: Request, conversation: Name) -> Response:
        asked, owner, name = queried(_Page, http), owner_of(caller_of(http)), _known(conversation)
        await belated.settle(owner, name)
        return answered(codec.plain(await talk.get(owner, name, turn=asked.turn, limit=asked.limit)))

    @router.patch(
        "/{conversation}",
        summary="Give one another title",
        **described(
            RenamedConversation,
            surface=NATIVE,
            statuses=CHANGES,
            schema=Conversation,
            examples={"Named": '{"title":"Bees"}'},
        ),
    )
    async def rename(http: Request, conversation: Name) -> Response:
        asked = read_as(RenamedConversation, await json_body(http), example='{"title":"Bees"}', elsewhere={}).root
        return answered(codec.plain(await talk.rename(owner_of(caller_of(http)), _known(conversation), asked.title)))

    @router.delete("/{conversation}", summary="Forget one", **described(surface=NATIVE, statuses=FOUND, success=204))
    async def forget(http: Request, conversation: Name) -> Response:
        await talk.delete(owner_of(caller_of(http)), _known(conversation))
        return Response(status_code=204)

    @router.get(
        "/{conversation}/export",
        summary="All turns of one, as a file",
        **described(
            surface=NATIVE,
            statuses=FOUND,
            schema=ConversationExport,
            stream="text/markdown",
            parameters=(
                parameter("format", "json, or markdown for people", type="string", enum=["json", "markdown"]),
                parameter("whole", "all branches, not only the one that goes on", type="boolean", default=False),
            ),
        ),
    )
    async def export(http: Request, conversation: Name) -> Response:
        asked, caller, name = queried(_Form, http), caller_of(http), _known(conversation)
        await belated.settle(owner_of(caller), name)
        pages = talk.export(owner_of(caller), name, whole=asked.whole)
        first = await anext(pages)  # what is wrong is said before a file has begun
        written = as_json(first, pages) if asked.format == "json" else as_markdown(first, pages)
        recalls = partial(bridge.gate.recalls.bind, caller)
        return Download(written, f"conversation-{name}", asked.format, bridge.curfew, recalls=recalls)


def _add_turns(router: APIRouter, talk: Conversations, belated: Belated) -> None:
    @router.post(
        "/{conversation}/turns",
        summary="Keep messages that no job has given, behind the newest turn",
        **described(
            SaidByHand,
            surface=NATIVE,
            statuses=CHANGES,
            success=201,
            schema=TurnsKept,
            examples={"A note": '{"messages":[{"role":"user","content":"I am Anna."}]}'},
        ),
    )
    async def append(http: Request, conversation: Name) -> Response:
        example = '{"messages":[{"role":"user","content":"hi"}]}'
        asked = read_as(SaidByHand, await json_body(http), example=example, elsewhere={}).root
        turns = [Turn(id=new_id(), message=message) for message in asked.messages]
        owner = owner_of(caller_of(http))
        await belated.settle(owner, _known(conversation))  # what an answer has waited with comes before this
        kept = await talk.append(owner, _known(conversation), turns, where=Where.HEAD)
        return answered({"conversation": codec.plain(kept), "turns": [turn.id for turn in turns]}, 201)

    @router.post(
        "/{conversation}/branch",
        summary="Make a new one of its turns up to one",
        **described(
            ConversationBranch,
            surface=NATIVE,
            statuses=CHANGES,
            success=201,
            schema=Conversation,
            examples={"Here": '{"turn":"…"}'},
        ),
    )
    async def branch(http: Request, conversation: Name) -> Response:
        asked = read_as(ConversationBranch, await json_body(http), example='{"turn":"…"}', elsewhere={}).root
        owner = owner_of(caller_of(http))
        await belated.settle(owner, _known(conversation))  # it may be made of that answer
        made = await talk.branch(owner, _known(conversation), asked.turn, title=asked.title)
        return answered(codec.plain(made), 201, {"location": f"/api/v1/conversations/{made.id}"})

    @router.post(
        "/{conversation}/select",
        summary="Have it go on behind another turn: what is said next begins a branch there",
        **described(
            SelectedTurn,
            surface=NATIVE,
            statuses=CHANGES,
            schema=Conversation,
            examples={"There": '{"turn":"…"}', "At its start": '{"turn":null}'},
        ),
    )
    async def select(http: Request, conversation: Name) -> Response:
        asked = read_as(SelectedTurn, await json_body(http), example='{"turn":"…"}', elsewhere={}).root
        owner = owner_of(caller_of(http))
        await belated.settle(owner, _known(conversation))  # else it would go on behind that answer after all
        return answered(codec.plain(await talk.select(owner, _known(conversation), asked.turn)))


def _known(conversation: str) -> str:
    """Refuse what can't be the id of any conversation."""
    if not is_token(conversation):
        raise UnknownConversation(
            f"there is no conversation {conversation[:80]!r}: GET /api/v1/conversations lists yours"
        )
    return conversation

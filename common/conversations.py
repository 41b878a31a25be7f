"""Conversations as they are kept and asked for over the bus; it knows no database.

Verbs stand under `llm.v1.talk.`: `create`, `list`, `search`, `get`, `rename`, `select`, `branch`, `append`, `summarise`, `delete`,
`delete_all` and `export`. Whoever asks says whose it is: nobody else's is found. An answer is one object, or `{"error": …}`, and no
larger than the bus carries: what is long comes in pages.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import ConfigDict, FailFast, Field

from common.labels import Shown
from common.messages import Count, Document, Message, Name, Number, Role, Token, Whole

MOST_TURNS = 2000
"""Of one conversation, all branches together; its tree is looked at whole."""

MOST_TURN_CHARS = 100_000
MOST_TURN_BYTES = 384 * 1024
"""Of a turn as JSON, its images included: less than half of what a NATS server carries by default."""

MOST_IMAGE_CHARS = 256 * 1024
"""Base64 of the images that a turn keeps, together; the others are dropped, and a note stands for them."""

MOST_FILES = 32
"""Of a turn, those of an earlier question that it asks another way included."""

MOST_TITLE_CHARS = 200
MOST_SUMMARY_CHARS = 20_000
MOST_SEARCH_CHARS = 200
MOST_WORDS = 16
MOST_AT_ONCE = 100
"""Turns of one message that appends, and of one page."""
MOST_LISTED = 100
LISTED = 20
"""Conversations of a page whose asker names no number."""
MOST_CURSOR_CHARS = 128
SNIPPET_CHARS = 160
MOST_ENDED_CHARS = 500

HANGUP = "hangup"
"""The code of what ended an answer that nobody waited for: its owner has left, or lost the connection."""

PENDING = "pending"
"""The code of what stands for an answer that is under way; it stays where the bridge ends before that."""

Id = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")]
Title = Annotated[str, MaxLen(MOST_TITLE_CHARS)]
"""As it is told: what was kept before titles were checked may hold anything."""
NewTitle = Annotated[Title, Shown]
Cursor = Annotated[str, MaxLen(MOST_CURSOR_CHARS)]
Limit = Annotated[int, Ge(1), Le(MOST_LISTED)]
"""How many conversations a page may have."""
TurnLimit = Annotated[int, Ge(1), Le(MOST_AT_ONCE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose a conversation is."""

    tenant: Token
    user: Annotated[str, MaxLen(64)] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFile:
    """A PDF that came with a question; of its `pages` so many were `read`."""

    name: Name
    pages: Count
    read: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What its user gave of a question with files, since its message is what models are told: what the files say, too. The user's
    are the text from the character `begin` on, counted as Unicode does, and the first so many `images`."""

    begin: Count = 0
    images: Count = 0
    files: Annotated[tuple[GivenFile, ...], FailFast(), MaxLen(MOST_FILES)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Why an answer ended early: the code of the error, and its message; `HANGUP` where whoever asked did not wait."""

    code: Token
    message: Annotated[str, MaxLen(MOST_ENDED_CHARS)] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message that is kept. `parent` is the one before it: two with the same parent are branches. Answers name the job, device
    and model that they come from, and by what `error` they were broken off; one of those without a word stands for an answer that
    never came. `rating` is the thumb that its owner has given one, and `account` what its job took, as the last frame of a chat
    tells that: both are told with the turn, and kept elsewhere. `given` is of questions with files."""

    id: Id
    message: Message
    parent: Id | None = None
    created_unix_s: Number = 0.0
    job: Token | None = None
    device: Token | None = None
    model: Name | None = None
    completion_tokens: Whole | None = None
    broken_off: bool = False
    rating: Literal["up", "down"] | None = None
    given: Given | None = None
    error: Ended | None = None
    account: Document | None = None

    @property
    def pending(self) -> bool:
        """Whether it stands for an answer that may still come."""
        return self.error is not None and self.error.code == PENDING

    @property
    def wordless(self) -> bool:
        """Whether it stands for an answer that never came."""
        message = self.message
        return self.error is not None and not (message.content or message.tool_calls) and message.role is Role.ASSISTANT


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What is known of one without its turns. `head` is the newest turn of the branch that goes on; absent where it begins anew."""

    id: Id
    title: Title = ""
    created_unix_s: Number = 0.0
    updated_unix_s: Number = 0.0
    head: Id | None = None
    turns: Whole = 0
    branched_from: Id | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A text that stands for all turns of a branch up to the one that it `covers`, and that one."""

    covers: Id
    text: Annotated[str, MinLen(1), MaxLen(MOST_SUMMARY_CHARS)]


class Where(StrEnum):
    """Where turns are appended."""

    PARENT = "parent"  # behind the parent that each names: one that has a child already gets a branch
    HEAD = "head"  # behind the head, whichever it is by then; the parent of the first is not looked at
    ONLY_HEAD = "only_head"  # behind the parent that the first names, if that is the head still; else it is a conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Asks for something of one owner's; `delete_all` asks no more."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    owner: Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedOf(Asked):
    """Asks for something of one conversation; `delete` asks no more."""

    id: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class Create(AskedOf):
    """Makes one under a new id; asked again, it is the same one."""

    title: NewTitle = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Asked):
    """Asks for conversations, newest first; `before` is the `next` of the page before."""

    limit: Limit = LISTED
    before: Cursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(Listing):
    """Asks for those that have all words, in their title or in a turn, as parts of words too. A page may have fewer than `limit`,
    or none, and there is more: looking takes a bounded time."""

    text: Annotated[str, MaxLen(MOST_SEARCH_CHARS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Get(AskedOf):
    """Asks for the last turns of the branch that ends with `turn`; absent is the head. Without `accounts` nobody needs to look what
    their jobs took."""

    turn: Id | None = None
    limit: TurnLimit = MOST_AT_ONCE
    accounts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename(AskedOf):
    """Gives it another title."""

    title: NewTitle


@dataclass(frozen=True, slots=True, kw_only=True)
class Select(AskedOf):
    """Has it go on behind another turn; absent is its start, where what is said next stands beside the first turn."""

    turn: Id | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch(AskedOf):
    """Makes a new conversation of the turns up to one, and that one; asked again, it is the same one."""

    turn: Id
    new: Id
    title: NewTitle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Append(AskedOf):
    """Keeps turns, all or none. One that is there already under its id, and says the same, stays as it is."""

    turns: Annotated[tuple[Turn, ...], FailFast(), MinLen(1), MaxLen(MOST_AT_ONCE)]
    where: Where = Where.PARENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Summarise(AskedOf):
    """Keeps a summary; one of the same turn before it is forgotten."""

    summary: Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Export(AskedOf):
    """Asks for all turns, each behind its parent, or for those of the branch that ends with the head; `after` is the `next` of the
    page before."""

    after: Count = 0
    whole: bool = True
    limit: TurnLimit = MOST_AT_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A conversation in a list, and the beginning of its newest turn; or where the words were found, and in which turn, unless it
    was the title."""

    conversation: Conversation
    snippet: str = ""
    turn: Id | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What `list` and `search` answer. `kept_days` is for how long one is kept that nobody goes on with; absent is for ever."""

    conversations: tuple[Listed, ...] = ()
    next: Cursor | None = None
    kept_days: Whole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """What `get` answers: turns in their order. `next` is where the page before them ends: the `turn` to ask for.

    `summary` is the newest of the branch, whether or not the turn that it covers is on this page. `branches` names, of turns that
    stand beside others, all of these in the order in which they came; of many, the newest hundred. `beginnings` are the first turns
    of all branches, told where the conversation goes on at its start, and there are no turns.
    """

    conversation: Conversation
    turns: tuple[Turn, ...] = ()
    summary: Summary | None = None
    branches: dict[str, tuple[Id, ...]] = field(default_factory=dict)
    beginnings: tuple[Id, ...] = ()
    next: Id | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What `export` answers, a page at a time."""

    conversation: Conversation
    turns: tuple[Turn, ...] = ()
    next: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What `delete` and `delete_all` answer."""

    conversations: Count


def new_id() -> str:
    """Give an id that nobody can guess: 128 random bits."""
    return secrets.token_hex(16)


def spoken(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """Leave out the questions that got no word, with what stands for their answers: no model is told of them. Pure."""
    turns = tuple(turns)
    unanswered = {turn.job for turn in turns if turn.wordless}
    return tuple(turn for turn in turns if turn.job is None or turn.job not in unanswered)


def keepable(turn: Turn) -> Turn:
    """Leave out the images that are more than a turn keeps; a note at the end of its text says how many. Pure."""
    room, kept = MOST_IMAGE_CHARS, list[int]()
    for place, image in enumerate(turn.message.images):
        if len(image) <= room:
            kept.append(place)
            room -= len(image)
    return _with_images(turn, kept, "too large to be kept")


def without_images(turn: Turn) -> Turn:
    """Leave out all images; a note says how many there were. Pure."""
    return _with_images(turn, (), "left out")


def _with_images(turn: Turn, kept: Sequence[int], why: str) -> Turn:
    images, given = turn.message.images, turn.given
    if not (gone := len(images) - len(kept)):
        return turn
    if given is not None:
        given = replace(given, images=sum(place < given.images for place in kept))
    note = f"[{gone} {'image was' if gone == 1 else 'images were'} here: {why}]"
    text = f"{turn.message.content}\n\n{note}" if turn.message.content else note
    some = tuple(images[place] for place in kept)
    return replace(turn, given=given, message=replace(turn.message, content=text, images=some))

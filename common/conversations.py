"""Conversations as they are kept and asked for over the bus; it knows no database.

Verbs stand under `llm.v1.talk.`. Whoever asks says whose it is: nobody else's is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MaxLen

from common.messages import Message, Name, Number, Token, Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose a conversation is."""

    tenant: Token
    user: Annotated[str, MaxLen(64)] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message that is kept. `parent` is the one before it: two with the same parent are branches. Answers name the job, device
    and model that they come from, and how the text ended when not as usual."""

    id: Token
    message: Message
    parent: Token | None = None
    created_unix_s: Number = 0.0
    job: Token | None = None
    device: Token | None = None
    model: Name | None = None
    completion_tokens: Whole | None = None
    broken_off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What is known of one without its turns. `head` is the newest turn of the branch that goes on."""

    id: Token
    title: Annotated[str, MaxLen(200)] = ""
    created_unix_s: Number = 0.0
    updated_unix_s: Number = 0.0
    head: Token | None = None
    turns: Whole = 0
    branched_from: Token | None = None

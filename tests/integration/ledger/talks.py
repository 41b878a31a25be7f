"""A desk of conversations over one database, and whoever asks it: over a bus inside this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from common.bus.memory import MemoryBroker, MemoryBus, connect_memory
from common.conversation_client import Conversations
from common.conversations import Owner, Turn
from common.messages import Message, Role
from dispatcher.ledger.database import Database
from dispatcher.ledger.talk.desk import TalkDesk
from tests.integration.ledger.builders import NOON, SUBJECTS

ANNA = Owner(tenant="home", user="anna")
BERT = Owner(tenant="home", user="bert")
OTHER = Owner(tenant="work", user="anna")


@dataclass(slots=True)
class Hands:
    """A clock that goes on by a second with each look, so that newest has one meaning."""

    now_unix_s: float = NOON

    def monotonic(self) -> float:
        return self.now_unix_s

    def unix_s(self) -> float:
        self.now_unix_s += 1.0
        return self.now_unix_s


@dataclass(frozen=True, slots=True)
class Talk:
    """What tests use."""

    ask: Conversations
    bus: MemoryBus
    database: Database
    clock: Hands = field(default_factory=Hands)


@asynccontextmanager
async def talking(database: Database, *, max_payload: int = 1 << 20, **fields: Any) -> AsyncIterator[Talk]:
    """Answer for the life of the context; `fields` are those of `TalkDesk`."""
    async with connect_memory(MemoryBroker(max_payload=max_payload)) as bus:
        talk = Talk(Conversations(bus, SUBJECTS), bus, database)
        knobs = {"most": 100, "most_bytes": 1 << 30} | fields
        async with TalkDesk(bus, SUBJECTS, database, clock=talk.clock, **knobs).open():
            yield talk


def asked(id: str, text: str = "why?", parent: str | None = None, **fields: Any) -> Turn:  # noqa: A002  # as the field
    """A turn of the user's."""
    return Turn(id=id, parent=parent, message=Message(role=Role.USER, content=text), **fields)


def said(id: str, text: str = "so.", parent: str | None = None, **fields: Any) -> Turn:  # noqa: A002  # as the field
    """A turn of the model's."""
    return Turn(id=id, parent=parent, message=Message(role=Role.ASSISTANT, content=text), **fields)


def chain(number: int, text: str = "word") -> list[Turn]:
    """Turns t1, t2, … one behind the other."""
    return [
        (asked if place % 2 else said)(f"t{place}", f"{text} {place}", f"t{place - 1}" if place > 1 else None)
        for place in range(1, number + 1)
    ]

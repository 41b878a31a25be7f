"""What a model is told of a conversation, so that it fits the context, the bus, and what a request may have. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from common import codec
from common.errors import ContextTooLong, PayloadTooLarge
from common.messages import ChatRequest, Message
from common.prompts import ANSWER_TOKENS, LEAST_ANSWER_TOKENS
from dispatcher.bridge.contexts import Room
from dispatcher.bridge.memory.summary import Recalled
from dispatcher.bridge.memory.trimming import Trimmed, trimmed

MOST_IMAGES = 8
"""Of earlier turns, the newest: a request may have a few times as many."""

MOST_MESSAGES = 990
"""A request may have a thousand."""


def fitted(past: Recalled, new: Sequence[Message], chat: ChatRequest, room: Room, most_bytes: int) -> Trimmed:
    """Trim what was said before to a context, and to what the bus carries: images aside, which are made to fit what is left.

    Raises `ContextTooLong` where what is new is too long by itself, and `PayloadTooLarge` where the bus does not carry it together
    with what can't be left out, which is the system's text and the calls that new answers belong to.
    """
    history = past.messages[-max(1, MOST_MESSAGES - len(new)) :]
    skipped = len(past.messages) - len(history) + past.covered

    def trim(context_tokens: int, answer_tokens: int) -> Trimmed:
        return trimmed(
            history,
            new,
            context_tokens=context_tokens,
            answer_tokens=answer_tokens,
            tools=chat.tools,
            summary=past.summary,
        )

    if room.known and not trim(room.tokens, chat.options.max_tokens or LEAST_ANSWER_TOKENS).fits:
        raise ContextTooLong(
            f"what is new has some {trim(room.tokens, 0).tokens} tokens, and no device has more than {room.tokens} for "
            f"{chat.model}: shorten it, ask for a shorter answer, or of a model with a longer context",
            param="messages",
        )
    found = trim(room.tokens, chat.options.max_tokens or ANSWER_TOKENS)
    while (size_bytes := _bytes(found.messages)) > most_bytes:
        smaller = trim(found.tokens * 3 // 4, 0)  # less than it has: something goes, if anything may
        if smaller.tokens >= found.tokens:
            raise PayloadTooLarge(
                f"what is new and what must stand before it have {size_bytes} bytes, and the bus carries {most_bytes} of them: "
                "shorten it, begin a new conversation, or raise max_payload of the NATS server",
                param="messages",
            )
        found = smaller
    return replace(found, left_out=found.left_out + skipped)


def _bytes(messages: Sequence[Message]) -> int:
    """Give the size of what is said without images."""
    return sum(len(codec.encode_request(codec.plain(replace(one, images=())))) for one in messages)

"""How far an engine has read a conversation before: names of its beginnings, and what a device's slots hold of them. Pure.

It is a model of what engines do, and no more. Ollama's runner (llama.cpp) has one KV cache for each slot of a loaded model; a
request is given the slot whose prompt begins like its own, else the one that was used longest ago, and reads only what is new. So
with s slots the last s conversations are warm. Not seen are what other dispatchers send there, prompts that llama.cpp keeps
beside its slots, and slots that are busy when a request comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.messages import Message, Role
from dispatcher.routing.features import CHARS_PER_TOKEN, TOKENS_PER_IMAGE

MOST_BEGINNINGS = 64
"""Beginnings of one conversation that are compared, the longest ones: about thirty turns to go back to."""

LEAST_TOKENS = 16
"""A shorter beginning that is warm saves no time that counts."""

SAMPLE_CHARS = 64
"""Of an attachment: to read megabytes would take longer than the hint is worth."""


@dataclass(frozen=True, slots=True)
class Trail:
    """A conversation as it is compared: a name for each of its beginnings, which holds on whose behalf it is, and about how many
    tokens each has, by the same estimate as a request's features. Names say nothing outside this process."""

    names: tuple[int, ...]
    tokens: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Warmth:
    """A place that has read the beginning of a conversation, and how many of its tokens."""

    device: str
    model: str
    tokens: int


def trail(asker: str, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> Trail:
    """Name the beginnings of a conversation. Engines put the tools before it all, so other tools are another beginning."""
    name = hash((asker, repr(tools) if tools else ""))
    names: list[int] = []
    sizes: list[float] = []
    size = 0.0
    for message in messages:
        text, more = message.content, None
        if message.images or message.tool_calls:
            more = _more(message)
            size += len(message.images) * TOKENS_PER_IMAGE
        name = hash((name, _hash(message.role), text.strip(), more))
        names.append(name)
        size += len(text) / CHARS_PER_TOKEN
        sizes.append(size)
    return Trail(tuple(names[-MOST_BEGINNINGS:]), tuple(sizes[-MOST_BEGINNINGS:]))


def answered(names: Sequence[int], text: str) -> tuple[int, ...]:
    """Give the names of a conversation with its answer, as the next turn will repeat it."""
    return (*names, hash((names[-1], _hash(Role.ASSISTANT), text.strip(), None)))[-MOST_BEGINNINGS:] if names else ()


_hash = str.__hash__
"""That of a role as a text: an enumeration's own takes ten times as long, for each message."""


def _more(message: Message) -> object:
    """Give what a message says besides its text. Ids of calls are no part of what a model reads."""
    calls = [(call.name, repr(call.arguments)) for call in message.tool_calls]
    return tuple(map(_sample, message.images)), tuple(calls)


def _sample(image: str) -> tuple[int, str, str, str]:
    middle = len(image) // 2
    return len(image), image[:SAMPLE_CHARS], image[middle : middle + SAMPLE_CHARS], image[-SAMPLE_CHARS:]


def overwritten(held: Sequence[Iterable[int]], names: Sequence[int], *, slots: int) -> int | None:
    """Say which of the conversations that a place holds, oldest first, gives its slot to another one: 1. the one that begins like
    it, furthest 2. the oldest, where all slots are in use 3. none: there is an empty slot."""
    best, longest = None, 0
    where = {name: number for number, name in enumerate(names, 1)}
    for number, one in enumerate(held):
        shared = max((where.get(name, 0) for name in one), default=0)
        if shared > longest:
            best, longest = number, shared
    if best is not None:  # 1
        return best
    return 0 if len(held) >= slots else None  # 2, 3

"""Turns as exchanges: a user's message and all that came of it; nothing in it is told in parts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from common.messages import Message, Role

Exchange = tuple[Message, ...]


def exchanges(messages: Iterable[Message]) -> list[Exchange]:
    """Divide messages at each of the user's; what stands before the first of them belongs to nobody's, and comes first. Those of
    the system are in none."""
    found: list[list[Message]] = []
    for message in messages:
        if message.role is Role.SYSTEM:
            continue
        if message.role is Role.USER or not found:
            found.append([])
        found[-1].append(message)
    return [tuple(one) for one in found]


def begun(exchange: Exchange) -> bool:
    """Tell whether it has its beginning."""
    return exchange[0].role is Role.USER


def paired(exchange: Exchange, *, goes_on: bool = False) -> Exchange:
    """Leave out calls without all their answers, and answers without their call: no engine takes half of a pair. Where it goes on,
    the last calls may be answered by what comes."""
    return tuple(_whole(exchange, goes_on=goes_on))


def _whole(messages: Exchange, *, goes_on: bool) -> Iterator[Message]:
    place = 0
    while place < len(messages):
        message = messages[place]
        answers = _answers(messages[place + 1 :]) if message.tool_calls else ()
        place += 1 + len(answers)
        waits = goes_on and place == len(messages)
        if message.role is Role.TOOL or (message.tool_calls and not waits and not _all_answered(message, answers)):
            continue
        yield message
        yield from answers


def _answers(messages: Exchange) -> Exchange:
    end = next((place for place, one in enumerate(messages) if one.role is not Role.TOOL), len(messages))
    return messages[:end]


def _all_answered(message: Message, answers: Exchange) -> bool:
    named = [one.tool_call_id for one in answers if one.tool_call_id is not None]
    if len(answers) < len(message.tool_calls):
        return False
    asked = {call.id for call in message.tool_calls if call.id is not None}
    return not (named and asked) or asked <= set(named)

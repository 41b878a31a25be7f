"""What a model is told fits the bus too; what can't is refused, and never looked at for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import codec
from common.errors import PayloadTooLarge
from common.messages import ChatRequest, Message, Role, ToolCall
from dispatcher.bridge.contexts import Room
from dispatcher.bridge.memory.fitting import fitted
from dispatcher.bridge.memory.summary import Recalled

SYSTEM = Message(role=Role.SYSTEM, content="be brief. " * 40)
CALL = Message(role=Role.ASSISTANT, content="c" * 400, tool_calls=(ToolCall(name="f", id="1"),))
RESULT = Message(role=Role.TOOL, content="42", tool_call_id="1")


def user(chars: int) -> Message:
    return Message(role=Role.USER, content="x" * chars)


def answer(chars: int) -> Message:
    return Message(role=Role.ASSISTANT, content="y" * chars)


def size(*messages: Message) -> int:
    return sum(len(codec.encode_request(codec.plain(one))) for one in messages)


@pytest.mark.parametrize("room", [Room(4096, known=False), Room(131_072, known=True)])
@pytest.mark.parametrize(
    ("past", "new"),
    [
        ((SYSTEM, user(9), answer(9)), (user(200),)),  # what the system said stays
        ((user(9), CALL), (RESULT,)),  # so does the call that is answered
        ((), (user(600),)),
    ],
)
def test_what_the_bus_can_not_carry_is_refused(past: tuple[Message, ...], new: tuple[Message, ...], room: Room) -> None:
    """Whether or not anybody knows how large the context is: what can't be left out is too much by itself."""
    chat = ChatRequest(messages=new, model="m")
    with pytest.raises(PayloadTooLarge, match="begin a new conversation"):
        fitted(Recalled(messages=past), new, chat, room, 300)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([user, answer]), st.integers(1, 400)), max_size=12),
    st.integers(0, 4000),
    st.integers(1, 20_000),
    st.booleans(),
)
def test_what_is_told_goes_through_the_bus_or_is_refused(
    said: list[tuple[object, int]], most_bytes: int, tokens: int, system: bool
) -> None:
    """Whatever was said: the end is that it fits, or that the part which can't be left out does not."""
    past = [SYSTEM] * system + [(user if kind is user else answer)(chars) for kind, chars in said]
    new = (user(30),)
    chat = ChatRequest(messages=new, model="m")
    try:
        told = fitted(Recalled(messages=tuple(past)), new, chat, Room(tokens, known=False), most_bytes).messages
    except PayloadTooLarge:
        assert size(*[SYSTEM] * system, *new) > most_bytes
    else:
        assert size(*told) <= most_bytes


def test_only_as_much_is_left_out_as_must_be() -> None:
    """A context that has room for all does not keep the bus from deciding: the newest exchange is still told."""
    past = (user(3000), answer(3000), user(100), answer(100))
    new = (user(100),)
    told = fitted(Recalled(messages=past), new, ChatRequest(messages=new, model="m"), Room(1 << 20, known=True), 3500)

    assert (*past[2:], *new) == told.messages
    assert 2 == told.left_out

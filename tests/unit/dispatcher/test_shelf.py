"""How a finished answer lies in the store: what is written is read, and what a stranger writes is refused by type."""

from __future__ import annotations

import pytest

from common import codec
from common.errors import BadRequest, GarbledReply
from common.frames import End, Finish, RouteNote
from common.messages import EngineTimings, ToolCall, Usage
from dispatcher.delivery.answer import Ended
from dispatcher.shelf import Found, read, write

END = {"t": "end", "s": 1, "finish": "stop"}
ENDED = Ended(
    text="Once \u2603 upon",
    end=End(
        finish=Finish.TOOL_CALLS,
        tokens=2,
        usage=Usage(prompt_tokens=3, completion_tokens=4),
        engine=EngineTimings(decode_s=0.5),
        tool_calls=(ToolCall(name="f", arguments={"a": [1, {"b": None}]}, id="c1"),),
    ),
    route={"device": "nano", "attempts": [{"number": 1}]},
    note=RouteNote("j1", "nano", "m", "best", 1),
)


@pytest.mark.parametrize("ended", [ENDED, Ended(text="", end=End(), route={})], ids=["all there is", "nothing"])
def test_what_is_written_is_read(ended: Ended) -> None:
    """Text, calls, account, times and the place where it ran come back as they were."""
    assert Found("print", ended) == read(write("print", ended))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"garbage",
        codec.encode({"fingerprint": "f", "text": "x"}),
        codec.encode({"fingerprint": "f", "text": 7, "end": END}),
        codec.encode({"fingerprint": "f", "text": "x", "end": {"t": "tok", "s": 0, "d": "x"}}),
        codec.encode({"fingerprint": "f", "text": "x", "end": END, "note": END}),
        codec.encode({"fingerprint": "f", "text": "x", "end": {**END, "route": "none"}}),
    ],
)
def test_what_is_no_answer_is_refused(value: bytes) -> None:
    """Whatever lies under the key of an answer, reading it raises one of two errors."""
    with pytest.raises((BadRequest, GarbledReply)) as refused:
        read(value)

    assert refused.value.message

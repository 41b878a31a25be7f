"""How a finished answer lies in the store: what is written is read, and what a stranger writes is refused by type."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest

from common import codec
from common.codec import Encoding
from common.errors import BadRequest, GarbledReply
from common.frames import End, Finish, RouteNote
from common.messages import EngineTimings, ToolCall, Usage
from dispatcher.delivery.answer import Ended
from dispatcher.shelf import Found, read, write

PLACE = {"device": "nano", "model": "m", "reason": "best"}
END = {"t": "end", "s": 1, "finish": "stop", "route": PLACE}
DEEP: dict[str, Any] = reduce(lambda inner, _: {"in": inner}, range(300), {})
"""MessagePack can write it, and JSON can't."""

ENDED = Ended(
    text="Once \u2603 upon",
    end=End(
        finish=Finish.TOOL_CALLS,
        tokens=2,
        usage=Usage(prompt_tokens=3, completion_tokens=4),
        engine=EngineTimings(decode_s=0.5),
        tool_calls=(ToolCall(name="f", arguments={"a": [1, {"b": None}]}, id="c1"),),
    ),
    route={**PLACE, "attempts": [{"number": 1}]},
    note=RouteNote("j1", "nano", "m", "best", 1),
)


@pytest.mark.parametrize("ended", [ENDED, Ended(text="", end=End(), route=PLACE)], ids=["all there is", "no text"])
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
        codec.encode({"fingerprint": "f", "text": "x", "end": {**END, "route": {}}}),
        codec.encode({"fingerprint": "f", "text": "x", "end": {**END, "route": {**PLACE, "device": None}}}),
        codec.encode({"fingerprint": "f", "text": "x", "end": {**END, "route": {"device": "nano", "model": "m"}}}),
        codec.encode({"fingerprint": "f", "text": "x", "end": {"t": "end", "s": 1, "finish": "stop"}}),
        codec.encode(
            {"fingerprint": "f", "text": "x", "end": {**END, "route": {**PLACE, "deep": DEEP}}}, Encoding.MSGPACK
        ),
    ],
)
def test_what_is_no_answer_is_refused(value: bytes) -> None:
    """Whatever lies under the key of an answer, reading it raises one of two errors."""
    with pytest.raises((BadRequest, GarbledReply)) as refused:
        read(value)

    assert refused.value.message

"""The frames of a stream on the wire."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common import codec, frames
from common.codec import Encoding
from common.errors import BY_CODE, FleetError, GarbledReply
from common.frames import Ack, End, Err, Finish, KeepAlive, Phase, RouteNote, Token
from common.messages import EngineTimings, ToolCall, Usage
from tests.unit.common.test_energy import ENERGY
from tests.unit.common.values import FINITE_GARBAGE, PLAIN, TEXT

COUNT = st.integers(0, 2**31)
ROUTE = st.none() | st.dictionaries(TEXT, PLAIN, max_size=3)
MICROSECONDS = st.none() | st.integers(0, 10**10).map(lambda count: round(count / 10**6, 6))
MILLISECONDS = st.none() | st.integers(0, 10**7).map(lambda count: count / 1000)
CALL = st.builds(
    ToolCall,
    name=TEXT.filter(bool),
    arguments=st.dictionaries(TEXT, PLAIN, max_size=3),
    id=st.none() | TEXT,
)
END = st.builds(
    End,
    finish=st.sampled_from(Finish),
    tokens=COUNT,
    usage=st.builds(Usage, prompt_tokens=COUNT, completion_tokens=COUNT),
    engine=st.builds(EngineTimings, load_s=MICROSECONDS, prefill_s=MICROSECONDS, decode_s=MICROSECONDS),
    tool_calls=st.lists(CALL, max_size=3).map(tuple),
    cost_usd=st.none() | st.integers(0, 10**12).map(lambda nano: round(nano / 10**9, 9)),
    energy=st.none() | ENERGY,
    logprobs=st.lists(st.integers(-9000, 0).map(lambda milli: milli / 1000), max_size=5).map(tuple),
    route=ROUTE,
)
FRAME = (
    st.builds(Ack, job=st.none() | TEXT, boot=st.none() | TEXT)
    | st.builds(RouteNote, job=TEXT, device=TEXT, model=TEXT, reason=TEXT, attempt=COUNT)
    | st.builds(Token, seq=COUNT, text=TEXT)
    | st.builds(KeepAlive, phase=st.sampled_from(Phase), eta_s=MILLISECONDS, position=st.none() | COUNT)
    | END
)
ERROR = st.builds(lambda cls, message: cls(message), st.sampled_from(list(BY_CODE.values())), TEXT.filter(bool))


@given(FRAME, st.sampled_from(Encoding))
def test_round_trip(frame: frames.Frame, encoding: Encoding) -> None:
    """Every frame comes back as it went, in either encoding."""
    assert frames.from_wire(codec.decode(codec.encode(frames.to_wire(frame), encoding))) == frame


@given(ERROR, ROUTE, st.sampled_from(Encoding))
def test_error_round_trip(error: FleetError, route: dict[str, Any] | None, encoding: Encoding) -> None:
    """An error frame comes back with its class, message and route."""
    back = frames.from_wire(codec.decode(codec.encode(frames.to_wire(Err(error, route)), encoding)))

    assert isinstance(back, Err)
    assert (type(back.error), back.error.message, back.route) == (type(error), error.message, route)


def test_wire_names() -> None:
    """The names on the wire are those of the protocol, which other people's clients read."""
    assert frames.to_wire(Token(3, "hi")) == {"t": "tok", "s": 3, "d": "hi"}
    assert frames.to_wire(Ack()) == {"t": "ack"}
    assert frames.to_wire(KeepAlive(Phase.LOAD, 1.5)) == {"t": "ka", "phase": "load", "eta_ms": 1500}
    assert frames.to_wire(Err(GarbledReply("x"))) == {"t": "err", "code": "garbled", "message": "x", "retry": True}
    assert frames.to_wire(End(tokens=2, usage=Usage(prompt_tokens=1, completion_tokens=2))) == {
        "t": "end",
        "s": 2,
        "finish": "stop",
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }


def test_refusal_without_a_frame() -> None:
    """A bare `{"error": …}`, as a refused request gets it, is read as an error frame."""
    back = frames.from_wire({"error": {"code": "busy", "message": "no slot"}})

    assert isinstance(back, Err)
    assert (back.error.code, back.error.message) == ("busy", "no slot")


FIELDS = [
    "t", "s", "d", "job", "boot", "phase", "eta_ms", "position", "device", "model", "reason", "attempt", "finish",
    "usage", "engine", "tool_calls", "logprobs", "route", "code", "message", "retry_after_s", "details", "error",
]  # fmt: skip
TAGS = st.sampled_from(["tok", "ack", "route", "ka", "end", "err"])


@given(st.dictionaries(st.sampled_from(FIELDS), FINITE_GARBAGE), st.none() | TAGS)
@example({"s": 1}, "tok")
@example({"usage": [1]}, "end")
@example({"error": "text"}, None)
@example({"tool_calls": [{"name": ""}]}, "end")
def test_garbage(wire: dict[str, Any], tag: str | None) -> None:
    """Whatever an agent sends, the outcome is a frame or a `GarbledReply`."""
    assert isinstance(read(wire, tag), frames.Frame | None)


@pytest.mark.parametrize(
    ("tag", "wire"),
    [
        ("tok", {"s": -1, "d": "x"}),
        ("tok", {"s": 2**63, "d": "x"}),
        ("tok", {"s": True, "d": "x"}),
        ("end", {"s": 2**63}),
        ("end", {"s": "9" * 30}),
        ("end", {"usage": {"prompt_tokens": 10**30}}),
        ("end", {"usage": {"completion_tokens": -1}}),
        ("end", {"engine": {"load_s": "soon"}}),
        ("end", {"engine": {"decode_s": math.nan}}),
        ("end", {"route": {"a": 2**64}}),
        ("end", {"route": "x"}),
        ("end", {"tool_calls": [{"name": "f"}] * 65}),
        ("end", {"cost_usd": -0.01}),
        ("end", {"logprobs": [0.5]}),
        ("end", {"logprobs": [math.nan]}),
        ("end", {"logprobs": ["sure"]}),
        ("end", {"logprobs": [-0.1] * 1025}),
        ("end", {"cost_usd": math.nan}),
        ("end", {"cost_usd": 10**400}),
        ("end", {"cost_usd": True}),
        ("end", {"cost_usd": "cheap"}),
        ("route", {"job": "j", "device": "d", "model": "m", "reason": "r", "attempt": 10**30}),
        ("ka", {"phase": "load", "eta_ms": math.inf}),
        ("ka", {"phase": "load", "eta_ms": 10**400}),
        ("ka", {"phase": "queue", "position": "first"}),
        ("err", {"code": "busy", "retry_after_s": math.inf}),
        ("err", {"code": "busy", "details": {"a": 2**64}}),
    ],
)
def test_what_could_not_be_sent_on_is_garbled(tag: str, wire: dict[str, Any]) -> None:
    """Counts have 64 bits, times are finite, accounts can be written: nothing overflows where a frame is used."""
    assert read(wire, tag) is None


@pytest.mark.parametrize(
    ("wire", "tag"),
    [
        ({"s": math.inf}, "end"),
        ({"usage": {"prompt_tokens": -math.inf}}, "end"),
        ({"job": "j", "device": "d", "model": "m", "reason": "r", "attempt": math.inf}, "route"),
    ],
)
def test_infinite_counts(wire: dict[str, Any], tag: str) -> None:
    """A count that is no number, which MessagePack carries, is a `GarbledReply` too."""
    assert read(codec.decode(codec.encode(wire, Encoding.MSGPACK)), tag) is None


def read(wire: dict[str, Any], tag: str | None) -> frames.Frame | None:
    """Read a frame, or give None when it is refused as it should be."""
    try:
        return frames.from_wire(wire if tag is None else {**wire, "t": tag})
    except GarbledReply:
        return None

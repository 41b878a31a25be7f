"""The bounds of what travels: nothing that is taken in overflows further down."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common import codec
from common.codec import Encoding
from common.errors import BadRequest
from common.messages import (
    ChatRequest,
    Dispatch,
    EngineTimings,
    Heartbeat,
    Message,
    ModelInfo,
    Options,
    Speed,
    ToolCall,
    Usage,
)
from tests.unit.common.values import GARBAGE, TEXT

HUGE = st.sampled_from(["1" + "0" * 400, "9" * 30, "1e400", "-1e400", "inf", "nan", str(2**63), 10**400, 2**64, 1e300])
ANY = GARBAGE | HUGE | st.dictionaries(TEXT, HUGE, max_size=2) | st.lists(HUGE, max_size=2)

HONEST: dict[type, dict[str, Any]] = {
    ToolCall: {"name": "f"},
    Message: {"role": "user"},
    Options: {},
    ChatRequest: {},
    Dispatch: {"job": "j", "attempt": 1, "dispatcher": "d", "model": "m", "messages": []},
    ModelInfo: {"name": "m"},
    Speed: {},
    Heartbeat: {"device": "n", "boot": "b", "seq": 1},
    Usage: {},
    EngineTimings: {},
}
"""The least that makes each of them."""


def refused(cls: type, wire: dict[str, Any]) -> bool:
    try:
        codec.build(cls, wire)
    except BadRequest:
        return True
    return False


@given(st.sampled_from(list(HONEST)), st.data())
def test_any_field_is_refused_or_can_be_sent_on(cls: type, data: st.DataObject) -> None:
    """What `build` takes, both encodings write, and it comes back as it was."""
    names = [one.name for one in fields(cls)]
    wire = {**HONEST[cls], **data.draw(st.dictionaries(st.sampled_from(names), ANY, min_size=1, max_size=3))}
    try:
        value = codec.build(cls, wire)
    except BadRequest:
        return
    sent = [codec.encode(codec.plain(value), encoding) for encoding in Encoding]

    assert [value, value] == [codec.build(cls, codec.decode(payload)) for payload in sent]


@given(ANY)
@example(10**400)
@example({"a": [2**64]})
@example({"a": "\ud800"})
@example({"a": b"\xff"})
def test_arguments_of_any_kind_are_refused_or_can_be_sent_on(value: Any) -> None:
    """An object without fields of ours is bounded too, all the way down."""
    try:
        call = codec.build(ToolCall, {"name": "f", "arguments": {"x": value}})
    except BadRequest:
        return
    sent = [codec.encode(codec.plain(call), encoding) for encoding in Encoding]

    assert ["f", "f"] == [codec.decode(payload)["name"] for payload in sent]


@pytest.mark.parametrize(
    ("cls", "wire"),
    [
        (Heartbeat, {"models": [{"name": "m", "size_bytes": "1" + "0" * 400}]}),
        (Heartbeat, {"seq": 2**63}),
        (Heartbeat, {"done": -1}),
        (Heartbeat, {"in_flight": "9" * 25}),
        (Heartbeat, {"jobs_by_dispatcher": {"d": 10**30}}),
        (Heartbeat, {"speeds": {"m": {"decode_tps": "1e400"}}}),
        (Heartbeat, {"speeds": {"m": {"decode_tps": float("nan")}}}),
        (Heartbeat, {"closed_s": float("inf")}),
        (Heartbeat, {"uptime_s": 1e300}),
        (Heartbeat, {"speeds": {str(n): {} for n in range(1001)}}),
        (ChatRequest, {"options": {"seed": "9" * 25}}),
        (ChatRequest, {"options": {"temperature": "nan"}}),
        (ChatRequest, {"deadline_ms": 2**63}),
        (ChatRequest, {"tools": [{"a": 2**64}]}),
        (ChatRequest, {"format": {"a": 2**64}}),
        (Dispatch, {"attempt": 2**63}),
        (Usage, {"prompt_tokens": 2**63}),
    ],
)
def test_a_number_out_of_bounds_is_refused(cls: type, wire: dict[str, Any]) -> None:
    """64 bits for integers; floats are finite."""
    assert refused(cls, {**HONEST[cls], **wire})


@pytest.mark.parametrize("seed", [-(2**63), 0, 2**63 - 1])
def test_every_seed_of_64_bits_is_taken(seed: int) -> None:
    """Both ends of the range included."""
    assert codec.build(Options, {"seed": seed}).seed == seed


@pytest.mark.parametrize(
    ("wire", "named"),
    [
        ({"prompt": "hi", "max_tokens": 3}, "max_tokens"),
        ({"prompt": "hi", "options": {"num_predict": 3}}, "options.num_predict"),
    ],
)
def test_a_field_that_nobody_reads_is_refused_by_name(wire: dict[str, Any], named: str) -> None:
    """A limit that is misspelt, or stands in the wrong place, is not ignored in silence."""
    with pytest.raises(BadRequest, match=re.escape(named)):
        codec.build(ChatRequest, wire)

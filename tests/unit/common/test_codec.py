"""Bytes to values: what is read, how it is told apart, and that a stranger's bytes cause nothing but `BadRequest`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from annotated_types import Ge, Le
from hypothesis import example, given
from hypothesis import strategies as st

from common import codec
from common.codec import Encoding
from common.errors import BadRequest
from common.messages import ChatRequest
from tests.unit.common.values import PLAIN, TEXT

OBJECTS = st.dictionaries(TEXT, PLAIN, max_size=6)


@given(st.sampled_from(Encoding), OBJECTS)
def test_round_trip(encoding: Encoding, value: dict[str, Any]) -> None:
    """What is encoded comes back, in either encoding."""
    assert codec.decode_request(codec.encode(value, encoding)) == value


@given(st.sampled_from(Encoding), OBJECTS)
def test_sniff(encoding: Encoding, value: dict[str, Any]) -> None:
    """The first byte of any object tells its encoding."""
    assert codec.sniff(codec.encode(value, encoding)) is encoding


@pytest.mark.parametrize(
    ("payload", "encoding"),
    [
        (b'{"a":1}', Encoding.JSON),
        (b' \r\n\t{"a":1}', Encoding.JSON),
        (b"\x80", Encoding.MSGPACK),  # map of 0
        (b"\x8f", Encoding.MSGPACK),  # map of 15
        (b"\xde\x00\x00", Encoding.MSGPACK),  # map with 16-bit length
        (b"\xdf\x00\x00\x00\x00", Encoding.MSGPACK),  # map with 32-bit length
        (b"\x90", Encoding.JSON),  # a MessagePack list: an error for a person
        (b"\x7f", Encoding.JSON),
        (b"", Encoding.JSON),
    ],
)
def test_sniff_edges(payload: bytes, encoding: Encoding) -> None:
    """All four heads of a MessagePack map are known; everything else is answered in JSON."""
    assert codec.sniff(payload) is encoding


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"{",
        b'{"a":1',
        b'{"a":1}{"b":2}',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\xff\xfe"}',
        b'{"\xc3\x28":1}',
        b'{"a":"\\ud800"}',
        b'\xef\xbb\xbf{"a":1}',
        b"[]",
        b'["a"]',
        b'"a"',
        b"1",
        b"null",
        b"true",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\x00\x01\x02",
    ],
    ids=lambda payload: repr(payload[:20]),
)
def test_bad_json(payload: bytes) -> None:
    """What is no JSON object is a `BadRequest` with a way out."""
    with pytest.raises(BadRequest, match="send an object such as"):
        codec.decode_request(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x81",  # a pair is missing
        b"\x81\xa1a",  # its value is missing
        b"\x80\x80",  # more follows
        b"\x81\xa1a\xc1",  # the byte that MessagePack never uses
        b"\x81\xa1a\xa2\xff\xff",  # bad UTF-8
        b"\x81\x01\x02",  # a key that is no text
        b"\x81\x90\x02",  # a key that can't be hashed
        b"\x81\xa1a" * 5000 + b"\x00",  # deep
        b"\xdf\xff\xff\xff\xff",  # four billion pairs announced
        b"\x81\xa1a\xdd\xff\xff\xff\xff",  # a list of four billion
        b"\x81\xa1a\xc6\xff\xff\xff\xff",  # four gigabytes announced
        b"\x81\xa1a\xd7\xff" + b"\xff" * 8,  # a timestamp that is none
    ],
    ids=lambda payload: repr(payload[:20]),
)
def test_bad_msgpack(payload: bytes) -> None:
    """What begins as a MessagePack map and is none is a `BadRequest`."""
    with pytest.raises(BadRequest, match="not MessagePack"):
        codec.decode_request(payload)


def nested(depth: int) -> dict[str, Any]:
    """Give an object of so many levels, alternating objects and lists."""
    value: Any = 1
    for level in range(depth - 1):
        value = [value] if level % 2 else {"a": value}
    return {"a": value}


@pytest.mark.parametrize("encoding", list(Encoding))
def test_nesting(encoding: Encoding) -> None:
    """`MAX_DEPTH` levels pass, one more is a `BadRequest` that names the limit."""
    assert codec.decode_request(codec.encode(nested(codec.MAX_DEPTH), encoding)) == nested(codec.MAX_DEPTH)
    with pytest.raises(BadRequest, match=f"deeper than {codec.MAX_DEPTH} levels"):
        codec.decode_request(codec.encode(nested(codec.MAX_DEPTH + 1), encoding))


def decoded(payload: bytes) -> object:
    """Give what a stranger's payload becomes, or None when it is refused as it should be."""
    try:
        return codec.decode_request(payload)
    except BadRequest:
        return None


@given(st.binary(max_size=200))
@example(b"\x81\xa1a\xd6\xff\x00\x00\x00\x00")
def test_any_bytes(payload: bytes) -> None:
    """Whatever bytes come, the outcome is an object or a `BadRequest`."""
    assert isinstance(decoded(payload), dict | None)


@given(OBJECTS, st.sampled_from(list(Encoding)), st.data())
def test_damaged_bytes(value: dict[str, Any], encoding: Encoding, data: st.DataObject) -> None:
    """An honest payload with some bytes changed, cut or added is an object or a `BadRequest` too."""
    payload = bytearray(codec.encode(value, encoding))
    start = data.draw(st.integers(0, len(payload)))
    end = data.draw(st.integers(start, len(payload)))
    payload[start:end] = data.draw(st.binary(max_size=8))

    assert isinstance(decoded(bytes(payload)), dict | None)


@given(st.dictionaries(st.sampled_from(["prompt", "messages", "options", "tools", "timeout_s", "model"]), PLAIN))
@example({"prompt": "x", "options": {"seed": 1e20}})
@example({"prompt": "x", "timeout_s": math.nan})
def test_build_or_bad_request(wire: dict[str, Any]) -> None:
    """Any object becomes a request, which can be sent on in both encodings, or a `BadRequest`."""
    try:
        request = codec.build(ChatRequest, wire)
    except BadRequest:
        return
    sent = [codec.decode(codec.encode(codec.plain(request), encoding)) for encoding in Encoding]

    assert [codec.build(ChatRequest, wire) for wire in sent] == [request, request]


@dataclass(frozen=True)
class Sample:
    count: Annotated[int, Ge(0), Le(9)]
    name: str
    note: str | None = None


def test_all_faults_at_once() -> None:
    """The error names every wrong field, what was expected and what came; `param` is the first of them."""
    with pytest.raises(BadRequest) as caught:
        codec.build(Sample, {"count": 10, "name": 5})

    assert "count: Input should be less than or equal to 9 (got 10)" in caught.value.message
    assert "name: Input should be a valid string (got 5)" in caught.value.message
    assert caught.value.details == {"param": "count"}


def test_long_values_are_cut() -> None:
    """A megabyte in a wrong field does not come back in the error."""
    with pytest.raises(BadRequest) as caught:
        codec.build(Sample, {"count": "x" * 1_000_000, "name": "n"})

    assert len(caught.value.message) < 300


def test_plain_leaves_out_what_is_absent() -> None:
    """A field that is None does not travel."""
    assert codec.plain(Sample(count=1, name="n")) == {"count": 1, "name": "n"}


def test_msgpack_on_the_wire() -> None:
    """Text travels as text and bytes as bytes, by the heads that the specification gives them."""
    assert codec.encode({"a": "ü", "b": b"\x00"}, Encoding.MSGPACK) == b"\x82\xa1a\xa2\xc3\xbc\xa1b\xc4\x01\x00"


def test_objects_one_after_the_other() -> None:
    """MessagePack may carry several in one payload; JSON carries one."""
    two = codec.encode({"a": 1}, Encoding.MSGPACK) + codec.encode({"b": [2]}, Encoding.MSGPACK)

    assert ([{"a": 1}, {"b": [2]}], [{"a": 1}]) == (codec.decode_all(two), codec.decode_all(b'{"a":1}'))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[1]",
        codec.encode({"a": 1}, Encoding.MSGPACK)[:-1],  # cut
        codec.encode({"a": 1}, Encoding.MSGPACK) + b"\x81",  # the second one cut
        codec.encode({"a": 1}, Encoding.MSGPACK) + b"\x07",  # a number behind
        codec.encode({"a": 1}, Encoding.MSGPACK) + b"\xc1",  # never used
        b"\xdf\xff\xff\xff\xff",
    ],
)
def test_what_is_no_row_of_objects_is_refused(payload: bytes) -> None:
    """Cut, empty, or something else: a typed error."""
    with pytest.raises(BadRequest):
        codec.decode_all(payload)


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        ({"messages": None}, "messages: Input should be a list (got null)"),
        ({"messages": [5]}, "messages.0: Input should be an object (got 5)"),
        ({"options": []}, "options: Input should be an object (got [])"),
        ({"options": {"stop": "x"}}, "options.stop: Input should be a list (got 'x')"),
        ({"stream": None}, "stream: Input should be true or false (got null)"),
        ({"stream": "perhaps"}, "stream: Input should be true or false (got 'perhaps')"),
        ({"timeout_s": True, "model": True}, "model: Input should be a valid string (got true)"),
        ({"nope": 1}, "nope: There is no such field (got 1)"),
        ({"max_tokens": 9}, "max_tokens: There is no such field: write options.max_tokens (got 9)"),
        ({"options": {"nope": 1}}, "options.nope: There is no such field (got 1)"),
        ({"format": 5}, "format: Input should be 'json' (got 5); format: Input should be an object (got 5)"),
        (
            {"messages": [{"role": "user", "images": ["x"] * 17}]},
            "messages.0.images: List should have at most 16 items, not 17 (got a list of 17)",
        ),
        (
            {"tools": [{"a": object}]},
            "tools.0: it can't be sent on (Type is not JSON serializable: type) (got an object of 1)",
        ),
    ],
)
def test_a_wrong_field_is_told_in_the_words_of_json(wire: dict[str, Any], message: str) -> None:
    """Who sends JSON knows no tuple, no dictionary, no dataclass and no None, nor the types that a field's check has tried."""
    with pytest.raises(BadRequest) as caught:
        codec.build(ChatRequest, wire)

    assert message == caught.value.message


@pytest.mark.parametrize(
    ("payload", "what"),
    [(b"null", "null"), (b"[]", "a list"), (b'"a"', "a string"), (b"1.5", "a number"), (b"true", "true")],
)
def test_a_payload_that_is_no_object_is_told_in_the_words_of_json(payload: bytes, what: str) -> None:
    """As JSON calls it."""
    with pytest.raises(BadRequest, match=f"the payload is {what}: send an object"):
        codec.decode(payload)


@pytest.mark.parametrize(
    ("wire", "field"),
    [
        ({"model": "a\udcff"}, "model"),
        ({"messages": [{"content": "fine"}, {"content": "\ud83d"}]}, "messages.1.content"),
        ({"tools": [{"fine": {"\udcff": 1}}]}, "tools.0.fine.\\udcff"),
    ],
)
def test_text_that_is_no_unicode_is_named_by_its_field(wire: dict[str, Any], field: str) -> None:
    """Half a character, as Python reads bytes that are not UTF-8, is no traceback."""
    with pytest.raises(BadRequest, match="can't be sent") as caught:
        codec.encode_request(wire)

    assert caught.value.details == {"param": field}

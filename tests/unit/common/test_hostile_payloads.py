"""What a stranger can put into a megabyte: it is refused before anybody else on the event loop notices."""

from __future__ import annotations

import time

import pytest

from common import codec
from common.errors import BadRequest
from common.messages import ChatRequest, Dispatch, Heartbeat

SIZE = 1_000_000
GUARD_S = 1.0
"""Of the processor's time, whatever else runs: each takes 30 ms at most, 0.1 s the last of MessagePack; without the bounds it is
0.4 to 10 s."""

HEARTBEAT = b'{"device":"n","boot":"b","seq":1,'
DISPATCH = b'{"job":"j","attempt":1,"dispatcher":"d","model":"m",'


def filled(head: bytes, item: bytes, tail: bytes) -> bytes:
    """As many of one item as a megabyte holds."""
    return head + b",".join([item] * ((SIZE - len(head) - len(tail)) // (len(item) + 1))) + tail


def keyed(head: bytes, value: bytes, tail: bytes) -> bytes:
    """As many entries with different keys as a megabyte holds."""
    return head + b",".join(b'"%06d":%b' % (number, value) for number in range(SIZE // (len(value) + 10))) + tail


def packed_lists(lists: int, each: int) -> bytes:
    """MessagePack: empty lists, one byte each, in lists."""
    return b"\x81\xa8messages\x9a" + (b"\xdd" + each.to_bytes(4, "big") + b"\x90" * each) * lists


def packed_keys(count: int) -> bytes:
    """MessagePack: an object whose keys are bytes."""
    return (
        b"\xdf"
        + count.to_bytes(4, "big")
        + b"".join(b"\xc4\x04\xff%b\x01" % n.to_bytes(3, "big") for n in range(count))
    )


@pytest.mark.parametrize(
    ("cls", "payload"),
    [
        pytest.param(ChatRequest, filled(b'{"messages":[', b"1", b"]}"), id="messages"),
        pytest.param(ChatRequest, filled(b'{"messages":[', b"{}", b"]}"), id="empty messages"),
        pytest.param(ChatRequest, filled(b'{"messages":[', b"[]", b"]}"), id="lists for messages"),
        pytest.param(ChatRequest, filled(b'{"options":{"stop":[', b"1", b"]}}"), id="stop"),
        pytest.param(ChatRequest, filled(b'{"tools":[', b"1", b"]}"), id="tools"),
        pytest.param(ChatRequest, filled(b'{"messages":[{"role":"user","images":[', b"1", b"]}]}"), id="images"),
        pytest.param(ChatRequest, filled(b'{"messages":[{"role":"user","tool_calls":[', b"1", b"]}]}"), id="calls"),
        pytest.param(ChatRequest, filled(b'{"prompt":[', b"[]", b"]}"), id="lists for a prompt"),
        pytest.param(ChatRequest, filled(b'{"format":[', b"1", b"]}"), id="a list for a format"),
        pytest.param(ChatRequest, keyed(b'{"model":7,', b"1", b"}"), id="unknown fields"),
        pytest.param(ChatRequest, b'{"options":{"seed":"' + b"9" * SIZE + b'"}}', id="digits"),
        pytest.param(ChatRequest, packed_lists(10, 99_000), id="packed lists"),
        pytest.param(ChatRequest, packed_keys(99_000), id="packed keys"),
        pytest.param(Dispatch, filled(DISPATCH + b'"messages":[', b"1", b"]}"), id="dispatch"),
        pytest.param(Heartbeat, filled(HEARTBEAT + b'"models":[', b"1", b"]}"), id="models"),
        pytest.param(Heartbeat, filled(HEARTBEAT + b'"topics":[', b"1", b"]}"), id="topics"),
        pytest.param(
            Heartbeat, filled(HEARTBEAT + b'"models":[{"name":"m","capabilities":[', b"1", b"]}]}"), id="capabilities"
        ),
        pytest.param(Heartbeat, keyed(HEARTBEAT + b'"speeds":{', b"1", b"}}"), id="speeds"),
        pytest.param(Heartbeat, keyed(HEARTBEAT + b'"jobs_by_dispatcher":{', b'"x"', b"}}"), id="jobs by dispatcher"),
    ],
)
def test_a_wrong_megabyte_is_refused_at_once_and_in_one_line(cls: type, payload: bytes) -> None:
    """Whatever is wrong with it: the refusal is short, and does not hold up the event loop."""
    began_s = time.process_time()
    with pytest.raises(BadRequest) as caught:
        codec.build(cls, codec.decode_request(payload))
    took_s = time.process_time() - began_s

    assert (took_s < GUARD_S, len(caught.value.message) < 1000) == (True, True), f"{took_s} s"


def test_at_most_eight_faults_are_told() -> None:
    """A thousand wrong speeds make eight rows."""
    beat = {"device": "n", "boot": "b", "seq": 1, "speeds": {str(n): {"jobs": "x"} for n in range(1000)}}
    with pytest.raises(BadRequest) as caught:
        codec.build(Heartbeat, beat)

    assert codec.MAX_FAULTS == caught.value.message.count("(got 'x')")


def test_a_thousand_messages_are_taken() -> None:
    """The bounds stop nobody honest: the longest conversation, with a call and an image in each turn."""
    turn = {
        "role": "assistant",
        "content": "x" * 500,
        "images": ["aGk="],
        "tool_calls": [{"name": "f", "arguments": {"a": [1, 2]}}],
    }
    request = codec.build(ChatRequest, codec.decode_request(codec.encode({"messages": [turn] * 1000})))

    assert len(request.messages) == 1000

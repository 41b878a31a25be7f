"""Embeddings as they travel: packed without loss, and refused when they are none."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import codec, frames, vectors
from common.codec import Encoding
from common.errors import GarbledReply
from common.frames import End

NUMBERS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8)


@settings(max_examples=100)
@given(NUMBERS, st.sampled_from(Encoding))
def test_what_float32_holds_travels_without_loss(numbers: list[float], encoding: Encoding) -> None:
    """Every bit comes back, in both encodings, and so it does from what people are shown."""
    packed = vectors.pack(numbers)
    wire = codec.encode(frames.to_wire(End(embeddings=(packed,))), encoding)
    back = frames.from_wire(codec.decode(wire))
    assert isinstance(back, End)
    bits = struct.pack(f"<{len(numbers)}f", *numbers)

    assert bits == struct.pack(f"<{len(numbers)}f", *vectors.unpack(back.embeddings[0]))
    assert bits == struct.pack(f"<{len(numbers)}f", *vectors.shown(packed))
    assert len(numbers) == vectors.dimensions(packed)


def test_the_bytes_are_those_of_everybody_else() -> None:
    """Little-endian float32, as OpenAI's and Ollama's APIs have it."""
    assert base64.b64encode(bytes.fromhex("0000803f000000c0")).decode() == vectors.pack([1.0, -2.0])


@pytest.mark.parametrize("numbers", [[], [float("nan")], [float("inf"), float("-inf")], [1e39], ["x"], [0.0] * 8193])
def test_what_is_no_embedding_is_not_packed(numbers: list[float]) -> None:
    """Nothing that the other side would have to refuse leaves this one."""
    with pytest.raises(ValueError, match="embedding"):
        vectors.pack(numbers)


@pytest.mark.parametrize(
    "embeddings",
    [
        ["AAAAAA=="] * 17,
        ["AAAA"],
        ["!"],
        [""],
        ["\u00e9"],
        [3],
        {"a": 1},
        "AAAAAA==",
        [base64.b64encode(struct.pack("<f", float("nan"))).decode()],
        ["AAAAAA==", "AAAAAAAAAAA="],
    ],
    ids=["many", "bytes", "base64", "none", "letters", "number", "object", "text", "nan", "lengths"],
)
def test_a_device_that_gives_what_is_no_embedding_is_not_believed(embeddings: object) -> None:
    """One list of texts, bounded, all of one length and all finite."""
    with pytest.raises(GarbledReply):
        frames.from_wire({"t": "end", "embeddings": embeddings})

"""The `context` of `/api/generate`: a conversation as a list of small integers that its client keeps and sends again.

At Ollama these are the tokens of one model. Here the next request may meet another model on another device, and the bridge keeps
nothing, so they are the turns themselves: marked, checked, compressed, two bytes to a number. That hides nothing and proves
nothing: whoever changes it could have said the same in `/api/chat`. It is read as anything that a stranger sends.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import MaxLen
from pydantic import FailFast

from common import codec
from common.errors import BadRequest
from common.messages import Message, Role

MARK = 0xD20E
"""The first number of every context; a new way to write them gets another one."""

MOST_BYTES = 128 * 1024
"""Of a conversation, before it is compressed: some 32,000 tokens, more than these devices hold. Older turns are left out."""

MOST_TURNS = 900
"""Below the thousand messages of a request, with room for what is asked next."""

MOST_NUMBER = 0xFFFF

MOST_NUMBERS = MOST_BYTES
"""What can't be compressed takes half as many."""

_LEVEL = 3
"""Half a millisecond for 100 kB; the best compression takes ten times as long and saves a tenth."""

Turn = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    turns: Annotated[tuple[Message, ...], FailFast(), MaxLen(MOST_TURNS)]


def remember(turns: Sequence[Turn]) -> list[int]:
    """Write the latest of these turns that fit, and the system text before them; images are forgotten."""
    told = codec.encode({"turns": [{"role": str(one["role"]), "content": one["content"]} for one in _latest(turns)]})
    packed = zlib.compress(told, _LEVEL)
    data = struct.pack(">I", zlib.crc32(packed)) + packed
    odd = len(data) % 2
    return [MARK, odd, *struct.unpack(f">{(len(data) + odd) // 2}H", data + b"\0" * odd)]


def recall(numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Read the turns of a context. Raises `BadRequest` for what was not written here, or was changed since."""
    try:
        told = codec.build(_Told, codec.decode_request(_unpacked(numbers)))
    except (BadRequest, ValueError, struct.error, zlib.error) as error:
        raise BadRequest(
            "context is none that this bridge has given: send the one of the last answer as it came, or leave it out; "
            "that of an Ollama server can't be continued here",
            param="context",
        ) from error
    return [{"role": one.role, "content": one.content} for one in told.turns if one.role is not Role.TOOL]


def _unpacked(numbers: Sequence[int]) -> bytes:
    mark, odd, *rest = numbers
    if mark != MARK or odd not in (0, 1):
        raise ValueError("it has another mark")
    data = struct.pack(f">{len(rest)}H", *rest)
    if odd and data[-1:] != b"\0":
        raise ValueError("what fills it up was changed")
    data = data[: len(data) - odd]
    (check,) = struct.unpack(">I", data[:4])
    if check != zlib.crc32(data[4:]):
        raise ValueError("it was changed")
    unpacker = zlib.decompressobj()
    told = unpacker.decompress(data[4:], 2 * MOST_BYTES)
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("it is cut off, or holds more than was ever written")
    return told


def _latest(turns: Sequence[Turn]) -> list[Turn]:
    """Give the system text, and as many of the last turns as fit behind it; they begin with a question."""
    heads = [one for one in turns[:1] if one["role"] == Role.SYSTEM and _size(one) <= MOST_BYTES]
    left, kept = MOST_BYTES - sum(map(_size, heads)), list[Turn]()
    for one in reversed(turns[1:] if turns and turns[0]["role"] == Role.SYSTEM else turns):
        left -= _size(one)
        if left < 0 or len(kept) + len(heads) == MOST_TURNS:
            break
        kept.append(one)
    while kept and kept[-1]["role"] != Role.USER:
        kept.pop()
    return [*heads, *reversed(kept)]


def _size(turn: Turn) -> int:
    """Bytes of a turn as it is written, with what stands around it."""
    return len(codec.encode({"role": str(turn["role"]), "content": turn["content"]})) + 1

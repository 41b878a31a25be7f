"""An entry as bytes, and back: MessagePack, compressed where it is long, with a check sum. It knows no store.

The check sum tells what was garbled by accident. It is no seal: who can write into the Redis can write answers.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import dataclass

from common import codec
from common.errors import BadRequest, FleetError
from dispatcher.cache.values import Entry, Summary

VERSION = 2
"""Of what is written; another one is not read, and its answers are given anew."""

OVERHEAD_BYTES = 896
"""About what an entry takes beside its bytes, in Redis, most of it names in the index; in this process it is half as much
(measured by `python -m dispatcher.lab.speed.answers`)."""

_MARK = b"dr"
_PLAIN, _DEFLATED = 0, 1
_HEAD_BYTES = len(_MARK) + 2 + 4

_LONG_BYTES = 1024
"""Compressing pays from here on: English of 1 KiB shrinks to 63 % in 8 us, of 256 bytes to 80 %."""

_LEVEL = 1
"""Of Markdown: 8 KiB shrink 1.98-fold in 36 us and 128 KiB 2.25-fold in 1.2 ms, and are back in 15 us and 0.4 ms. At level 6
it is 2.11 and 2.65 in up to four times the time; LZMA 2.04 in ten times, and takes three times as long to be read."""

_BESIDE_BYTES = 64 << 10
"""Of an entry, beside its two texts: the receipt and the names."""


class Unreadable(FleetError):
    """The bytes are no entry of this version."""

    code = "unreadable"


class Foreign(Unreadable):
    """The bytes may be sound for another dispatcher, of another version or with wider bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long an answer, and the question that it was given to, may be."""

    answer_bytes: int

    @property
    def whole_bytes(self) -> int:
        """What an entry has at most when it is not compressed."""
        return 2 * self.answer_bytes + _BESIDE_BYTES


def pack(entry: Entry, bounds: Bounds) -> bytes | None:
    """Write an entry; None for one that is too large, or that has text which is no Unicode."""
    try:
        text_bytes, question_bytes = len(entry.text.encode()), len(entry.place.question.encode())
        whole = codec.encode(codec.plain(entry), codec.Encoding.MSGPACK)
    except UnicodeEncodeError:
        return None
    if max(text_bytes, question_bytes) > bounds.answer_bytes or len(whole) > bounds.whole_bytes:
        return None
    method, body = _PLAIN, whole
    if len(whole) >= _LONG_BYTES:
        deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        squeezed = deflate.compress(whole) + deflate.flush()
        if len(squeezed) < len(whole):
            method, body = _DEFLATED, squeezed
    return sealed(method, body)


def sealed(method: int, body: bytes) -> bytes:
    """Give a body with its head. The sum is over the bytes as they lie: in those of deflate some bits mean nothing."""
    kind = bytes((VERSION, method))
    return _MARK + kind + zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big") + body


def unpack(value: bytes, bounds: Bounds) -> Entry:
    """Read an entry. Raises `Unreadable`, also for one that would be too large: no more than that is ever unfolded."""
    if value[: len(_MARK)] != _MARK or len(value) < _HEAD_BYTES:
        raise Unreadable("this was not written by us")
    if value[len(_MARK)] != VERSION:
        raise Foreign(f"this was written by version {value[len(_MARK)]}, and {VERSION} is read")
    method, body = value[len(_MARK) + 1], value[_HEAD_BYTES:]
    if sealed(method, body) != value:
        raise Unreadable("its check sum is wrong")
    whole = _unfolded(method, body, bounds.whole_bytes)
    try:
        return codec.build(Entry, codec.decode(whole))
    except BadRequest as error:
        raise Unreadable("its check sum is right, and it is no entry") from error


def hashed(tenant: str) -> str:
    """Name a tenant in a store: always of one length, so that no two tenants' names of entries ever meet, and without telling who
    it is."""
    return base64.urlsafe_b64encode(hashlib.sha256(tenant.encode(errors="surrogatepass")).digest()[:18]).decode()


def summary(entry: Entry, size_bytes: int, hits: int) -> Summary:
    """Say of an entry what operators see."""
    return Summary(
        exact=entry.place.exact,
        tenant=entry.place.tenant,
        question=entry.place.question,
        model=entry.receipt.model,
        device=entry.receipt.device,
        created_unix_s=entry.created_unix_s,
        size_bytes=size_bytes,
        hits=hits,
        semantic=entry.place.scope != "",
    )


def _unfolded(method: int, body: bytes, most_bytes: int) -> bytes:
    if method == _PLAIN:
        whole, rest = body, b""
    elif method == _DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            whole = inflate.decompress(body, most_bytes + 1)
        except zlib.error as error:
            raise Unreadable("it can't be unfolded") from error
        rest = inflate.unused_data
        if len(whole) <= most_bytes and not inflate.eof:
            raise Unreadable("it is cut short")
    else:
        raise Unreadable(f"it is folded in a way that is not known: {method}")
    if len(whole) > most_bytes:
        raise Foreign(f"it is longer than {most_bytes} bytes")
    if rest:
        raise Unreadable("something stands behind it")
    return whole

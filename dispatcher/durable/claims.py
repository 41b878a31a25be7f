"""Who works on what: claims made by compare-and-set in a bucket that all dispatchers share; it knows no job's content.

No clock is compared with another machine's. A claim has no time in it: the server delivers a job again when its holder has given
no sign of life for the ack wait, and that delivery is the proof that the claim is void.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common import codec
from common.bus.streams import Bucket, Entry
from common.errors import BadRequest, StreamConflict


@dataclass(slots=True)
class Claim:
    """A key that is ours, at this revision."""

    key: str
    value: bytes
    revision: int
    tries: int
    """Number of the try that it is for."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a key, for which message of the stream, and at which try."""

    name: str
    seq: int
    tries: int
    revision: int


class Claims:
    """The claims of one dispatcher, under a name that no other process has or had."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket = bucket
        self._name = name

    async def take(self, key: str, *, seq: int, gone: int = 0) -> Claim | None:
        """Claim a job for message `seq`; None when somebody else works on it.

        1. Nobody has it. 2. Its holder had this very message, and it is delivered again: the holder is gone, or mute, and a try
        with him. Or he had message `gone`, which does not exist any more. 3. Its holder has another message with the same job.
        """
        value = self._value(seq, 1)
        try:
            return Claim(key, value, await self._bucket.create(key, value), 1)  # 1
        except StreamConflict:
            entry = await self._bucket.get(key)
        if entry is None:  # 1, since a moment
            return await self._replace(key, seq, 1, 0)
        holder = holder_of(entry)
        if holder.seq in {seq, gone}:  # 2
            return await self._replace(key, seq, holder.tries + 1 if holder.seq == seq else 1, holder.revision)
        return None  # 3

    async def _replace(self, key: str, seq: int, tries: int, revision: int) -> Claim | None:
        value = self._value(seq, tries)
        try:
            return Claim(key, value, await self._bucket.update(key, value, revision), tries)
        except StreamConflict:
            return None

    def _value(self, seq: int, tries: int) -> bytes:
        return codec.encode({"by": self._name, "seq": seq, "tries": tries})

    async def recount(self, claim: Claim, *, seq: int, tries: int) -> bool:
        """Say that it is for a later try than was thought; False when it is another's by now."""
        claim.value, claim.tries = self._value(seq, tries), tries
        return await self.renew(claim)

    async def renew(self, claim: Claim) -> bool:
        """Say that we still work on it; False when it is another's.

        A server that was restarted has forgotten it: then it is made anew.
        """
        for revision in (claim.revision, 0):
            try:
                claim.revision = await self._bucket.update(claim.key, claim.value, revision)
            except StreamConflict:
                continue
            return True
        return False

    async def release(self, claim: Claim) -> None:
        """Give it up; nothing happens when it is another's by now."""
        await self._bucket.delete(claim.revision)

    async def holder(self, key: str) -> Holder | None:
        """Say who has a key."""
        entry = await self._bucket.get(key)
        return None if entry is None else holder_of(entry)


def claim_key(tenant: str, job: str) -> str:
    """The key of a job."""
    return f"{tenant}.{job}"


def holder_of(entry: Entry) -> Holder:
    """Read a claim; one that can't be read is nobody's."""
    try:
        wire: dict[str, Any] = codec.decode(entry.value)
    except BadRequest:
        wire = {}
    return Holder(str(wire.get("by", "")), _count(wire, "seq"), _count(wire, "tries"), entry.revision)


def _count(wire: dict[str, Any], name: str) -> int:
    value = wire.get(name)
    return value if isinstance(value, int) else 0

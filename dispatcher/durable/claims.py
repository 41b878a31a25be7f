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
    """A key that is ours, for a message of the stream."""

    key: str
    seq: int
    revision: int = 0
    tries: int = 1
    """Number of the try that it is for."""
    losses: int = 0
    """How many had it before and were lost, one after the other, before they had brought the job to a device."""
    reached: bool = False
    """A device has got the job in this try. It is told with the next sign of life."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a key, for which message of the stream, and at which try."""

    name: str
    seq: int
    tries: int
    losses: int
    reached: bool
    revision: int


class Claims:
    """The claims of one dispatcher, under a name that no other process has or had."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket = bucket
        self._name = name

    async def take(self, key: str, *, seq: int, gone: int = 0) -> Claim | None:
        """Claim a job for message `seq`; None when somebody else works on it.

        1. Nobody has it. 2. Its holder had this very message, and it is delivered again: the holder is gone, or mute, and with him
        a try, if a device had got the job from him. Or he had message `gone`, which does not exist any more. 3. Its holder has
        another message with the same job.
        """
        claim = Claim(key, seq)
        try:
            claim.revision = await self._bucket.create(key, self._value(claim))  # 1
        except StreamConflict:
            entry = await self._bucket.get(key)
        else:
            return claim
        if entry is None:  # 1, since a moment
            return await self._replace(claim)
        holder = holder_of(entry)
        if holder.seq not in {seq, gone}:  # 3
            return None
        claim.revision = holder.revision
        if holder.seq == seq:  # 2
            claim.tries = holder.tries + holder.reached
            claim.losses = holder.losses + (not holder.reached)
        return await self._replace(claim)

    async def _replace(self, claim: Claim) -> Claim | None:
        try:
            claim.revision = await self._bucket.update(claim.key, self._value(claim), claim.revision)
        except StreamConflict:
            return None
        return claim

    def _value(self, claim: Claim) -> bytes:
        return codec.encode(
            {
                "by": self._name,
                "seq": claim.seq,
                "tries": claim.tries,
                "losses": claim.losses,
                "reached": claim.reached,
            }
        )

    async def recount(self, claim: Claim, *, tries: int) -> bool:
        """Say that it is for a later try than was thought; False when it is another's by now."""
        claim.tries = tries
        return await self.renew(claim)

    async def renew(self, claim: Claim) -> bool:
        """Say that we still work on it; False when it is another's.

        A server that was restarted has forgotten it: then it is made anew.
        """
        for revision in (claim.revision, 0):
            try:
                claim.revision = await self._bucket.update(claim.key, self._value(claim), revision)
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
    return Holder(
        name=str(wire.get("by", "")),
        seq=_count(wire, "seq"),
        tries=_count(wire, "tries"),
        losses=_count(wire, "losses"),
        reached=wire.get("reached") is True,
        revision=entry.revision,
    )


def _count(wire: dict[str, Any], name: str) -> int:
    value = wire.get(name)
    return value if isinstance(value, int) else 0

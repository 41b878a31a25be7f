"""Asks the ledger about keys, over the bus; it knows no database.

All functions raise `LedgerUnavailable` where no ledger runs or its database is away, `BusTimeout` and `BusDisconnected`, and
`GarbledReply` for what can't be an answer.
"""

from __future__ import annotations

from typing import Any, TypeVar

from common import codec
from common.bus import Bus
from common.errors import BadRequest, GarbledReply
from common.key_requests import (
    AddKey,
    Adopted,
    ChangeKey,
    CheckKey,
    Issued,
    Listed,
    ListKeys,
    LoginKey,
    ReleaseJob,
    RotateKey,
    WhichKey,
)
from common.keys import Grant, Login, Presented, Reservation, Reserved
from common.ledger import WAY_OUT, exchange
from common.subjects import Subjects

ASK_S = 10.0
NO_LEDGER = f"no ledger answers, and it keeps the keys: {WAY_OUT}"

T = TypeVar("T")


async def check(bus: Bus, subjects: Subjects, shown: Presented) -> Grant:
    """Give what a key, or a session, is for. Raises `Unauthorized`."""
    asked = CheckKey(key=shown.id, key_digest=shown.key_digest)
    return _built(Grant, await _ask(bus, subjects, "check", asked), "grant")


async def reserve(bus: Bus, subjects: Subjects, wanted: Reservation) -> Reserved:
    """Set aside what a job may use, and give what is left. Raises `QuotaSpent` where a budget has not that much, which says when it
    begins anew; `DuplicateJob` where another key has reserved a job of this name, or this key a smaller one; `UnknownKey`.

    Sent twice it counts once. Who does not know whether it came through (`BusTimeout`) may send it again, or `release` it: what is
    somebody else's stays.
    """
    return _built(Reserved, await _ask(bus, subjects, "reserve", wanted), "reserved")


async def release(bus: Bus, subjects: Subjects, made: Reservation) -> bool:
    """Give back what is set aside for a job that no dispatcher has, and none will have. False when there was nothing, or when
    another request has come under the same id."""
    asked = ReleaseJob(key=made.key, job=made.job, holder=made.holder)
    return (await _ask(bus, subjects, "release", asked)).get("released") is True


async def login(bus: Bus, subjects: Subjects, shown: Presented, *, ttl_s: float) -> Login:
    """Make a session for a browser. Raises `Unauthorized`, also for what is a session itself."""
    asked = LoginKey(key=shown.id, key_digest=shown.key_digest, ttl_s=ttl_s)
    return _built(Login, await _ask(bus, subjects, "login", asked), "login")


async def logout(bus: Bus, subjects: Subjects, shown: Presented) -> None:
    """End a session; one that is none any more has ended. What is no session's raises `Unauthorized`."""
    await _ask(bus, subjects, "logout", CheckKey(key=shown.id, key_digest=shown.key_digest))


async def state(bus: Bus, subjects: Subjects) -> int:
    """Count the keys that live: with none, nobody outside of this machine may be let in."""
    keys = (await _ask(bus, subjects, "state", None)).get("keys")
    if isinstance(keys, bool) or not isinstance(keys, int):
        raise GarbledReply("the ledger's answer does not say how many keys there are: it may be of another version")
    return keys


async def add(bus: Bus, subjects: Subjects, wanted: AddKey) -> Issued:
    """Make a key. Raises `BadRequest` where its name is taken."""
    return _built(Issued, await _ask(bus, subjects, "add", wanted), "issued")


async def listed(bus: Bus, subjects: Subjects, wanted: ListKeys) -> Listed:
    """Give a page of keys. Raises `UnknownKey` where one was named and is not there."""
    return _built(Listed, await _ask(bus, subjects, "list", wanted), "listed")


async def change(bus: Bus, subjects: Subjects, wanted: ChangeKey) -> Grant:
    """Change a key, and give how it is now. Raises `UnknownKey` and `BadRequest`."""
    return _built(Grant, await _ask(bus, subjects, "change", wanted), "grant")


async def rotate(bus: Bus, subjects: Subjects, wanted: RotateKey) -> Issued:
    """Give a key another secret; sessions live as long as the old one. Raises `UnknownKey`."""
    return _built(Issued, await _ask(bus, subjects, "rotate", wanted), "issued")


async def revoke(bus: Bus, subjects: Subjects, which: str) -> Grant:
    """End a key and its sessions, for ever. Raises `UnknownKey`."""
    return _built(Grant, await _ask(bus, subjects, "revoke", WhichKey(which=which)), "grant")


async def refill(bus: Bus, subjects: Subjects, which: str) -> Grant:
    """Forget what is spent of all budgets of a key; what is set aside stays so. Raises `UnknownKey`."""
    return _built(Grant, await _ask(bus, subjects, "refill", WhichKey(which=which)), "grant")


async def adopt(bus: Bus, subjects: Subjects, which: str) -> Adopted:
    """Give a key's user the conversations of its tenant that are nobody's: those from before there were keys. Raises `UnknownKey`
    and `BadRequest`."""
    return _built(Adopted, await _ask(bus, subjects, "adopt", WhichKey(which=which)), "adopted")


async def _ask(bus: Bus, subjects: Subjects, verb: str, asked: object | None) -> dict[str, Any]:
    wire = {} if asked is None else codec.plain(asked)
    return await exchange(bus, subjects.keys(verb), wire, timeout_s=ASK_S, absent=NO_LEDGER)


def _built(cls: type[T], answer: dict[str, Any], name: str) -> T:
    part = answer.get(name)
    if not isinstance(part, dict):
        raise GarbledReply(f"the ledger's answer has no {name}: it may be of another version")
    try:
        return codec.build(cls, part)
    except BadRequest as error:
        # Its words may quote a secret, so it is neither told nor chained.
        raise GarbledReply(
            f"the {name} that the ledger gave can't be read ({error.details.get('param')}): it may be of another version"
        ) from None

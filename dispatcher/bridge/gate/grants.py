"""What keys are for, as the ledger says it, remembered for a while; what has changed is asked for anew."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from common import key_client
from common.bus import Bus, Delivery
from common.clock import Clock
from common.errors import BusError, BusTimeout, LedgerUnavailable, Unauthorized
from common.keys import Grant, Presented
from common.logs import get_logger
from common.subjects import Subjects

log = get_logger("gate")

REMEMBER_S = 30.0
"""A change is told at once; this is for one that was not heard."""

LAST_S = 900.0
"""So long a key that was good stays so while no ledger can be asked."""

REFUSE_S = 5.0
"""Who shows a wrong key again and again asks the ledger so seldom."""

MOST = 10_000


@dataclass(slots=True)
class _Known:
    """What was said of a key: what it is for, or that it is none. `keys` are those on which that hangs: of a session, its own and
    its parent's."""

    keys: frozenset[str]
    grant: Grant | None
    why: Unauthorized | None
    at_s: float


class Grants:
    """Asks the ledger. Open it with `remembering`."""

    def __init__(self, bus: Bus, subjects: Subjects, clock: Clock) -> None:
        self._bus = bus
        self._subjects = subjects
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self.in_use: bool | None = None
        """Whether there is any key; None while nobody has said."""

    @asynccontextmanager
    async def remembering(self) -> AsyncIterator[None]:
        """Hear of changes, for the life of the context."""
        changes = await self._bus.subscribe(self._subjects.key_event("*"), self._changed)
        try:
            yield
        finally:
            await changes.unsubscribe()

    async def find_out(self) -> None:
        """Ask whether there is any key. Raises `LedgerUnavailable`, `BusTimeout` and `BusDisconnected`."""
        self.in_use = await key_client.state(self._bus, self._subjects) > 0

    async def grant(self, shown: Presented) -> Grant:
        """Give what a key is for. Raises `Unauthorized`, and `LedgerUnavailable` for one that is not remembered while no ledger
        answers."""
        now_s = self._clock.monotonic()
        known = self._known.get(shown.key_digest)
        if known is None or now_s - known.at_s > (REMEMBER_S if known.grant is not None else REFUSE_S):
            known = await self._ask(shown, known, now_s)
        if known.why is not None or known.grant is None:
            raise Unauthorized(known.why.message if known.why else None)
        ends = known.grant.expires_unix_s
        if ends is not None and ends <= self._clock.unix_s():
            raise Unauthorized(f"the key {known.grant.name!r} has expired: `drover keys change` gives it longer")
        return known.grant

    async def _ask(self, shown: Presented, known: _Known | None, now_s: float) -> _Known:
        try:
            grant = await key_client.check(self._bus, self._subjects, shown)
        except Unauthorized as error:
            fresh = _Known(frozenset({shown.id}), None, error, now_s)
        except (LedgerUnavailable, BusTimeout, BusError) as error:
            if known is None or known.grant is None or now_s - known.at_s > LAST_S:
                raise
            log.warning("gate.unasked", key=shown.id, error=error.code)
            return known
        else:
            self.in_use = True
            fresh = _Known(frozenset({shown.id, grant.key}), grant, None, now_s)
        self._known[shown.key_digest] = fresh
        self._known.move_to_end(shown.key_digest)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return fresh

    def _changed(self, delivery: Delivery) -> None:
        key = self._subjects.tokens(delivery.subject)[-1]
        for digest in [digest for digest, one in self._known.items() if key in one.keys or one.grant is None]:
            del self._known[digest]
        self.in_use = None if self.in_use is None else True

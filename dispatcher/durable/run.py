"""One durable job in the house, as values: what was pulled, whose it is, and how far it has come; it does nothing."""

from __future__ import annotations

from dataclasses import dataclass

from common.bus.streams import Kept, Pulled
from common.durable import RETRY_HEADER
from dispatcher.durable.answer import HeldAnswer
from dispatcher.durable.claims import Claim, claim_key
from dispatcher.durable.notes import Notes
from dispatcher.durable.reading import Origin


@dataclass(slots=True, eq=False)
class DurableRun:
    """One durable job in the house."""

    pulled: Pulled
    origin: Origin
    job: str
    notes: Notes
    claim: Claim | None = None
    answer: HeldAnswer | None = None
    cancelled: bool = False
    lost: bool = False
    seated: bool = False
    tries: int = 1
    """Number of this try: of those before, only such count as reached a device."""

    @property
    def kept(self) -> Kept:
        return self.pulled.kept

    @property
    def reached(self) -> bool:
        """A device got it in this try."""
        return self.answer is not None and self.answer.reached_s is not None

    @property
    def key(self) -> str:
        return claim_key(self.origin.tenant, self.job)

    @property
    def retry(self) -> str:
        return self.kept.headers.get(RETRY_HEADER, "")

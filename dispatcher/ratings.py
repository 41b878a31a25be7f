"""Has the ledger keep what is said of answers on the bus alone; what is learned from it is not known here."""

from __future__ import annotations

from typing import Any

from common import codec, ledger
from common.bus import Bus
from common.errors import FleetError, NoResponders, UnknownJob
from common.ratings import Rating
from common.subjects import Subjects
from common.votes import RECORD_S, Thumb, Vote

KEEP_S = RECORD_S + 1.0
"""Whoever rates by the client's library waits a little longer."""

NO_LEDGER = "no ledger answers"
NO_RECORD = "the ledger has no record of it yet: say it again"


async def kept(bus: Bus, subjects: Subjects, told: dict[str, Any], rating: Rating) -> dict[str, Any]:
    """Have a word kept as nobody's in particular, and add to what is told of it whether it is; said again it replaces the one
    before."""
    why_not = await _why_not(bus, subjects, _word(str(told["job"]), str(told["tenant"]), rating))
    there = not why_not and not rating.withdrawn
    return {**told, "kept": there} | ({"why_not_kept": why_not} if why_not else {})


def _word(job: str, tenant: str, rating: Rating) -> Thumb | Vote:
    if rating.over:
        return Vote(tenant=tenant, jobs=(job, *rating.over), winner=job, wait_s=RECORD_S)
    return Thumb(tenant=tenant, job=job, score=None if rating.withdrawn else rating.reward, wait_s=RECORD_S)


async def _why_not(bus: Bus, subjects: Subjects, word: Thumb | Vote) -> str:
    subject = subjects.ledger("vote" if isinstance(word, Vote) else "thumb")
    try:
        await ledger.exchange(bus, subject, codec.plain(word), timeout_s=KEEP_S)
    except NoResponders:
        return NO_LEDGER
    except UnknownJob:
        return NO_RECORD
    except FleetError as error:
        return error.message
    return ""

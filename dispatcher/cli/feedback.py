"""`drover feedback`: says how an answer was; what follows from it is not known here."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from common import codec, ledger
from common.bus import Bus
from common.errors import BadRequest, FleetError, NoResponders, UnknownJob
from common.ratings import read_rating
from common.subjects import Subjects
from common.votes import RECORD_S, Thumb
from dispatcher.cli import running
from dispatcher.cli.connect import open_bus, producer, shell_settings

WORD = "shell"
"""By this name a word from a shell replaces the one before."""

THUMBS = frozenset({"up", "down"})


def said(rating: str, reason: str | None) -> dict[str, Any]:
    """Give what the command line says as the fleet hears it. Raises `BadRequest` for what is neither a thumb nor a score."""
    words: dict[str, Any] = {"rating": rating} if rating in THUMBS else {"score": _score(rating)}
    return words if reason is None else {**words, "reason": reason}


async def feedback(job: str, words: dict[str, Any], *, tenant: str | None = None) -> int:
    """Say it to who learns from it and to who keeps it, and print what becomes of it. Raises the errors of `Drover.rate`: of a job
    that no dispatcher knows any more where the ledger does not either."""
    settings = shell_settings()
    forgotten: UnknownJob | None = None
    thumb = Thumb(tenant=tenant or settings.bridge.tenant, job=job, score=read_rating(words).reward)
    async with open_bus(settings) as bus, producer(bus, settings, tenant=tenant) as drover:
        try:
            # It is kept below, also of a job that is forgotten.
            told = await drover.rate(job, {**words, "word": WORD, "keep": False})
            thumb = replace(thumb, wait_s=RECORD_S)  # it was answered lately: its record may be on its way
        except UnknownJob as error:
            told, forgotten = {"counted": False, "why": "no dispatcher knows it any more"}, error
        why_not = await _kept(bus, Subjects(settings.bus.prefix), thumb)
    if forgotten is not None and why_not:
        raise forgotten
    if why_not:
        running.say(f"job {job}: the ledger does not keep it: {why_not}")
    if told["counted"]:
        sys.stdout.write(f"{job} rated {words.get('rating', words.get('score'))}\n")
    else:
        running.say(f"job {job}: nothing is learned from it: {told.get('why') or _why(told)}")
    return 0


async def _kept(bus: Bus, subjects: Subjects, thumb: Thumb) -> str:
    """Have the ledger keep it, as nobody's in particular; gives why it does not, and nothing where it does."""
    try:
        await ledger.exchange(bus, subjects.ledger("thumb"), codec.plain(thumb), timeout_s=ledger.ASK_S)
    except NoResponders:
        return "none answers"
    except UnknownJob:
        return "it has no record of it yet: say it again"
    except FleetError as error:
        return error.message
    return ""


def _why(told: dict[str, Any]) -> str:
    return "feedback is off (DROVER_FEEDBACK)" if told.get("mode") == "off" else "it was rated before"


def _score(rating: str) -> float:
    try:
        score = float(rating)
    except ValueError:
        score = -1.0
    if not 0.0 <= score <= 1.0:
        raise BadRequest(f"{rating[:40]!r} is no rating: say up, down, or a score from 0 to 1", param="rating")
    return score

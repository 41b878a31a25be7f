"""What a caller says of answers, told to who learns from it and to who keeps it; it knows no path, and no body.

Routing learns from one word on a job. Words have names, so that who says another, or takes it back, changes its own and nobody
else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from common import codec, ledger
from common.codec import digest
from common.errors import BusTimeout, FleetError, LedgerUnavailable, NoResponders, UnknownJob
from common.ratings import LOST, TIED, WON, Rating
from common.subjects import is_token
from common.votes import RECORD_S, Thumb, Vote
from dispatcher.bridge.callers import Caller, first_known
from dispatcher.bridge.wiring import Bridge

Told = dict[str, Any]

NO_LEDGER = f"no ledger answers, which keeps what is said of answers: {ledger.WAY_OUT}"
UNKEPT = {"keep": False}
"""What dispatchers are told besides: the word is its user's, as whose the ledger is asked here to keep it."""

THUMB = "thumb"
WORD_CHARS = 16

FORGOTTEN = "no dispatcher knows it any more"
NO_RECORD = "the ledger has no record of it yet: say it again"
_AWAY = (LedgerUnavailable, BusTimeout)


async def rate(bridge: Bridge, caller: Caller, job: str, said: Mapping[str, Any], rating: Rating) -> Told:
    """Say how an answer was. Raises `UnknownJob` where neither a dispatcher nor the ledger knows the job.

    It is kept first: a job whose record is there is one that its dispatcher remembers, however short ago its answer came."""
    ids = caller.jobs_to_change(job)
    named, unkept = ids[0], None
    try:
        named = await first_known(ids, partial(_thumb, bridge, caller, rating.reward))
    except (UnknownJob, *_AWAY) as error:
        unkept = error
    learned = {**said, **UNKEPT, "word": THUMB + caller.mark}
    try:
        told = await first_known(ids, partial(bridge.drover.rate, said=learned, tenant=caller.tenant))
    except UnknownJob as error:
        if unkept is not None:
            raise error from unkept
        told = {"job": named, "tenant": caller.tenant, "counted": False, "why": FORGOTTEN}
    if unkept is None:
        return {**told, "kept": True}
    return {**told, "kept": False, "why_not_kept": NO_RECORD if isinstance(unkept, UnknownJob) else unkept.message}


async def take_back(bridge: Bridge, caller: Caller, job: str) -> Told:
    """Forget a thumb, and have routing unlearn it. Raises `LedgerUnavailable`."""
    ids = [one for one in caller.jobs_to_change(job) if is_token(one)]
    for one in ids:
        await _thumb(bridge, caller, None, one)
    told: Told = {"job": job, "tenant": caller.tenant, "counted": False, "unlearned": False, "kept": False}
    said = {"withdrawn": True, **UNKEPT, "word": THUMB + caller.mark}
    try:
        return (
            {**told, **await first_known(ids, partial(bridge.drover.rate, said=said, tenant=caller.tenant))}
            if ids
            else told
        )
    except UnknownJob:
        return {**told, "why": FORGOTTEN}
    except FleetError as error:
        return {**told, "why": error.message}


async def vote(bridge: Bridge, caller: Caller, jobs: Sequence[str], winner: str | None) -> Told:
    """Keep which of a caller's own answers it prefers, then have routing learn from it. Raises what the ledger refuses it with, and
    `LedgerUnavailable`: what is not kept is not learned from either."""
    ids = [_known(caller.job(job)) for job in jobs]
    best = None if winner is None else _known(caller.job(winner))
    said = Vote(tenant=caller.tenant, voter=_voter(caller), jobs=tuple(ids), winner=best)
    await _keep(bridge, "vote", said, jobs=ids)
    async with asyncio.TaskGroup() as tasks:
        word = f"vote-{digest({'jobs': sorted(ids)}, WORD_CHARS)}{caller.mark}"
        learning = [
            tasks.create_task(_learned(bridge, caller, job, {**score(job, ids, best), "word": word})) for job in ids
        ]
    told: Told = {"jobs": ids, "winner": best, "kept": True, "counted": sum(one.result() == "" for one in learning)}
    why = sorted({one.result() for one in learning if one.result()})
    return told | ({"why": "; ".join(why)} if why else {})


def score(job: str, jobs: Sequence[str], winner: str | None) -> Told:
    """Give what routing hears of one answer of a vote; of the best one also what it was preferred to."""
    if winner is None:
        return {"score": TIED, "source": "vote"}
    if job != winner:
        return {"score": LOST, "source": "vote"}
    return {"score": WON, "source": "vote", "over": [one for one in jobs if one != winner]}


async def _learned(bridge: Bridge, caller: Caller, job: str, said: Told) -> str:
    """Tell a dispatcher; gives why nothing is learned from it, and nothing where it is."""
    try:
        told = await bridge.drover.rate(job, {**said, **UNKEPT}, tenant=caller.tenant)
    except UnknownJob:
        return FORGOTTEN
    except FleetError as error:
        return error.message
    return "" if told["counted"] else str(told.get("why", ""))


async def _thumb(bridge: Bridge, caller: Caller, reward: float | None, job: str) -> str:
    said = Thumb(tenant=caller.tenant, voter=_voter(caller), job=_known(job), score=reward)
    await _keep(bridge, "thumb", said, jobs=(job,))
    return job


async def _keep(bridge: Bridge, verb: str, said: Thumb | Vote, *, jobs: Sequence[str]) -> None:
    """Have the ledger keep a word. The records of jobs that were answered just now are on their way: it waits for those, and not
    for ids that nobody knows."""
    try:
        await _ask(bridge, verb, said)
    except UnknownJob:
        async with asyncio.TaskGroup() as tasks:
            remembered = [tasks.create_task(_remembered(bridge, said.tenant, job)) for job in jobs]
        if not any(one.result() for one in remembered):
            raise
        await _ask(bridge, verb, replace(said, wait_s=RECORD_S))


async def _remembered(bridge: Bridge, tenant: str, job: str) -> bool:
    """Ask whether a dispatcher has had a job lately."""
    try:
        await bridge.drover.why(job, tenant=tenant)
    except FleetError:
        return False
    return True


async def _ask(bridge: Bridge, verb: str, said: Thumb | Vote) -> None:
    wire = codec.plain(said)
    try:
        await ledger.exchange(bridge.bus, bridge.subjects.ledger(verb), wire, timeout_s=ledger.ASK_S)
    except NoResponders as error:
        raise LedgerUnavailable(NO_LEDGER) from error


def _voter(caller: Caller) -> str:
    return caller.mark.removeprefix("-")


def _known(job: str) -> str:
    """Refuse what can't be the id of any job."""
    if not is_token(job):
        raise UnknownJob(f"there is no job {job[:80]!r}: ids are 1 to 64 of A-Z a-z 0-9 _ -", param="jobs")
    return job

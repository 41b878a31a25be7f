"""Keeps what is said of answers, each word once, and gives it again; it knows no bus, and adds nothing up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from common.codec import digest
from common.errors import BadRequest, NotAllowed, UnknownJob
from common.ratings import LOST, TIED, WON
from common.votes import MOST_COUNTED, MOST_VOTES_OF_JOB, Contest, Kept, Place, Thumb, Vote, VotesQuery
from dispatcher.ledger.database import Database
from dispatcher.ledger.queries import within
from dispatcher.ledger.rows import Row
from dispatcher.ledger.store import insert
from dispatcher.ledger.tables import feedback, jobs
from dispatcher.ledger.votes.tally import Said

ALONE = ""
"""Stands for the comparison of a thumb."""

GROUP_CHARS = 32
_OF_JOB = ("job", "state", "device", "model", "strategy", "received_unix_s")
_SCORES = {Place.WON: WON, Place.TIED: TIED, Place.LOST: LOST}


async def keep_thumb(database: Database, asked: Thumb, *, now_unix_s: float) -> Kept:
    """Keep a score in the place of what the same voter said of the job before; without one, forget that. Raises `UnknownJob`."""
    async with database.writing() as connection:
        before = *_words_of(asked, ALONE), feedback.c.job == asked.job
        if asked.score is None:
            await connection.execute(delete(feedback).where(*before))
            return Kept(kept=False)
        job = (await _jobs(connection, asked.tenant, (asked.job,)))[asked.job]
        await connection.execute(delete(feedback).where(*before))
        row = _row(asked, ALONE, job, None, asked.score, at_unix_s=now_unix_s)
        await insert(connection, feedback, [row])
    return Kept(kept=True)


async def keep_vote(database: Database, asked: Vote, *, now_unix_s: float) -> Kept:
    """Keep a vote in the place of what the same voter said of the same jobs before. Raises `BadRequest` for what is none,
    `UnknownJob` for a job that is not over, or that nobody knows, and `NotAllowed` where one is in as many votes as are kept."""
    _require_vote(asked)
    group = digest({"jobs": sorted(asked.jobs)}, GROUP_CHARS)
    async with database.writing() as connection:
        found = await _jobs(connection, asked.tenant, asked.jobs)
        if asked.winner is not None and found[asked.winner]["state"] != "done":
            raise BadRequest(
                f"job {asked.winner} has no answer that could be the best: it {found[asked.winner]['state']}"
            )
        await connection.execute(delete(feedback).where(*_words_of(asked, group)))
        await _require_few(connection, asked)
        places = {name: _place(name, asked.winner) for name in asked.jobs}
        # All go together, with the oldest of the jobs.
        oldest_unix_s = min(job["received_unix_s"] for job in found.values())
        rows = [
            _row(asked, group, found[name], place, _SCORES[place], at_unix_s=now_unix_s)
            | {"received_unix_s": oldest_unix_s}
            for name, place in places.items()
        ]
        await insert(connection, feedback, rows)
    return Kept(kept=True)


async def said(database: Database, query: VotesQuery) -> tuple[list[Said], bool]:
    """Give what was said, the newest first, and whether there is more than is counted."""
    wanted = [feedback.c.tenant == query.tenant, *within(feedback.c.at_unix_s, query)]
    if query.voter is not None:
        wanted.append(feedback.c.voter == query.voter)
    key = {Contest.DEVICE: feedback.c.device, Contest.MODEL: feedback.c.model, Contest.STRATEGY: feedback.c.strategy}
    ask = (
        select(feedback.c.voter, feedback.c.compared, feedback.c.place, feedback.c.score, key[query.by].label("key"))
        .where(*wanted)
        .order_by(feedback.c.at_unix_s.desc(), feedback.c.voter, feedback.c.compared, feedback.c.job)
        .limit(MOST_COUNTED + 1)
    )
    async with database.reading() as connection:
        found = (await connection.execute(ask)).all()
    more = len(found) > MOST_COUNTED
    return [
        Said((voter, compared), contender, None if place is None else Place(place), score)
        for voter, compared, place, score, contender in found[:MOST_COUNTED]
    ], more


async def forget(database: Database, tenant: str, voter: str) -> int:
    """Forget all that one voter has said, and give how many words those were."""
    async with database.writing() as connection:
        whose = feedback.c.tenant == tenant, feedback.c.voter == voter
        return (await connection.execute(delete(feedback).where(*whose))).rowcount


def _require_vote(asked: Vote) -> None:
    if len(set(asked.jobs)) != len(asked.jobs):
        raise BadRequest("jobs names one twice: a vote is among different answers", param="jobs")
    if asked.winner is not None and asked.winner not in asked.jobs:
        raise BadRequest(
            f"winner {asked.winner} is none of the jobs: name one of them, or null for a tie", param="winner"
        )


async def _require_few(connection: AsyncConnection, asked: Vote) -> None:
    """Raise `NotAllowed` where a job is in as many votes already as are kept; of several at once each may be too late to see."""
    mine = feedback.c.tenant == asked.tenant, feedback.c.voter == asked.voter, feedback.c.compared != ALONE
    counted = select(feedback.c.job, func.count().label("votes")).where(*mine, feedback.c.job.in_(asked.jobs))
    for name, votes in (await connection.execute(counted.group_by(feedback.c.job))).all():
        if votes >= MOST_VOTES_OF_JOB:
            raise NotAllowed(f"job {name} is in {votes} votes already, as many as are kept: compare new answers")


async def _jobs(connection: AsyncConnection, tenant: str, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Give the newest record of each job. Raises `UnknownJob` for one that has none."""
    ask = select(*(jobs.c[name] for name in _OF_JOB)).where(jobs.c.tenant == tenant, jobs.c.job.in_(names))
    found: dict[str, Mapping[str, Any]] = {
        row["job"]: dict(row) for row in (await connection.execute(ask.order_by(jobs.c.record))).mappings()
    }
    if unknown := [name for name in names if name not in found]:
        raise UnknownJob(
            f"the ledger knows no job {unknown[0]!r} that is over: wait for its answer, or the id is wrong",
            param="jobs",
        )
    return found


def _words_of(asked: Thumb | Vote, group: str) -> tuple[ColumnElement[bool], ...]:
    return (
        feedback.c.tenant == asked.tenant,
        feedback.c.voter == asked.voter,
        feedback.c.compared == group,
    )


def _place(job: str, winner: str | None) -> Place:
    if winner is None:
        return Place.TIED
    return Place.WON if job == winner else Place.LOST


def _row(
    asked: Thumb | Vote, group: str, job: Mapping[str, Any], place: Place | None, score: float, *, at_unix_s: float
) -> Row:
    return {
        "tenant": asked.tenant,
        "voter": asked.voter,
        "compared": group,
        "job": job["job"],
        "place": None if place is None else str(place),
        "score": score,
        "device": job["device"],
        "model": job["model"],
        "strategy": job["strategy"],
        "received_unix_s": job["received_unix_s"],
        "at_unix_s": at_unix_s,
    }

"""What people say of answers, in both databases: kept once, changed, taken back, forgotten; and over the bus."""

from __future__ import annotations

import pytest

from common.bus import Bus
from common.bus.memory import MemoryBroker, connect_memory
from common.bus.nats import NatsOptions, connect_nats
from common.errors import BadRequest, NotAllowed, PayloadTooLarge, UnknownJob
from common.ledger import exchange
from common.subjects import Subjects
from common.votes import MOST_VOTES_OF_JOB, Contest, Place, Thumb, Vote, VotesQuery, mark_of
from dispatcher.ledger.database import Database
from dispatcher.ledger.desk import Desk
from dispatcher.ledger.retention import prune
from dispatcher.ledger.store import Store
from dispatcher.ledger.tables import feedback
from dispatcher.ledger.votes.keeping import forget, keep_thumb, keep_vote, said
from dispatcher.ledger.votes.tally import Said
from tests.integration.ledger.builders import NOON, came, job
from tests.nats_server import nats_server

DAY_S = 86_400.0
ANN = mark_of("default", "ann")
NAMES = ("job-1", "job-2", "job-3")
DEVICES = ("orin", "nano", None)


@pytest.fixture
async def played(database: Database) -> Database:
    """Three jobs that are over; the last was answered by no device."""
    there = [job(number, device=device, received_unix_s=NOON + number) for number, device in enumerate(DEVICES, 1)]
    await Store(database).write(came(*there))
    return database


def vote(*jobs: str, winner: str | None = None, voter: str = ANN) -> Vote:
    return Vote(tenant="default", voter=voter, jobs=jobs, winner=winner)


def thumb(name: str, score: float | None, voter: str = ANN) -> Thumb:
    return Thumb(tenant="default", voter=voter, job=name, score=score)


async def kept(database: Database, *, voter: str | None = ANN, by: Contest = Contest.DEVICE) -> list[Said]:
    found, more = await said(database, VotesQuery(tenant="default", voter=voter, by=by))
    assert not more
    return sorted(found, key=lambda one: (one.group, one.score))


async def test_a_vote_is_kept_with_who_answered(played: Database) -> None:
    """By device, by model and by strategy, and for nobody but its voter and its tenant."""
    await keep_vote(played, vote("job-1", "job-2", winner="job-2"), now_unix_s=NOON)
    by_device = await kept(played)

    assert [("orin", Place.LOST, 0.0), ("nano", Place.WON, 1.0)] == [
        (one.contender, one.place, one.score) for one in by_device
    ]
    assert {"llama3.2:1b"} == {one.contender for one in await kept(played, by=Contest.MODEL)}
    assert {"hybrid"} == {one.contender for one in await kept(played, by=Contest.STRATEGY)}
    assert [] == await kept(played, voter=mark_of("default", "bob"))
    assert ([], False) == await said(played, VotesQuery(tenant="other"))
    assert ([], False) == await said(played, VotesQuery(tenant="default", since_unix_s=NOON + 1))


async def test_a_word_said_again_replaces_the_one_before(played: Database) -> None:
    """A vote of the same jobs in any order, and a thumb; the same word twice is there once."""
    for winner in ("job-1", "job-1", None):
        await keep_vote(played, vote("job-1", "job-2", winner=winner), now_unix_s=NOON)
    await keep_vote(played, vote("job-2", "job-1", winner="job-2"), now_unix_s=NOON)
    for score in (1.0, 0.0):
        await keep_thumb(played, thumb("job-1", score), now_unix_s=NOON)
    found = await kept(played)

    assert [(None, 0.0), (Place.LOST, 0.0), (Place.WON, 1.0)] == [(one.place, one.score) for one in found]


async def test_a_thumb_is_taken_back(played: Database) -> None:
    """Also one that was never given; the vote of the same job stays."""
    await keep_vote(played, vote("job-1", "job-2"), now_unix_s=NOON)
    await keep_thumb(played, thumb("job-1", 1.0), now_unix_s=NOON)
    told = [await keep_thumb(played, thumb("job-1", None), now_unix_s=NOON) for _ in range(2)]

    assert [False, False] == [one.kept for one in told]
    assert [(Place.TIED, 0.5)] * 2 == [(one.place, one.score) for one in await kept(played)]


@pytest.mark.parametrize(
    ("asked", "error", "why"),
    [
        (vote("job-1", "job-1"), BadRequest, "names one twice"),
        (vote("job-1", "job-2", winner="job-3"), BadRequest, "winner job-3 is none of the jobs"),
        (vote("job-1", "job-9"), UnknownJob, "no job 'job-9' that is over"),
        (vote("job-1", "job-2", winner="job-4"), BadRequest, "none of the jobs"),
        (vote("job-1", "job-4", winner="job-4"), BadRequest, "no answer that could be the best"),
    ],
)
async def test_what_is_no_vote_is_refused(played: Database, asked: Vote, error: type[Exception], why: str) -> None:
    """By name, and nothing is kept."""
    await Store(played).write(came(job(4, state="failed"), first_seq=9))
    with pytest.raises(error, match=why):
        await keep_vote(played, asked, now_unix_s=NOON)

    assert [] == await kept(played)


async def test_another_tenants_job_is_not_there(played: Database) -> None:
    """Neither for a vote nor for a thumb."""
    with pytest.raises(UnknownJob):
        await keep_thumb(played, Thumb(tenant="other", job="job-1", score=1.0), now_unix_s=NOON)
    with pytest.raises(UnknownJob):
        await keep_vote(played, Vote(tenant="other", jobs=("job-1", "job-2")), now_unix_s=NOON)


async def test_a_job_is_in_so_many_votes(played: Database) -> None:
    """The next is refused, but to change one that is there; another voter has its own."""
    others = [f"job-{number}" for number in range(10, 10 + MOST_VOTES_OF_JOB)]
    await Store(played).write(came(*(job(number) for number in range(10, 10 + len(others))), first_seq=20))
    for other in others:
        await keep_vote(played, vote("job-1", other), now_unix_s=NOON)
    with pytest.raises(NotAllowed, match="job-1 is in 16 votes"):
        await keep_vote(played, vote("job-1", "job-2"), now_unix_s=NOON)
    await keep_vote(played, vote("job-1", others[0], winner="job-1"), now_unix_s=NOON)
    await keep_vote(played, vote("job-1", "job-2", voter="bob"), now_unix_s=NOON)

    assert 2 * MOST_VOTES_OF_JOB == len(await kept(played))


async def test_words_go_with_the_oldest_of_their_jobs(database: Database) -> None:
    """A vote goes whole: half of one would be a win over nobody."""
    await Store(database).write(came(job(1, received_unix_s=NOON - 9 * DAY_S), job(2), job(3)))
    await keep_vote(database, vote("job-1", "job-2"), now_unix_s=NOON)
    await keep_vote(database, vote("job-2", "job-3"), now_unix_s=NOON)
    await keep_thumb(database, thumb("job-1", 1.0), now_unix_s=NOON)
    await prune(database, now_unix_s=NOON + 1, days=7, power_days=14)

    assert [Place.TIED, Place.TIED] == [one.place for one in await kept(database)]


async def test_what_one_voter_said_is_forgotten(played: Database) -> None:
    """And nobody else's words are."""
    for voter in (ANN, "bob"):
        await keep_vote(played, vote("job-1", "job-2", voter=voter), now_unix_s=NOON)

    assert 2 == await forget(played, "default", ANN)
    assert {"bob"} == {one.group[0] for one in await kept(played, voter=None)}


async def asked(bus: Bus, verb: str, wire: dict[str, object]) -> dict[str, object]:
    return await exchange(bus, Subjects().ledger(verb), wire, timeout_s=20.0)


async def test_the_desk_takes_and_sums_it(played: Database) -> None:
    """As the bridge asks it; what is wrong is named, and holds up nothing."""
    said_of = {"tenant": "default", "voter": ANN}
    async with (
        nats_server() as server,
        connect_nats(NatsOptions(urls=(server.url,))) as bus,
        Desk(bus, Subjects(), played).open(),
    ):
        await bus.flush()
        one = await asked(bus, "vote", {**said_of, "jobs": ["job-1", "job-2"], "winner": "job-1"})
        two = await asked(bus, "thumb", {**said_of, "job": "job-3", "score": 1.0})
        for verb, wire in (
            ("vote", {**said_of, "jobs": ["job-1"]}),
            ("vote", {**said_of, "jobs": [f"job-{number}" for number in range(9)]}),
            ("thumb", {**said_of, "job": "job-1", "score": 1.5}),
            ("thumb", {**said_of, "score": 1.0}),
            ("votes", {"tenant": "default", "by": "moon"}),
        ):
            with pytest.raises(BadRequest):
                await asked(bus, verb, wire)
        sums = await asked(bus, "votes", {"tenant": "default", "by": "device"})

    assert ({"kept": True}, {"kept": True}) == (one, two)
    assert ("device", 1, 1, False) == (sums["by"], sums["votes"], sums["thumbs"], sums["more"])
    assert [{"one": "nano", "other": "orin", "wins": 0, "losses": 1, "ties": 0}] == sums["pairs"]


async def test_sums_that_the_bus_does_not_carry_are_refused(database: Database) -> None:
    """By name, and at once: who asks would else wait in vain."""
    long = [job(number, model=f"{number}-{'m' * 190}") for number in range(1, 9)]
    await Store(database).write(came(*long))
    await keep_vote(database, vote(*(f"job-{number}" for number in range(1, 9)), winner="job-1"), now_unix_s=NOON)
    async with (
        connect_memory(MemoryBroker(max_payload=18_000)) as bus,
        Desk(bus, Subjects(), database).open(),
    ):
        with pytest.raises(PayloadTooLarge, match="ask for a shorter span"):
            await asked(bus, "votes", {"tenant": "default", "by": "model"})


def test_the_table_holds_no_words() -> None:
    """What is kept of somebody is whose it is, which job, and how it was."""
    assert {"tenant", "voter", "compared", "job", "place", "score"} | {
        "device", "model", "strategy", "received_unix_s", "at_unix_s",
    } == set(feedback.c.keys())  # fmt: skip

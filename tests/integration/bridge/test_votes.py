"""Thumbs and votes over HTTP, with a whole fleet behind them: what is kept of them, what is learned, and whose they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from common import codec
from common.keys import Scope
from tests.commands import drover
from tests.integration.bridge.estate import HANG_S, SUBJECTS, Estate, bearer, estate
from tests.integration.ledger.ledgers import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRATEGIES = ("hybrid", "least_loaded")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Estate]:
    async with estate(tmp_path_factory.mktemp("votes")) as here:
        yield here


@pytest_asyncio.fixture(loop_scope="module")
async def ann(house: Estate) -> str:
    """A key of a user who has said nothing yet."""
    return await house.key(user=f"ann{len(house.made)}", scopes=(Scope.CHAT,))


async def ask(house: Estate, key: str, method: str, path: str, body: Any = None) -> httpx.Response:
    return await house.http.request(method, f"/api/v1/{path}", json=body, headers=bearer(key))


async def answered_now(house: Estate, key: str, prompt: str, strategies: Sequence[str] = STRATEGIES) -> list[str]:
    """Answers as below, with nothing waited for behind them."""
    jobs = []
    for strategy in strategies:
        told = await ask(house, key, "POST", "chat", {"prompt": prompt, "strategy": strategy})
        jobs.append(told.json()["job"])
    return jobs


async def answers(house: Estate, key: str, strategies: Sequence[str] = STRATEGIES) -> list[str]:
    """Answers to the same question, each chosen otherwise, that the ledger has heard of; their ids."""
    jobs = await answered_now(house, key, "hi", strategies)
    for job in jobs:

        async def known(job: str = job) -> bool:
            return (await ask(house, key, "GET", f"jobs/{job}")).status_code == 200

        await until(known)
    return jobs


async def sums(house: Estate, key: str, by: str = "strategy", **more: str) -> dict[str, Any]:
    asked = httpx.QueryParams({"by": by, **more})
    return dict((await ask(house, key, "GET", f"votes?{asked}")).json())


async def test_a_vote_counts_and_is_learned_from(house: Estate, ann: str) -> None:
    """By strategy one won; by device, of which there is one, nobody did; said again otherwise it is changed, and learned anew."""
    one, two = await answers(house, ann)
    first = (await ask(house, ann, "POST", "votes", {"jobs": [one, two], "winner": two})).json()
    counted = await sums(house, ann)
    again = (await ask(house, ann, "POST", "votes", {"jobs": [two, one], "winner": None})).json()
    changed = await sums(house, ann)

    assert {"jobs": [one, two], "winner": two, "kept": True, "counted": 2} == first
    assert [("hybrid", 0, 1, 0.0), ("least_loaded", 1, 0, 1.0)] == [
        (one["key"], one["wins"], one["losses"], one["win_share"]) for one in counted["contenders"]
    ]
    assert [{"one": "hybrid", "other": "least_loaded", "wins": 0, "losses": 1, "ties": 0}] == counted["pairs"]
    assert {"jobs": [two, one], "winner": None, "kept": True, "counted": 2} == again
    assert [("hybrid", 1), ("least_loaded", 1)] == [(one["key"], one["ties"]) for one in changed["contenders"]]
    assert (0, []) == ((await sums(house, ann, "device"))["votes"], (await sums(house, ann, "device"))["contenders"])


async def test_a_thumb_is_kept_changed_and_taken_back(house: Estate, ann: str) -> None:
    """What is kept is the last one, and so is what routing has learned."""
    (job,) = await answers(house, ann, ["hybrid"])
    told, found = [], []
    for said in ({"rating": "up"}, {"score": 0.1}, {"rating": None}):
        told.append((await ask(house, ann, "POST", "feedback", {"job": job, **said})).json())
        found += [(one["up"], one["down"]) for one in (await sums(house, ann))["contenders"]]

    assert [(True, True), (True, True), (False, False)] == [(one["counted"], one["kept"]) for one in told]
    assert [(1, 0), (0, 1)] == found
    assert (True, False) == (told[2]["unlearned"], "why" in told[2])


async def test_what_is_taken_back_is_unlearned(house: Estate) -> None:
    """As routing itself tells it, of a tenant that has said nothing else; also what a vote had said before it was changed. A word
    of the vote is not the thumb's to take back."""
    tess = await house.key(tenant="taught", user="tess", scopes=(Scope.CHAT, Scope.ROUTE))
    question = {"model": "auto", "messages": [{"role": "user", "content": "what was learned?"}]}
    one, two = await answered_now(house, tess, "what will be taken back?")
    (three,) = await answered_now(house, tess, "and what will not?", ["hybrid"])
    for winner in (one, two):
        await ask(house, tess, "POST", "votes", {"jobs": [one, two], "winner": winner})
    await ask(house, tess, "POST", "feedback", {"job": three, "rating": "up"})
    back = [(await ask(house, tess, "POST", "feedback", {"job": job, "rating": None})).json() for job in (three, one)]

    async def unlearned() -> bool:
        told = (await ask(house, tess, "POST", "route/explain", question)).json()["feedback"]
        return (2, [2]) == (told["outcomes"], [kind["rated"] for kind in told["kinds"].values()])

    await until(unlearned)
    assert [(True, ""), (False, "nothing was learned from this word")] == [
        (told["unlearned"], told.get("why", "")) for told in back
    ]


async def test_what_is_said_in_the_moment_of_the_answer_is_kept(house: Estate, ann: str) -> None:
    """Its record is on its way still: ten votes and ten thumbs, each said as the answer ends."""
    told = []
    for number in range(10):
        one, two = await answered_now(house, ann, f"which of you is {number}?")
        told.append(await ask(house, ann, "POST", "votes", {"jobs": [one, two], "winner": two}))
        (job,) = await answered_now(house, ann, f"what is {number}?", ["hybrid"])
        told.append(await ask(house, ann, "POST", "feedback", {"job": job, "rating": "up"}))
    counted = await sums(house, ann)

    assert [200] * 20 == [one.status_code for one in told]
    assert {(True, 2), (True, True)} == {(one.json()["kept"], one.json()["counted"]) for one in told}
    assert (10, 10) == (counted["votes"], counted["thumbs"])


async def test_a_thumb_of_the_command_line_is_kept_too(house: Estate, ann: str, tmp_path: Path) -> None:
    """As nobody's in particular, so beside its user's own; and kept also where routing has heard of the job before."""
    (job,) = await answers(house, ann, ["hybrid"])
    seer, where = await house.key(scopes=(Scope.CHAT, Scope.FLEET)), house.fleet.nats.url
    before = await sums(house, seer)
    ends = [
        await drover("feedback", name, said, cwd=tmp_path, NATS_URL=where)
        for name, said in ((job, "up"), (job, "down"), ("never-was", "up"))
    ]
    after = await sums(house, seer)

    assert ([0, 0, 1], f"{job} rated up\n") == ([end.status for end in ends], ends[0].out), [end.err for end in ends]
    assert (1, before["thumbs"] + 1) == (
        sum(one["down"] for one in after["contenders"]) - sum(one["down"] for one in before["contenders"]),
        after["thumbs"],
    )
    assert 0 == (await sums(house, ann))["thumbs"]
    assert ([False, False, False], True) == (["keep" in end.err for end in ends], "never-was" in ends[2].err)


async def raw(house: Estate, job: str, tail: str = "", **said: Any) -> dict[str, Any]:
    """Say how an answer was as `nats req` does."""
    subject = f"{SUBJECTS.control(job, 'feedback')}{tail}"
    return codec.decode((await house.fleet.bus.request(subject, codec.encode(said), timeout_s=HANG_S)).data)


async def test_what_is_said_on_the_bus_alone_is_kept(house: Estate, ann: str) -> None:
    """As nobody's, in the moment of the answer, and the last word; with what the answer was preferred to it is a vote. A job that
    no dispatcher knows is no more known for it."""
    seer = await house.key(scopes=(Scope.CHAT, Scope.FLEET))
    before = await sums(house, seer)
    one, two = await answered_now(house, ann, "who is heard on the bus?")
    told = [
        await raw(house, one, rating="up"),
        await raw(house, one, rating="down"),
        await raw(house, two, ".default", score=0.75, source="judge"),
        await raw(house, two, score=1.0, source="vote", over=[one]),
    ]
    wrong = [await raw(house, two, score=1.0, over=[two]), await raw(house, "never-was", rating="up")]
    after = await sums(house, seer)

    assert [True, False, True, False] == [said["counted"] for said in told]
    assert [True] * 4 == [said["kept"] for said in told]
    assert (False, True) == (wrong[0]["kept"], "names one twice" in wrong[0]["why_not_kept"])
    assert "unknown_job" == wrong[1]["error"]["code"]
    assert (2, 1) == (after["thumbs"] - before["thumbs"], after["votes"] - before["votes"])
    assert 0 == (await sums(house, ann))["thumbs"]


async def test_a_word_of_the_bus_is_taken_back_by_its_name(house: Estate, ann: str) -> None:
    """Out of the ledger, and out of what was learned."""
    seer = await house.key(scopes=(Scope.CHAT, Scope.FLEET))
    before = await sums(house, seer)
    (job,) = await answered_now(house, ann, "what has a name?", ["hybrid"])
    told = [
        await raw(house, job, rating="up", word="ops"),
        await raw(house, job, score=0.2, word="ops"),
        await raw(house, job, withdrawn=True, word="ops"),
    ]

    assert [(True, True, None), (True, True, None), (False, False, True)] == [
        (said["counted"], said["kept"], said.get("unlearned")) for said in told
    ]
    assert before["thumbs"] == (await sums(house, seer))["thumbs"]


async def test_what_is_said_otherwise_is_kept_once(house: Estate, ann: str, tmp_path: Path) -> None:
    """By HTTP, whose words are their user's, and by the command line, whose word is the one of the bus."""
    seer, where = await house.key(scopes=(Scope.CHAT, Scope.FLEET)), house.fleet.nats.url
    before = await sums(house, seer)
    one, two = await answered_now(house, ann, "who is heard but once?")
    await ask(house, ann, "POST", "votes", {"jobs": [one, two], "winner": two})
    await ask(house, ann, "POST", "feedback", {"job": one, "rating": "up"})
    by_http = await sums(house, seer)
    await drover("feedback", one, "down", cwd=tmp_path, NATS_URL=where)
    await raw(house, one, rating="up")
    after = await sums(house, seer)

    assert (1, 1) == (by_http["votes"] - before["votes"], by_http["thumbs"] - before["thumbs"])
    assert (1, 2) == (after["votes"] - before["votes"], after["thumbs"] - before["thumbs"])


async def test_votes_are_their_users_and_a_fleet_reader_sees_the_tenants(house: Estate, ann: str) -> None:
    """Another user of the tenant sees none of it, and may not ask for another tenant's; who may see the fleet sees all of one, also
    where it may not vote."""
    jobs = await answers(house, ann)
    await ask(house, ann, "POST", "votes", {"jobs": jobs, "winner": jobs[0]})
    bob, seer = await house.key(user="bob", scopes=(Scope.CHAT,)), await house.key(scopes=(Scope.CHAT, Scope.FLEET))
    foreign = await ask(house, bob, "GET", "votes?tenant=acme")
    watcher, router = await house.key(scopes=(Scope.FLEET,)), await house.key(user="rob", scopes=(Scope.ROUTE,))

    assert (0, []) == ((await sums(house, bob))["votes"], (await sums(house, bob))["contenders"])
    assert (await sums(house, seer))["votes"] >= 1
    assert await sums(house, watcher) == await sums(house, seer)
    assert 0 == (await sums(house, router))["votes"]
    assert 403 == (await ask(house, watcher, "POST", "votes", {"jobs": jobs, "winner": jobs[0]})).status_code
    assert 0 == (await sums(house, seer, tenant="acme"))["votes"]
    assert (403, "not_allowed") == (foreign.status_code, foreign.json()["error"]["code"])
    assert 0 == (await sums(house, ann, until_unix_s="1000"))["votes"]


BAD = [
    ({}, 400, "jobs"),
    ({"jobs": ["a", "b"]}, 400, "winner"),
    ({"jobs": ["a"], "winner": None}, 400, "jobs"),
    ({"jobs": [str(number) for number in range(9)], "winner": None}, 400, "jobs"),
    ({"jobs": ["a", "a"], "winner": None}, 400, "names one twice"),
    ({"jobs": ["a", "b"], "winner": "c"}, 400, "none of the jobs"),
    ({"jobs": ["a", "b"], "winner": "a", "why": "x"}, 400, "why"),
    ({"jobs": ["a", 7], "winner": "a"}, 400, "jobs"),
    ({"jobs": ["never", "was"], "winner": None}, 404, "never"),
]


@pytest.mark.parametrize(("body", "status", "named"), BAD)
async def test_what_is_no_vote_is_refused(
    house: Estate, ann: str, body: dict[str, Any], status: int, named: str
) -> None:
    """By name, before anything is kept or learned."""
    told = await ask(house, ann, "POST", "votes", body)

    assert (status, True) == (told.status_code, named in told.json()["error"]["message"])
    assert 0 == (await sums(house, ann))["votes"]


@pytest.mark.parametrize(
    ("query", "named"), [("by=moon", "by"), ("since_unix_s=x", "since_unix_s"), ("voter=bob", "voter")]
)
async def test_a_wrong_question_is_named(house: Estate, ann: str, query: str, named: str) -> None:
    """There is no way to ask for another voter."""
    told = await ask(house, ann, "GET", f"votes?{query}")

    assert (400, True) == (told.status_code, named in told.json()["error"]["message"])


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"rating": None, "score": 1.0},
        {"rating": "up", "over": ["a"]},
        {"rating": "up", "keep": False},
        {"rating": "meh"},
    ],
)
async def test_a_rating_that_is_none_is_refused_at_the_door(house: Estate, ann: str, said: dict[str, Any]) -> None:
    """Whatever the job, which need not be known for that; but a score beside an absent thumb is one."""
    told = await ask(house, ann, "POST", "feedback", {"job": "never", **said})

    assert (404 if "score" in said else 400) == told.status_code

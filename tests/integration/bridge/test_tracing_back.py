"""Where a chat would go with other weights, and why a job went where it went when only the ledger knows it: over a whole fleet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.integration.bridge.estate import Estate, bearer, estate
from tests.integration.ledger.ledgers import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

HI = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Estate]:
    async with estate(tmp_path_factory.mktemp("back")) as here:
        yield here


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def key(house: Estate) -> str:
    return await house.key(user="ann")


async def ask(house: Estate, key: str, method: str, path: str, body: Any = None) -> httpx.Response:
    return await house.http.request(method, f"/api/v1/{path}", json=body, headers=bearer(key))


async def recorded(house: Estate, key: str, job: str) -> dict[str, Any]:
    """What is told of a job once the ledger knows it."""
    found = dict[str, Any]()

    async def known() -> bool:
        found.update((await ask(house, key, "GET", f"jobs/{job}")).json())
        return "record" in found

    await until(known)
    return found


async def test_weights_are_tried_where_nothing_is_run(house: Estate, key: str) -> None:
    """They are those of the sum, and of its parts; what holds stays as it is."""
    plain = (await ask(house, key, "POST", "route/explain", HI)).json()
    tried = (
        await ask(house, key, "POST", "route/explain", HI | {"weights": {"tokens": 1, "topic": 0, "health": 3}})
    ).json()
    option = tried["options"][0]
    again = (await ask(house, key, "POST", "route/explain", HI)).json()

    assert ({"tokens": 0.25, "topic": 0.0, "health": 0.75}, {"tokens": 0.4, "topic": 0.2, "health": 0.4}) == (
        tried["weights"],
        plain["weights"],
    )
    assert "score = 0.25 * tokens + 0 * topic + 0.75 * health" == tried["formula"]
    assert option["score"] == pytest.approx(sum(option["parts"].values()), abs=1e-3)
    assert plain["weights"] == again["weights"] == tried["feedback"]["configured"]


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        ({"tokens": 0, "topic": 0, "health": 0}, "all 0"),
        ({"tokens": 1, "topic": 1}, "weights.health"),
        ({"tokens": -1, "topic": 1, "health": 1}, "weights.tokens"),
        ({"tokens": 1001, "topic": 1, "health": 1}, "weights.tokens"),
        ({"tokens": "1", "topic": 1, "health": 1}, "weights.tokens"),
        ({"tokens": 1, "topic": 1, "health": 1, "luck": 1}, "weights.luck"),
        ([1, 2, 3], "weights"),
    ],
)
async def test_weights_that_are_none_are_refused(house: Estate, key: str, weights: Any, named: str) -> None:
    """By name."""
    told = await ask(house, key, "POST", "route/explain", HI | {"weights": weights})

    assert (400, True) == (told.status_code, named in told.json()["error"]["message"])


async def test_a_chat_that_runs_takes_no_weights(house: Estate, key: str) -> None:
    """It says where they are taken, and is not answered as if they held."""
    told = await house.http.post("/v1/chat/completions", json=HI | {"weights": {"tokens": 1}}, headers=bearer(key))

    assert (400, True) == (told.status_code, "/v1/route/explain" in told.json()["error"]["message"])


async def test_jobs_are_found_by_strategy_and_by_error(house: Estate, key: str) -> None:
    """Beside all other filters; a code that is none finds nothing."""
    good = (await ask(house, key, "POST", "chat", {"prompt": "one", "strategy": "least_loaded"})).json()["job"]
    failed = await ask(house, key, "POST", "chat", {"prompt": "two", "model": "nothing", "job": "bad"})
    for job in (good, "bad"):
        await recorded(house, key, job)

    async def found(query: str) -> list[str]:
        return [one["job"] for one in (await ask(house, key, "GET", f"jobs?{query}")).json()["jobs"]]

    code = failed.json()["error"]["code"]
    assert [good] == await found("strategy=least_loaded&state=done")
    assert [True] == [one.startswith("bad-") for one in await found(f"error={code}")]
    assert [] == await found("error=moon")
    assert 400 == (await ask(house, key, "GET", f"jobs?error={'x' * 65}")).status_code


async def test_a_durable_job_that_is_over_has_its_record(house: Estate, key: str) -> None:
    """Its attempts and clocks, beside its answer."""
    job = (await ask(house, key, "POST", "jobs", {"prompt": "later"})).json()["id"]
    told = await recorded(house, key, job)

    assert ("done", "echo: later") == (told["state"], told["answer"]["text"])
    assert {"queue_s", "first_token_s", "total_s", "attempts", "received_unix_s"} <= told["record"].keys()


async def test_the_ledger_remembers_a_decision(house: Estate, key: str) -> None:
    """A dispatcher that started anew knows nothing of the job, and one that hangs says nothing, also where it may be another's.
    What is told has the same figures as before. To others it is not there."""
    job = (await ask(house, key, "POST", "chat", {"prompt": "why?"})).json()["job"]
    await recorded(house, key, job)
    before = (await ask(house, key, "GET", f"route/{job}")).json()
    dispatcher = next(one for one in house.fleet.members if one.name.startswith("disp"))
    dispatcher.freeze()
    overseer = await house.key(user="carol")
    asked = (key, job), (overseer, job), (key, "never")
    *hung, silent = await asyncio.gather(*(ask(house, who, "GET", f"route/{what}") for who, what in asked))
    await dispatcher.kill()
    after = await ask(house, key, "GET", f"route/{job}")
    stranger = await house.key(user="bob")
    other = await ask(house, stranger, "GET", f"route/{job.rpartition('-')[0]}")
    never = await ask(house, key, "GET", "route/never")

    assert "remembered" not in before
    assert [before | {"remembered": True}] * 3 == [one.json() for one in (*hung, after)]
    assert (503, "no_dispatcher") == (silent.status_code, silent.json()["error"]["code"])
    assert "formula" in before
    assert {404, 503} >= {other.status_code, never.status_code}

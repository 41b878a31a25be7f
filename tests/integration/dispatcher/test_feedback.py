"""Feedback through the whole dispatcher: ratings over the bus, what is read off jobs, what changes, what a restart remembers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from common import codec
from common.bus import Delivery
from common.client import Drover, chat_request
from common.errors import BackendError, BadRequest, UnknownJob
from common.messages import ModelInfo, Speed
from dispatcher.router.feedback import Feedback, FeedbackMode
from dispatcher.settings import RoutingSection
from tests.integration.dispatcher.house import House, memory_wires, open_house
from tests.integration.dispatcher.scripted import Script, answer, fail, until
from tests.unit.dispatcher.builders import job

TEXT = answer("an answer")
CODE = "Please fix the bug in this python function: def f(): return 1"

SMALL = ModelInfo(name="llama3.2:1b", size_bytes=10**9, parameters_b=1.2, loaded=True)
LARGE = ModelInfo(name="qwen2.5:14b", size_bytes=9 * 10**9, parameters_b=14.8, loaded=True)
CHECKED = answer("Because of the air, and of the light.")
SLOW, FAST = ({SMALL.name: Speed(jobs=9, decode_tps=tps, prefill_tps=10 * tps)} for tps in (8.0, 80.0))


@asynccontextmanager
async def fleet(
    directory: Path, script: Script = TEXT, **routing: Any
) -> AsyncIterator[tuple[House, list[dict[str, Any]]]]:
    """A device that is for code and slow, and one that is fast and for chat; the owner has topics decide. Gives the events too."""
    section = RoutingSection(state_dir=directory, **{"weight_topic": 2.0, **routing})
    changes: list[dict[str, Any]] = []

    def note(delivery: Delivery) -> None:
        changes.append(codec.decode(delivery.data))

    async with open_house(memory_wires, routing=section) as house:
        await house.world.subscribe(f"{house.subjects.prefix}.evt.route.changed.*", note)
        await house.device("coder", script, models=(SMALL,), speeds=SLOW, topics=("code",))
        await house.device("talker", script, models=(SMALL,), speeds=FAST, topics=("chat",))
        yield house, changes


async def asked(
    house: House, name: str, prompt: str = CODE, *, tenant: str = "default", **fields: Any
) -> dict[str, Any]:
    """The answer of a job, which is over and noted."""
    question = {} if "messages" in fields else {"prompt": prompt}
    payload = codec.encode({"job": name, **question, **fields})
    body = await (await house.send(payload, framed=False, tenant=tenant)).reply()
    await house.event(name)
    return body


async def rate(house: House, name: str, *, tenant: str = "default", **said: Any) -> dict[str, Any]:
    """Rate as the client's library does."""
    async with Drover.over(house.world, tenant=tenant) as drover:
        return await drover.rate(name, said)


async def weights(house: House, prompt: str = CODE, *, tenant: str = "default") -> dict[str, Any]:
    """What explain tells a tenant of feedback."""
    async with Drover.over(house.world, tenant=tenant) as drover:
        return dict((await drover.explain(chat_request(prompt)))["feedback"])


async def thumbed(house: House, prefix: str, thumbs: int, *, tenant: str = "default") -> None:
    """One job that is liked, and more that are not; each is a change of its own, as when they are a second apart."""
    feedback = house.pipeline.router.feedback
    for number in range(thumbs + 1):
        name = f"{prefix}-{number}"
        await asked(house, name, tenant=tenant)
        await rate(house, name, tenant=tenant, rating="down" if number else "up")
        feedback.refresh()


async def test_thumbs_move_the_weights_and_each_change_is_told(tmp_path: Path) -> None:
    """A thumb up, then fifteen down on what topic chose: topic loses weight, an event says so, and explain shows both."""
    async with fleet(tmp_path) as (house, changes):
        body = await asked(house, "j-0")
        first = await rate(house, "j-0", rating="up")
        second = await rate(house, "j-0", rating="down", reason="too slow")
        await thumbed(house, "j", 15)
        await until(lambda: bool(changes), "the change is told")
        told = await weights(house)

    assert ("coder", True, False) == (body["device"], first["counted"], second["counted"])
    assert "it was rated before" == second["why"]
    assert ("default", True) == (changes[-1]["tenant"], changes[-1]["factors"]["topic"] < 1.0)
    assert told["learned"]["topic"] < told["configured"]["topic"]
    assert (16, "explicit") == (told["outcomes"], told["mode"])
    assert [16] == [one["rated"] for one in told["kinds"].values()]


async def test_one_tenant_steers_nobody_else(tmp_path: Path) -> None:
    """Thirty thumbs down of one tenant move what it gets; another's weights, share and account are as if it had never been."""
    async with fleet(tmp_path) as (house, _):
        await asked(house, "own", tenant="bob")
        await rate(house, "own", tenant="bob", rating="up")
        before = await weights(house, tenant="bob")
        await thumbed(house, "j", 30, tenant="mallory")
        after, steered = await weights(house, tenant="bob"), await weights(house, tenant="mallory")

    assert before == after
    assert steered["learned"]["topic"] < after["learned"]["topic"] == after["configured"]["topic"]


@pytest.mark.parametrize("source", ["user", "vote", "judge"])
async def test_thirty_thumbs_of_one_caller_cost_the_owner_a_twentieth_at_most(tmp_path: Path, source: str) -> None:
    """Whatever it claims to be, and for its own jobs alone: the share of strong calls of the others stays the owner's."""
    async with fleet(tmp_path, CHECKED, strategy="cascade") as (house, _):
        await house.device("orin", TEXT, models=(LARGE,), speeds={LARGE.name: FAST[SMALL.name]})
        feedback = house.pipeline.router.feedback
        for number in range(30):
            body = await asked(house, f"j-{number}", "Why?", tenant="mallory")
            await rate(house, f"j-{number}", tenant="mallory", score=0.0, source=source)
            feedback.refresh()
        shares = [feedback.strong_share(0.3, tenant) for tenant in ("mallory", "bob")]

    assert "weak" == body["route"]["cascade"]["given"]
    assert 0.3 < shares[0] <= 0.35
    assert 0.3 == shares[1]


async def compared(house: House, winner: str, loser: str, votes: int, *, over: bool) -> dict[str, float]:
    """The same question to both devices by name, again and again, and the same one is preferred; gives the factors."""
    feedback = house.pipeline.router.feedback
    for number in range(votes):
        for device in (winner, loser):
            await asked(house, f"{device}-{number}", device=device)
        beside = {"over": [f"{loser}-{number}", "elsewhere"]} if over else {}
        await rate(house, f"{winner}-{number}", score=1.0, source="vote", **beside)
        await rate(house, f"{loser}-{number}", score=0.0, source="vote")
        feedback.refresh()
    return feedback.learned("default").factors


async def test_a_vote_between_devices_that_were_named_moves_the_terms_by_which_they_differ(tmp_path: Path) -> None:
    """Forty votes for the one that is for chat, under questions of code: topic loses weight. Without what it was preferred to each
    answer stands alone, since a job that is pinned had no rival."""
    async with fleet(tmp_path / "votes") as (house, _):
        factors = await compared(house, "talker", "coder", 40, over=True)
    async with fleet(tmp_path / "scores") as (house, _):
        alone = await compared(house, "talker", "coder", 40, over=False)

    assert factors["topic"] < 0.95
    assert {"tokens": 1.0, "topic": 1.0, "health": 1.0} == alone


@pytest.mark.parametrize(("owner", "last"), [(0.5, "talker"), (2.0, "coder")])
async def test_thumbs_move_a_close_choice_and_not_what_the_owner_is_sure_of(
    tmp_path: Path, owner: float, last: str
) -> None:
    """The bounds leave topic a good part of its weight: a close choice falls the other way, and a clear one stays."""
    async with fleet(tmp_path, weight_topic=owner) as (house, _):
        await thumbed(house, "j", 40)
        body = await asked(house, "last")
        told = await weights(house)

    assert last == body["device"]
    assert told["learned"]["topic"] >= told["configured"]["topic"] / 4


async def test_what_was_learned_survives_a_restart_and_a_deleted_file_resets_it(tmp_path: Path) -> None:
    """The file stands beside the dispatcher's other state."""
    async with fleet(tmp_path) as (house, _):
        await thumbed(house, "j", 15)
        await until((tmp_path / "feedback.json").exists, "the file is written")
        await until(lambda: house.pipeline.router.feedback.learned("default").weight == 0.0, "all is applied")
        before = await weights(house)
    async with fleet(tmp_path) as (house, _):
        again = await weights(house)
        (tmp_path / "feedback.json").unlink()
        await until(lambda: house.pipeline.router.feedback.learned("default").outcomes == 0, "it is forgotten")
        reset = await weights(house)

    assert before["learned"] == pytest.approx(again["learned"])
    assert before["learned"] != before["configured"]
    assert (reset["configured"], {}) == (reset["learned"], reset["kinds"])


async def test_off_takes_ratings_and_learns_nothing(tmp_path: Path) -> None:
    """Nothing is learned and nothing written; who rates is told that it does not count, and why."""
    async with fleet(tmp_path, feedback="off") as (house, _):
        await asked(house, "j-1")
        said = await rate(house, "j-1", rating="down")
        told = await weights(house)
        house.pipeline.router.refresh()

    assert (False, "feedback is off") == (said["counted"], said["why"])
    assert (told["configured"], False) == (told["learned"], (tmp_path / "feedback.json").exists())


async def test_a_word_that_has_a_name_is_changed_and_taken_back(tmp_path: Path) -> None:
    """By the same name: routing has then learned what it would have without the one before. Another's word stays as it is."""
    async with fleet(tmp_path / "said") as (house, _), fleet(tmp_path / "never") as (other, _):
        for name in ("j-1", "j-2", "j-3"):
            await asked(house, name)
            await asked(other, name)
        told = [
            await rate(house, "j-1", rating="up", word="ann"),
            await rate(house, "j-1", rating="down", word="ann"),
            await rate(house, "j-1", rating="down", word="ann"),
            await rate(house, "j-1", rating="up", word="bob"),
            await rate(house, "j-1", withdrawn=True, word="bob"),
            await rate(house, "j-2", rating="down", word="ann"),
            await rate(house, "j-2", withdrawn=True, word="ann"),
            await rate(house, "j-2", withdrawn=True, word="ann"),
            await rate(house, "j-3", rating="up"),
        ]
        await rate(other, "j-1", rating="down")
        await rate(other, "j-3", rating="up")
        for each in (house, other):
            each.pipeline.router.feedback.refresh()
        ours, theirs = [each.pipeline.router.feedback for each in (house, other)]
        kinds = [(await weights(each))["kinds"] for each in (house, other)]

    assert [True, True, True, False, False, True, False, False, True] == [said["counted"] for said in told]
    assert [(4, False), (6, True), (7, False)] == [
        (number, said["unlearned"]) for number, said in enumerate(told) if "unlearned" in said
    ]
    assert {
        3: "it was rated before",
        4: "nothing was learned from this word",
        7: "nothing was learned from this word",
    } == {number: said["why"] for number, said in enumerate(told) if "why" in said}
    assert (ours.learned("default"), kinds[0]) == (theirs.learned("default"), kinds[1])


async def test_thumbs_that_are_taken_back_move_the_weights_back(tmp_path: Path) -> None:
    """Fifteen that have moved them, each applied by itself; and the change is told as others are."""
    async with fleet(tmp_path) as (house, changes):
        feedback = house.pipeline.router.feedback
        for number in range(16):
            await asked(house, f"j-{number}")
            await rate(house, f"j-{number}", rating="down" if number else "up", word="ann")
            feedback.refresh()
        moved = feedback.learned("default").factors
        for number in range(16):
            await rate(house, f"j-{number}", withdrawn=True, word="ann")
        feedback.refresh()
        await until(lambda: bool(changes) and changes[-1]["outcomes"] == 0, "the change is told")
        told = await weights(house)

    assert (True, {}) == (moved["topic"] < 1.0, told["kinds"])
    assert (told["configured"], 0) == (told["learned"], told["outcomes"])


async def test_without_a_ledger_a_rating_is_learned_from_and_not_kept(tmp_path: Path) -> None:
    """And whoever rates is told so, unless it sees to that itself."""
    async with fleet(tmp_path) as (house, _):
        await asked(house, "j-1")
        await asked(house, "j-2")
        first, second = await rate(house, "j-1", rating="up"), await rate(house, "j-2", rating="up", keep=False)

    assert (True, False, "no ledger answers") == (first["counted"], first["kept"], first["why_not_kept"])
    assert (True, False) == (second["counted"], "kept" in second)


async def test_a_job_counts_once_and_a_stranger_does_not_count(tmp_path: Path) -> None:
    """A second thumb is taken and not counted; another tenant knows no such job, nor does anyone know one that never was."""
    async with fleet(tmp_path) as (house, _):
        await asked(house, "j-1")
        with pytest.raises(UnknownJob):
            await rate(house, "j-1", tenant="mallory", rating="down")
        first, second = await rate(house, "j-1", score=0.2, source="judge"), await rate(house, "j-1", rating="up")
        with pytest.raises(UnknownJob):
            await rate(house, "never", rating="up")

    assert (True, False) == (first["counted"], second["counted"])


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"rating": "meh"},
        {"score": 1.5},
        {"score": True},
        {"rating": "up", "score": 0.1},
        {"score": 0.1, "source": "god"},
        {"rating": "up", "raeson": "too slow"},
        {"score": 1.0, "source": "vote", "over": [f"j-{number}" for number in range(8)]},
        {"score": 1.0, "source": "vote", "over": "j-2"},
        {"rating": "up", "keep": "no"},
        {"rating": "up", "word": "w" * 65},
        {"withdrawn": True},
        {"withdrawn": True, "word": "ann", "rating": "up"},
        {"withdrawn": True, "word": "ann", "over": ["j-2"]},
    ],
)
async def test_a_rating_that_is_none_is_refused_by_name(tmp_path: Path, said: dict[str, Any]) -> None:
    """Nothing of it is counted."""
    async with fleet(tmp_path) as (house, _):
        await asked(house, "j-1")
        with pytest.raises(BadRequest):
            await rate(house, "j-1", **said)
        outcomes = house.pipeline.router.feedback.learned("default").outcomes

    assert 0 == outcomes


def told(text: str) -> list[dict[str, str]]:
    """A conversation whose last question is this."""
    return [
        {"role": role, "content": content}
        for role, content in (("user", "Hi"), ("assistant", "Hello!"), ("user", text))
    ]


async def test_clocks_failures_and_repeated_questions_are_heard_when_all_is_on(tmp_path: Path) -> None:
    """Two answers are two latencies, the second asks the same again and so blames the first; a failed job is one outcome."""
    async with fleet(tmp_path, feedback="all") as (house, _):
        feedback = house.pipeline.router.feedback
        await asked(house, "j-1", messages=told(CODE))
        one = feedback.learned("default").outcomes
        await asked(house, "j-2", messages=told(CODE))
        two = feedback.learned("default").outcomes
    async with fleet(tmp_path, fail(BackendError("out of memory")), feedback="all") as (house, _):
        before = house.pipeline.router.feedback.learned("default").outcomes
        await asked(house, "j-1")
        failed = house.pipeline.router.feedback.learned("default").outcomes - before

    assert (1, 3, 1) == (one, two, failed)


async def test_a_first_question_that_is_repeated_blames_nobody(tmp_path: Path) -> None:
    """A probe, a benchmark and two users who greet say the same: that is two latencies, and no retry."""
    async with fleet(tmp_path, feedback="all") as (house, _):
        for number in range(2):
            await asked(house, f"j-{number}", "hi")
        outcomes = house.pipeline.router.feedback.learned("default").outcomes

    assert 2 == outcomes


@pytest.mark.parametrize("strategy", ["random", "energy", "round_robin"])
async def test_what_the_terms_did_not_choose_says_nothing_of_them(tmp_path: Path, strategy: str) -> None:
    """Thirty thumbs down on answers that chance, joules or the rota chose leave the weights where they are."""
    async with fleet(tmp_path, strategy=strategy) as (house, _):
        await thumbed(house, "j", 30)
        learned = house.pipeline.router.feedback.learned("default")

    assert (31, (0.0, 0.0, 0.0)) == (learned.outcomes, learned.logs)


async def test_a_bounded_share_of_jobs_explores_and_the_route_says_so(tmp_path: Path) -> None:
    """The same job always does the same; a pinned one never does."""
    feedback = Feedback(mode=FeedbackMode.ALL)
    name = next(f"j-{number}" for number in range(10_000) if feedback.explores(job(name=f"j-{number}")))
    async with fleet(tmp_path, feedback="all", weight_topic=0.5) as (house, _):
        usual = await asked(house, "j-usual")
        explored = await asked(house, name)

    assert ("coder", "talker") == (usual["device"], explored["device"])
    assert explored["route"]["features"]["explores"] is True
    assert not feedback.explores(job(name=name, model="auto@coder"))

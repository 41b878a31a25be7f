"""Who asks to hear somebody else's job: a dispatcher that knows the question may, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from common import codec
from common.bus.memory import MemoryBroker, connect_memory
from common.bus.mux import reply_mux
from common.errors import BadRequest
from common.frames import Token
from common.subjects import Subjects
from dispatcher.peers import MOST_PEERS, Peers, peers
from dispatcher.sharing import MOST_KEEP_S, MOST_LEFT_S
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import House
from tests.integration.dispatcher.neighbour import Neighbour, ears
from tests.integration.dispatcher.scripted import Hold, answer, go_on, until
from tests.unit.agents.hand_clock import HandClock


async def fingerprint(house: House, job: str) -> str:
    """Tell what stands for the question of a running job."""
    return next(one.job.fingerprint for one in house.pipeline.register if one.job.id == job)


@pytest.mark.parametrize("given", [True, False], ids=["an id of the client's", "an id of ours"])
@pytest.mark.parametrize("how", ["as a stranger", "on the public subject", "without the question"])
async def test_nobody_hears_a_job_that_is_not_theirs(a_house: OpenHouse, how: str, *, given: bool) -> None:
    """The id alone, which events tell to all, opens no answer: neither to strangers nor to a known dispatcher."""
    async with a_house() as house:
        script = Hold("secret ", then=go_on("too"))
        await house.device("nano", script)
        stream = await house.stream(**({"job": "j1"} if given else {}))
        await stream.seen(Token)
        job = next(one.job.id for one in house.pipeline.register)
        neighbour, spy = Neighbour(house), await ears(house)
        if how != "as a stranger":
            await neighbour.move_in()
        asked: dict[str, Any] = {"job": job}
        if how == "as a stranger":
            asked["fingerprint"] = await fingerprint(house, job)
        if how == "on the public subject":
            order = codec.encode({"from": neighbour.name, "tenant": "default", "fingerprint": "", "reply": spy.inbox})
            order = codec.encode(
                codec.decode(order) | {"encoding": "json", "framed": True, "held": False, "left_s": 9.0, "keep_s": 0.0}
            )
            await house.world.publish(f"llm.v1.ctl.{job}.attach", order, reply=(await ears(house)).inbox)
        await neighbour.ask(spy, **asked)
        script.released.set()
        await stream.end()
        await house.settle()

        assert [] == spy.arrived


async def test_a_neighbour_that_knows_the_question_hears_the_answer(a_house: OpenHouse) -> None:
    """The way that questions between dispatchers take is open to them."""
    async with a_house() as house:
        script = Hold("Once ", then=go_on("upon"))
        await house.device("nano", script)
        neighbour, friend = Neighbour(house), await ears(house)
        await neighbour.move_in()
        stream = await house.stream(job="j1", resends=0)
        await stream.seen(Token)
        word = await neighbour.ask(friend, fingerprint=await fingerprint(house, "j1"))
        await friend.seen(Token)
        script.released.set()
        await friend.end()
        house.sent = 2  # the one that joined is told of as well

        assert ("Once upon", "mine") == (friend.text, word.body["word"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"left_s": float("inf")},
        {"left_s": float("nan")},
        {"keep_s": float("inf")},
        {"keep_s": "long"},
        {"fingerprint": ""},
        {"reply": ""},
        {"job": "a.b"},
    ],
    ids=str,
)
async def test_a_question_that_makes_no_sense_is_refused(a_house: OpenHouse, wrong: dict[str, Any]) -> None:
    """MessagePack carries what JSON can't: times without an end."""
    async with a_house() as house:
        order = {"job": "j1", "tenant": "t", "fingerprint": "f", "reply": "r", "encoding": "json"}
        order |= {"framed": True, "held": False, "left_s": 1.0, "keep_s": 1.0}
        with pytest.raises(BadRequest):
            house.pipeline.sharing.read("b", order | wrong)


async def test_what_a_neighbour_says_is_bounded_like_a_request(a_house: OpenHouse) -> None:
    """A day to answer, and a minute to come back."""
    async with a_house() as house:
        order = {"job": "j1", "tenant": "t", "fingerprint": "f", "reply": "r", "encoding": "json"}
        order |= {"framed": True, "held": False, "left_s": 1e12, "keep_s": 1e12}
        seat = house.pipeline.sharing.read("b", order).seat
        left_s = seat.deadline_s - house.pipeline.clock.monotonic()

        assert (MOST_KEEP_S, True) == (seat.keep_s, left_s <= MOST_LEFT_S)


@pytest.fixture
async def street() -> AsyncIterator[tuple[Peers, HandClock]]:
    """What one dispatcher knows of the others, and its clock."""
    clock, broker, subjects = HandClock(), MemoryBroker(), Subjects()
    async with (
        connect_memory(broker) as bus,
        reply_mux(bus, subjects.inbox("me")) as mux,
        peers(bus, mux, subjects, "me", clock.monotonic) as known,
    ):
        yield known, clock


async def heard(known: Peers, *names: str) -> None:
    """Let dispatchers of these names say that they live."""
    for name in names:
        await known._bus.publish(f"llm.v1.peer.{name}", b'{"state":"here"}')
    await asyncio.sleep(0)


async def test_names_of_the_gone_are_forgotten(street: tuple[Peers, HandClock]) -> None:
    """Each start brings a new name; a year of restarts leaves none behind."""
    known, clock = street
    for number in range(100):
        await heard(known, f"disp-{number}")
        clock.now_s += 60.0
    await heard(known, "last")

    assert {"last"} == set(known._heard_s)


async def test_a_flood_of_names_stays_outside(street: tuple[Peers, HandClock]) -> None:
    """Whoever makes up names can't have jobs wait for thousands; those that were known before stay so."""
    known, _ = street
    await heard(known, "real", *(f"made-up-{number}" for number in range(1000)))

    assert (MOST_PEERS, True) == (len(known.others), "real" in known.others)


async def test_a_neighbour_that_is_asked_has_the_job(a_house: OpenHouse) -> None:
    """The question says what is asked for, and the answer is heard from there."""
    async with a_house() as house:
        await house.device("nano", answer("no"))
        neighbour = Neighbour(house)
        await neighbour.move_in()
        stream = await house.stream(job="j1")
        question = await neighbour.question(1)
        await neighbour.say(1, "mine")
        await until(lambda: house.pipeline.running == 0, "the job is handed over")
        house.streams.clear()
        house.sent = 0

        assert ("j1", "default", stream.inbox) == (question["job"], question["tenant"], question["reply"])


@pytest.mark.parametrize(("takes", "expected"), [(True, "Once upon"), (False, "")])
async def test_who_does_not_take_an_offer_gets_no_answer(a_house: OpenHouse, takes: bool, expected: str) -> None:
    """A neighbour that has stopped waiting runs the job itself: its party, which hears it from there, hears nothing from here."""
    async with a_house() as house:
        hold = Hold("Once ", then=go_on("upon"))
        await house.device("nano", hold)
        stream = await house.stream(job="j1")
        await hold.reached.wait()
        neighbour, party = Neighbour(house), await ears(house)
        await neighbour.move_in()
        word = await neighbour.ask(party, takes=takes, fingerprint=await fingerprint(house, "j1"))
        await until(lambda: len(word.arrived) == 1, "the offer")
        if takes:
            await party.seen(Token)
        hold.released.set()
        await stream.end()
        if takes:
            await party.end()
        house.sent = 1 + takes  # the one that joined is told of as well

        assert ("mine", expected) == (codec.decode(word.arrived[0].data)["word"], party.text)

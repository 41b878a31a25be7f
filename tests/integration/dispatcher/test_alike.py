"""A question that means the same is answered by the answer to the other one; one that only looks like it never is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from common import codec
from dispatcher.settings import CacheSection, EmbedSection
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import Stream
from tests.integration.dispatcher.scripted import answer, until
from tests.integration.dispatcher.test_cached import desk

ALIKE = CacheSection(mode="semantic")
FIRST = "How do I reset the password of my router?"
AGAIN = "How can I reset the password of my router?"
OTHER = "How do I change the colour of my kitchen?"


async def told(stream: Stream) -> dict[str, Any]:
    """Give what the account says of the cache."""
    route = (await stream.end()).route or {}
    return dict(route["cache"])


async def test_a_question_that_means_the_same_is_answered_once(a_house: OpenHouse) -> None:
    """Its account says how alike the two are, how old the answer is, and whose it was."""
    async with a_house(cache=ALIKE) as house:
        nano = await house.device("nano", answer("Hold the button."))
        first = await told(await house.stream(FIRST, job="first"))
        stream = await house.stream(AGAIN)
        again = await told(stream)

    assert ("Hold the button.", 1) == (stream.text, len(nano.attempts))
    assert ("miss", "hit", "semantic", "first", "nano") == (
        first["outcome"], again["outcome"], again["kind"], again["source"]["job"], again["source"]["device"],
    )  # fmt: skip
    assert 0.8 < again["similarity"] < 1.0
    assert again["age_s"] >= 0.0


@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        ("How do I increase the volume of the speaker?", "How do I decrease the volume of the speaker?"),
        ("Convert 10 miles to kilometres", "Convert 100 miles to kilometres"),
        ("How do I copy files from the Pi to the Jetson?", "How do I copy files from the Jetson to the Pi?"),
        ("Which plants are safe for cats?", "Which plants are not safe for cats?"),
        ("What is the capital of Austria?", "What is the capital of Australia?"),
        (FIRST, OTHER),
    ],
)
async def test_one_that_only_looks_like_it_is_not(a_house: OpenHouse, kept: str, asked: str) -> None:
    """Direction, number, role, negation and name: each is another question, however near its vector."""
    async with a_house(cache=ALIKE) as house:
        nano = await house.device("nano", answer("one"), answer("two"))
        await (await house.stream(kept)).end()
        stream = await house.stream(asked)
        await stream.end()

    assert ("two", 2) == (stream.text, len(nano.attempts))


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("And what about the second one?", "leans on what was said before"),
        ("What time is it right now in Berlin?", "depends on when it is asked"),
        ("Write to anna@example.org about her invoice", "holds personal data"),
    ],
)
async def test_some_questions_are_never_compared(a_house: OpenHouse, question: str, why: str) -> None:
    """They are refused with a reason, counted under it, and nothing finds them by likeness."""
    async with a_house(cache=ALIKE) as house:
        await house.device("nano", answer("x"))
        said = await told(await house.stream(question))
        figures = await desk(house, "stats")

    assert ("refused", why) == (said["outcome"], said["why"])
    assert ({why: 1}, 0) == (figures["counts"]["refused"], figures["index"]["entries"])


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "bob"},
        {"model": "llama3.2:1b"},
        {"options": {"seed": 7}},
        {"strategy": "perf"},
        {"cache": "exact"},
        {"cache": "off"},
        {"cache": "refresh"},
        {"tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}]},
    ],
)
async def test_another_context_is_another_question(a_house: OpenHouse, fields: dict[str, Any]) -> None:
    """Likeness counts only where everything but the last question is the same, and only where it is wanted."""
    async with a_house(cache=ALIKE) as house:
        nano = await house.device("nano", answer("x"))
        await (await house.stream(FIRST)).end()
        await (await house.stream(AGAIN, **fields)).end()

    assert 2 == len(nano.attempts)


async def test_a_conversation_is_a_context(a_house: OpenHouse) -> None:
    """Like questions behind different words of before are not like; behind the same ones they are."""

    def talk(system: str, question: str) -> bytes:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        return codec.encode({"messages": messages, "stream": True})

    async with a_house(cache=ALIKE) as house:
        nano = await house.device("nano", answer("x"))
        for system, question in (("brief", FIRST), ("long", AGAIN), ("brief", AGAIN)):
            await (await house.send(talk(system, question))).end()

    assert 2 == len(nano.attempts)


async def test_tenants_are_apart(a_house: OpenHouse) -> None:
    """Another tenant's like question runs, and so does that of one whose name differs by one bit."""
    async with a_house(cache=ALIKE) as house:
        nano = await house.device("nano", answer("x"))
        for tenant, question in (("a", FIRST), ("b", AGAIN), ("c", AGAIN), ("A", AGAIN), ("a", AGAIN)):
            await (await house.send(codec.encode({"prompt": question, "stream": True}), tenant=tenant)).end()

    assert 4 == len(nano.attempts)


async def test_a_vector_that_is_there_tells_nothing_of_other_tenants(a_house: OpenHouse) -> None:
    """What one tenant has asked is embedded anew for another: else the time would tell."""
    async with a_house(cache=ALIKE) as house:
        await house.device("nano", answer("x"))
        kept = house.pipeline.router.embedding._kept
        counts = []
        for tenant in ("a", "a", "b"):
            await (
                await house.send(codec.encode({"prompt": FIRST, "stream": True, "cache": "semantic"}), tenant=tenant)
            ).end()
            counts.append(len(kept))

    assert [1, 1, 2] == counts


async def test_a_tenant_may_have_a_mode_of_its_own(a_house: OpenHouse) -> None:
    """The owner turns likeness on for one tenant, and the cache off for another."""
    async with a_house(cache=CacheSection(mode="exact", tenants="lab=semantic,kiosk=off")) as house:
        nano = await house.device("nano", answer("x"))
        runs = {}
        for tenant in ("lab", "kiosk", "default"):
            before = len(nano.attempts)
            for question in (FIRST, FIRST, AGAIN):
                await (await house.send(codec.encode({"prompt": question, "stream": True}), tenant=tenant)).end()
            runs[tenant] = len(nano.attempts) - before

    assert {"lab": 1, "kiosk": 3, "default": 2} == runs


async def test_without_an_embedder_only_the_same_is_the_same(a_house: OpenHouse) -> None:
    """There are no vectors to compare; the account says so."""
    async with a_house(cache=ALIKE, embed=EmbedSection(tier="none")) as house:
        nano = await house.device("nano", answer("x"))
        await (await house.stream(FIRST)).end()
        said = await told(await house.stream(AGAIN))

    assert ("refused", 2) == (said["outcome"], len(nano.attempts))
    assert "no embedder" in said["why"]


async def test_a_reported_answer_goes_with_its_like_and_does_not_come_back(a_house: OpenHouse) -> None:
    """Both questions run from then on, and neither is the other's answer again."""
    async with a_house(cache=ALIKE) as house:
        nano = await house.device("nano", answer("wrong"), answer("right for again"), answer("right for first"))
        await (await house.stream(FIRST)).end()
        await (await house.stream(AGAIN, job="got-it")).end()
        said = await desk(house, "report", "default", id="got-it")
        again, first = await house.stream(AGAIN), await house.stream(FIRST)
        await again.end()
        await first.end()
        last = await house.stream(FIRST)
        await last.end()

    assert (1, 3) == (len(said["removed"]), len(nano.attempts))
    assert {again.text, first.text} == {"right for again", "right for first"}
    assert first.text == last.text


async def test_what_another_dispatcher_was_told_is_wrong_is_wrong_here_too(a_house: OpenHouse) -> None:
    """It passes the names of both questions on; neither is answered by likeness from then on, nor answers the other."""
    async with a_house(cache=ALIKE) as house:
        heard: list[bytes] = []
        await house.world.subscribe(
            house.subjects.cache("bar", "default"), lambda delivery: heard.append(delivery.data)
        )
        nano = await house.device("nano", answer("x"))
        await (await house.stream(FIRST)).end()
        await (await house.stream(AGAIN, job="got-it")).end()
        await desk(house, "report", "default", id="got-it")
        await until(lambda: bool(heard), "it is passed on")
        keys = codec.decode(heard[0])["keys"]
    async with a_house(cache=ALIKE) as other:
        nano = await other.device("nano", answer("x"))
        await other.world.publish(other.subjects.cache("bar", "default"), codec.encode({"keys": keys}))
        await until(lambda: len(other.pipeline.cache.barred) == 2, "it is heard")
        for question in (FIRST, AGAIN):
            await (await other.stream(question)).end()

    assert 2 == len(nano.attempts)


@pytest.mark.parametrize("keys", [None, "x", [1], ["x"] * 17])
async def test_only_names_can_be_barred(a_house: OpenHouse, keys: object) -> None:
    """What is none is refused, by name."""
    async with a_house(cache=ALIKE) as house:
        told = await desk(house, "bar", "default", keys=keys)

    assert ("bad_request", "keys") == (told["error"]["code"], told["error"]["details"]["param"])


# -- shadow ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def all_told() -> Iterator[None]:
    """Have good news be logged too, as in a dispatcher."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("all_told")
async def test_shadow_looks_and_does_not_give(a_house: OpenHouse, tmp_path: Path) -> None:
    """What would have been given is told, logged, and written with both questions where the owner names a file."""
    file = tmp_path / "shadow.jsonl"
    with capture_logs() as logs:
        async with a_house(cache=CacheSection(mode="shadow", shadow_file=str(file))) as house:
            nano = await house.device("nano", answer("Hold the button."))
            await (await house.stream(FIRST)).end()
            said = await told(await house.stream(AGAIN))
            same = await told(await house.stream(FIRST))

    assert (2, "miss", True) == (len(nano.attempts), said["outcome"], said["shadow"]["would"])
    assert "exact" == same["kind"]
    [line] = [one for one in logs if one["event"] == "cache.shadow"]
    assert 0.99 < line["answers_similarity"] <= 1.01
    assert FIRST not in str(logs)
    [pair] = [codec.decode(row) for row in file.read_bytes().splitlines()]
    assert (AGAIN, FIRST) == (pair["asked"], pair["kept"])
    assert 0o600 == file.stat().st_mode & 0o777


async def test_shadow_writes_no_file_unless_it_is_named(a_house: OpenHouse, monkeypatch: Any, tmp_path: Path) -> None:
    """What people asked lies nowhere that the owner does not know of."""
    monkeypatch.chdir(tmp_path)
    async with a_house(cache=CacheSection(mode="shadow")) as house:
        await house.device("nano", answer("x"))
        for question in (FIRST, AGAIN):
            await (await house.stream(question)).end()

    assert not files(tmp_path)


def files(directory: Path) -> list[Path]:
    return list(directory.rglob("*shadow*"))

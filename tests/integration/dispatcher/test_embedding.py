"""Jobs that embed, through a whole dispatcher with scripted devices: one answer or one typed error, whatever the devices do.

On a bus in memory: `tests/integration/test_embedding.py` has a real one.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from common import codec, vectors
from common.errors import BackendError, ContextTooLong, DeadlineExceeded, JobCancelled
from common.messages import DeviceState, ModelInfo
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.house import House, memory_wires, open_house
from tests.integration.dispatcher.scripted import Attempt, Script, answer, fail, stall, until

COOL, HOT = {"temperature_c": 30.0}, {"temperature_c": 89.0}
"""What makes routing prefer one of two equal devices."""

EMBEDDER = ModelInfo(name="embedder", size_bytes=10**8, loaded=True, capabilities=("embedding",))
TALKER = ModelInfo(name="talker", size_bytes=10**8, loaded=True, capabilities=("completion",))


@pytest.fixture
def a_house() -> OpenHouse:
    """Opens a dispatcher; keyword arguments are those of `house.settings`."""
    return partial(open_house, memory_wires)


def packed(*texts: str) -> tuple[str, ...]:
    """An embedding that tells its text."""
    return tuple(vectors.pack([float(len(text)), 0.1]) for text in texts)


async def embeds(attempt: Attempt) -> None:
    """Do it."""
    await attempt.ack()
    await attempt.end(embeddings=packed(*attempt.dispatch.inputs or ()))


def gives(*texts: str) -> Script:
    """Give embeddings, whatever was asked."""

    async def play(attempt: Attempt) -> None:
        await attempt.ack()
        await attempt.end(embeddings=packed(*texts))

    return play


async def device(house: House, name: str, *scripts: Script, **beat: Any) -> None:
    await house.device(name, *scripts, **{"models": (EMBEDDER, TALKER), "embeds": True} | beat)


async def test_frames_carry_the_embeddings_in_the_last_one(a_house: OpenHouse) -> None:
    """Packed, in the order of the texts; the device gets nothing that an older one would answer."""
    async with a_house() as house:
        await device(house, "nano", embeds)
        stream = await house.embed("a", "bcd", dimensions=2, truncate=False)
        end = await stream.end()
        dispatch = house.devices[0].attempts[0].dispatch

    assert (packed("a", "bcd"), 7) == (end.embeddings, end.usage.prompt_tokens)
    assert ["Ack", "RouteNote", "End"] == stream.kinds
    assert (("a", "bcd"), 2, False, ()) == (
        dispatch.inputs,
        dispatch.dimensions,
        dispatch.truncate,
        dispatch.messages,
    )


async def test_one_reply_has_numbers_that_can_be_read(a_house: OpenHouse) -> None:
    """Who has no library of ours gets lists, with no more digits than float32 has; and no text, since there is none."""
    async with a_house() as house:
        await device(house, "nano", embeds)
        body = await (await house.embed("a", "bcd", framed=False)).reply()

    assert ([[1.0, 0.1], [3.0, 0.1]], False) == (
        [[round(n, 6) for n in one] for one in body["embeddings"]],
        "text" in body,
    )
    assert all(len(str(number)) <= 11 for one in body["embeddings"] for number in one)
    assert ("nano", "embedder", 7) == (body["device"], body["model"], body["usage"]["prompt_tokens"])


FAULTS = {
    "old agent": answer("hello"),
    "nothing": gives(),
    "too few": gives("a"),
    "too many": gives("a", "b", "c"),
    "failed": fail(BackendError("no")),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_another_device_does_what_one_could_not(a_house: OpenHouse, fault: str) -> None:
    """What is no answer to all the texts is none; nobody sees any of it."""
    async with a_house() as house:
        await device(house, "bad", FAULTS[fault], **COOL)
        await device(house, "good", embeds, **HOT)
        stream = await house.embed("a", "bcd")
        end = await stream.end()

    assert (packed("a", "bcd"), "good", "") == (end.embeddings, (end.route or {})["device"], stream.text)
    assert ["bad", "good"] == [one["device"] for one in (end.route or {})["attempts"]]


async def test_another_device_goes_on_when_one_dies(a_house: OpenHouse) -> None:
    """Embeddings are begun anew there: nobody has seen any."""
    async with a_house() as house:
        await device(house, "bad", stall(), **COOL)
        await device(house, "good", embeds, **HOT)
        stream = await house.embed("a")
        await house.devices[0].attempt()
        await house.devices[0].die()
        await house.beat(house.devices[0], state=DeviceState.STOPPED)
        end = await stream.end()

    assert (packed("a"), "good") == (end.embeddings, (end.route or {})["device"])


async def test_a_job_that_embeds_can_be_cancelled(a_house: OpenHouse) -> None:
    """Its device is told so, and the slot is free."""
    async with a_house() as house:
        await device(house, "nano", stall())
        stream = await house.embed("a", job="mine")
        await house.devices[0].attempt()
        assert (await house.order("mine", "cancel"))["cancelled"]
        error = await stream.error()
        await until(lambda: house.devices[0].cancels == [("mine", 1)], "the device hears of it")

    assert isinstance(error.error, JobCancelled)


async def test_a_job_that_embeds_has_a_deadline(a_house: OpenHouse) -> None:
    """No device has more time than the request."""
    async with a_house() as house:
        await device(house, "nano", stall())
        error = await (await house.embed("a", timeout_s=0.3)).error()

    assert isinstance(error.error, DeadlineExceeded)


async def test_the_same_id_again_gets_the_same_embeddings(a_house: OpenHouse) -> None:
    """Nothing is embedded twice; the same id with other texts is another request."""
    async with a_house() as house:
        await device(house, "nano", embeds)
        first = await (await house.embed("a", job="mine")).end()
        again = await (await house.embed("a", job="mine")).end()
        refused = await house.embed("b", job="mine")
        await until(lambda: refused.ended, "the refusal")
        assert (1, first.embeddings) == (len(house.devices[0].attempts), again.embeddings)
        assert "duplicate_job" == refused.body["error"]["code"]
        house.streams.remove(refused)
        house.replies.append(refused)


ASKED: list[tuple[dict[str, Any], str, str, str]] = [
    ({"inputs": [], "model": "embedder"}, "embed", "bad_request", "inputs is missing or empty"),
    ({"model": "embedder"}, "embed", "bad_request", "inputs is missing or empty"),
    (
        {"inputs": ["a"] * 17, "model": "embedder"},
        "embed",
        "bad_request",
        "at most 16 texts, not 17: send several jobs",
    ),
    ({"inputs": ["a", ""], "model": "embedder"}, "embed", "bad_request", "inputs.1 is empty"),
    ({"inputs": "a", "model": "embedder"}, "embed", "bad_request", "inputs: Input should be a list"),
    ({"inputs": ["a"], "prompt": "b", "model": "embedder"}, "embed", "bad_request", "prompt belongs to chats"),
    ({"inputs": ["a"], "model": "embedder"}, "chat", "bad_request", "inputs belongs to embeddings"),
    ({"prompt": "a", "dimensions": 3}, "chat", "bad_request", "dimensions belongs to embeddings"),
    ({"inputs": ["a"]}, "embed", "bad_request", "name the one that all your texts go to (there is embedder:latest)"),
    ({"inputs": ["a"], "model": "talker"}, "embed", "unsupported", "there is embedder:latest"),
    ({"inputs": ["a"], "model": "none"}, "embed", "unknown_model", "none:latest"),
    ({"prompt": "a", "model": "embedder"}, "chat", "unsupported", "does not chat: use `auto`, or one of talker:latest"),
]


async def test_what_can_not_be_is_refused_in_words(a_house: OpenHouse) -> None:
    """Each refusal has a code, and says what would do; no device hears of it."""
    async with a_house() as house:
        await device(house, "nano", embeds)
        for body, kind, code, words in ASKED:
            stream = await house.send(codec.encode(body), framed=False, kind=kind)
            error = (await stream.reply())["error"]
            assert (code, True) == (error["code"], words in error["message"]), error["message"]
        assert [] == house.devices[0].attempts


async def test_what_a_device_says_of_the_texts_is_the_answer(a_house: OpenHouse) -> None:
    """A text that is too long is too long everywhere: nobody else is asked."""
    async with a_house() as house:
        await device(house, "nano", fail(ContextTooLong("too long", param="inputs")))
        await device(house, "orin", embeds, **HOT)
        error = await (await house.embed("a", truncate=False)).error()

    assert isinstance(error.error, ContextTooLong)
    assert [] == house.devices[1].attempts


async def test_an_agent_of_before_is_not_asked(a_house: OpenHouse) -> None:
    """It goes on to chat, and its breaker never hears of embeddings."""
    async with a_house() as house:
        await device(house, "old", answer("hello"), embeds=False, **COOL)
        await device(house, "new", embeds, **HOT)
        end = await (await house.embed("a")).end()
        chat = await house.stream(model="talker")
        await chat.end()

    assert [0, 1] == [sum(one.dispatch.inputs is not None for one in each.attempts) for each in house.devices]
    assert (packed("a"), "hello") == (end.embeddings, chat.text)


async def test_where_texts_would_go_can_be_asked(a_house: OpenHouse) -> None:
    """Explain decides as for the job itself, and runs nothing."""
    async with a_house() as house:
        await device(house, "nano", embeds)
        asked = codec.encode({"inputs": ["a"], "model": "embedder"})
        told = codec.decode(
            (await house.world.request(house.subjects.work("route", "default"), asked, timeout_s=30.0)).data
        )

    assert ("nano", "embedder") == (told["options"][0]["device"], told["options"][0]["model"])
    assert [] == house.devices[0].attempts

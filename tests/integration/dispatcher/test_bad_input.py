"""Bad input on the bus: a typed error with a way out, one record, and the process lives."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from common import codec
from common.codec import Encoding
from common.messages import ModelInfo
from tests.integration.dispatcher.conftest import OpenHouse
from tests.integration.dispatcher.scripted import MODEL, Hold, answer, until

EMBEDDER = ModelInfo(name="embed:1b", capabilities=("embedding",))


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "bad_request"),
        (b"hello", "bad_request"),
        (b"\xff\xfe\x00", "bad_request"),
        (b"[]", "bad_request"),
        (b"\x81\xa6prompt", "bad_request"),
        (b'{"prompt":"\xff"}', "bad_request"),
        (b'{"prompt":' * 1000, "bad_request"),
        (b"{" * 900_000, "bad_request"),
        (b'{"prompt":""}', "bad_request"),
        (b'{"prompt":["hi"]}', "bad_request"),
        (b'{"prompt":"hi","job":"a.b"}', "bad_request"),
        (b'{"prompt":"hi","model":"auto@a b"}', "bad_request"),
        (b'{"prompt":"hi","deadline_ms":1}', "deadline"),
        (b'{"prompt":"hi","model":"gpt-5"}', "unknown_model"),
        (b'{"prompt":"hi","model":"llama3.2:1b@orin"}', "unknown_device"),
        (b'{"prompt":"hi","model":"auto@orin","device":"nano"}', "bad_request"),
        (b'{"prompt":"hi","model":"embed:1b"}', "unsupported"),
    ],
)
async def test_each_gets_a_typed_error(a_house: OpenHouse, payload: bytes, code: str) -> None:
    """What can't be served is refused with a code in body and headers, and the next job is served as ever."""
    async with a_house() as house:
        await house.device("nano", answer("fine"), models=(ModelInfo(name=MODEL, loaded=True), EMBEDDER))
        refused = await house.send(payload, framed=False)
        error = (await refused.reply())["error"]
        good = await (await house.ask()).reply()
        headers = refused.arrived[0].headers

        assert (code, True, code, "fine") == (
            error["code"],
            bool(error["message"]),
            headers["Nats-Service-Error-Code"],
            good["text"],
        )
        assert headers["Nats-Service-Error"]


@pytest.mark.parametrize("fields", [{"prompt": ""}, {"prompt": "hi", "model": "gpt-5"}])
async def test_a_stream_is_refused_with_an_end(a_house: OpenHouse, fields: dict[str, Any]) -> None:
    """Who asked for frames and is refused gets the error, and the empty payload that it waits for."""
    async with a_house() as house:
        await house.device("nano", answer("fine"))
        stream = await house.send(codec.encode({"stream": True, **fields}))

        assert (await stream.error()).error.code in {"bad_request", "unknown_model"}


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize(
    "fields", [{"deadline_ms": "9" * 400}, {"options": {"seed": "9" * 30}}, {"timeout_s": "9" * 400}]
)
async def test_numbers_beyond_all_bounds(a_house: OpenHouse, fields: dict[str, Any], encoding: Encoding) -> None:
    """A number that no float or no encoding holds is refused, and ends no process."""
    async with a_house() as house:
        await house.device("nano", answer("fine"))
        refused = await (await house.ask(encoding=encoding, **fields)).reply()
        good = await (await house.ask(encoding=encoding)).reply()

        assert ("bad_request", "fine") == (refused["error"]["code"], good["text"])


async def test_the_unknown_model_names_those_there_are(a_house: OpenHouse) -> None:
    """The message of an unknown model is a way out."""
    async with a_house() as house:
        await house.device("nano", answer("fine"))
        error = (await (await house.ask(model="gpt-5")).reply())["error"]

        assert f"no device has the model 'gpt-5:latest': use `auto`, or one of {MODEL}" == error["message"]


async def test_an_empty_fleet_says_so(a_house: OpenHouse) -> None:
    """Without devices a job is refused at once, with the command that starts one."""
    async with a_house() as house:
        error = (await (await house.ask()).reply())["error"]

        assert ("no_device", True, True) == (error["code"], error["retry"], "drover-agent" in error["message"])


async def test_nobody_waits_for_the_answer(a_house: OpenHouse) -> None:
    """A job without a reply subject keeps no device busy, and is written down as refused."""
    async with a_house() as house:
        nano = await house.device("nano", answer("fine"))
        await house.send(b'{"prompt":"hi"}', reply="")
        await until(lambda: len(house.job_events) == 1, "the refusal is told")

        assert ("refused", "bad_request", 0) == (
            house.job_events[0]["state"],
            house.job_events[0]["error"],
            len(nano.attempts),
        )


async def test_an_id_means_one_request(a_house: OpenHouse) -> None:
    """Another request under the id of one that runs, or is answered, is refused; another tenant's ids are its own."""
    async with a_house() as house:
        hold = Hold("one")
        nano = await house.device("nano", hold, answer("two"), slots=4)
        first = await house.stream(job="j1")
        await hold.reached.wait()
        second = await (await house.ask("something else", job="j1")).reply()
        other = await house.send(b'{"prompt":"hi","job":"j1"}', framed=False, tenant="other")
        text = (await other.reply())["text"]
        hold.released.set()
        await first.end()
        await until(lambda: house.pipeline.running == 0, "the first is over")
        third = await (await house.ask("something else", job="j1")).reply()

        assert (["duplicate_job"] * 2, [False] * 2, [True] * 2, "two", 2) == (
            [one["error"]["code"] for one in (second, third)],
            [one["error"]["retry"] for one in (second, third)],
            ["job j1" in one["error"]["message"] for one in (second, third)],
            text,
            len(nano.attempts),
        )


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"garbage",
        b"[]",
        b'{"device":"nano"}',
        b'{"device":"nano","boot":"b","seq":-1}',
        b'{"device":"a b","boot":"b","seq":1}',
        b'{"device":"x.y","boot":"b","seq":1}',
        b'{"device":">","boot":"b","seq":1}',
        b'{"device":"other","boot":"b","seq":1}',  # on nano's subject
        b'{"device":"nano","boot":"b","seq":1,"jobs_by_dispatcher":{"x":-1}}',
        b'{"device":"nano","boot":"b","seq":1,"uptime_s":1e300}',
    ],
)
async def test_a_garbled_heartbeat_is_ignored(a_house: OpenHouse, payload: bytes) -> None:
    """What is no heartbeat of its own device changes nothing in the fleet."""
    async with a_house() as house:
        await house.device("nano", answer("fine"))
        await house.world.publish(house.subjects.heartbeat("nano"), payload)
        await house.world.flush()
        text = (await (await house.ask()).reply())["text"]

        assert ("fine", ["nano"]) == (text, list(house.pipeline.roster.fleet.devices))


@pytest.mark.parametrize(
    "fields",
    [
        {"speeds": {MODEL: {"decode_tps": -5.0, "prefill_tps": 0.0}}},
        {"slots": 0},
        {"models": [{"name": MODEL, "loaded": True, "parameters_b": -8.0}]},
    ],
)
async def test_impossible_numbers_of_one_device_hurt_nobody(a_house: OpenHouse, fields: dict[str, Any]) -> None:
    """A device that reports nonsense does not keep others from working."""
    async with a_house() as house:
        await house.device("good", answer("fine"))
        beat = {"device": "odd", "boot": "b", "seq": 1, "interval_s": 60, "models": [{"name": MODEL}]} | fields
        await house.world.publish(house.subjects.heartbeat("odd"), codec.encode(beat))
        await until(lambda: "odd" in house.pipeline.roster.fleet.devices, "the odd one is heard")
        text = (await (await house.ask(device="good")).reply())["text"]
        ranked = await (await house.ask(device="good")).reply()

        assert ("fine", "good") == (text, ranked["device"])


async def test_a_device_that_draws_more_than_it_says_is_told_to_the_owner(a_house: OpenHouse) -> None:
    """Limits on watts trust what it says: the log has it, and its jobs are done all the same."""
    async with a_house() as house:
        with capture_logs() as lines:
            await house.device("nano", answer("fine"), busy_w=5.0, watts=25.0, watts_measured=True)
            text = (await (await house.ask()).reply())["text"]

        assert ("fine", ["nano"]) == (
            text, [line["device"] for line in lines if line["event"] == "device.draws_more"],
        )  # fmt: skip


async def test_an_order_of_no_meaning_is_ignored(a_house: OpenHouse) -> None:
    """What no dispatcher understands is answered by none, and harms none."""
    async with a_house() as house:
        await house.device("nano", answer("fine"))
        answers: list[Any] = []
        inbox = house.world.new_inbox()
        await house.world.subscribe(inbox, answers.append)
        for verb in ("dance", "attach"):
            await house.world.publish(f"llm.v1.ctl.j1.{verb}", b"\xff", reply=inbox)
        text = (await (await house.ask()).reply())["text"]

        assert ("fine", []) == (text, answers)

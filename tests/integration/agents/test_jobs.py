"""Jobs on a real agent: over a real NATS server, through the `ollama` package, to the device simulator."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from common.codec import Encoding, sniff
from tests.integration.agents.rigs import MODEL, Rig, rig
from tests.listening import GUARD_S, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # 1 x 1 PNG
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather of a city",
        "parameters": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
    },
}
LONG = {"options": {"max_tokens": 2000}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Rig]:
    async with rig() as standing:
        yield standing


@pytest_asyncio.fixture(loop_scope="module")
async def orin(shared: Rig) -> AsyncIterator[Rig]:
    """The shared rig, idle and without faults before and after each test."""
    yield shared
    await shared.sim.call("DELETE", "/sim/faults")
    await shared.sim.until({"in_flight": 0})
    await shared.device.until_idle()


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_chat_streams_frames_in_the_encoding_of_the_dispatch(orin: Rig, encoding: Encoding) -> None:
    """Acceptance, numbered text, one end with the backend's own counters, and for people the empty payload."""
    stream = await orin.device.send(encoding=encoding, options={"max_tokens": 40})

    end = await stream.until("end" if encoding is Encoding.MSGPACK else "") or await stream.until("end")
    tokens = [frame for frame in stream.frames if frame.get("t") == "tok"]
    assert stream.kinds == ["ack", "tok", "end", *([] if encoding is Encoding.MSGPACK else [""])]
    assert [frame["s"] for frame in tokens] == list(range(end["s"]))
    assert {sniff(payload) for payload in stream.raw if payload} == {encoding}
    assert (end["finish"], end["usage"]["completion_tokens"]) == ("length", 40)
    assert set(end["engine"]) == {"load_s", "prefill_s", "decode_s"}


async def messages_of_a_text(orin: Rig, **fields: Any) -> tuple[int, float]:
    """Send a job of 40 tokens, and give in how many messages they came, and the seconds that it took."""
    begun_s = time.monotonic()
    stream = await orin.device.send(options={"max_tokens": 40}, **fields)
    await stream.whole()
    return sum(frame.get("t") == "tok" for frame in stream.frames), time.monotonic() - begun_s


async def test_fast_tokens_share_messages(orin: Rig) -> None:
    """The first goes out at once, then one message a fortieth of a second, however fast the device, and the rest at the end."""
    messages, took_s = await messages_of_a_text(orin)

    assert messages <= 2 + took_s / 0.025


async def test_the_text_says_that_it_is_simulated(orin: Rig) -> None:
    """The label of the simulator reaches whoever asked."""
    stream = await orin.device.send(options={"max_tokens": 20})

    await stream.whole()
    assert stream.text.startswith("[simulated orin/")


async def test_the_acceptance_comes_before_any_model_work(orin: Rig) -> None:
    """The device hangs, and the job is accepted all the same."""
    await orin.sim.fault("hang", times=1)

    stream = await orin.device.send(job="hangs")

    await stream.until("ack")
    assert stream.text == ""
    await orin.device.ask("cancel", b'{"job":"hangs"}')
    await stream.whole()


async def test_keep_alives_flow_while_the_device_hangs(orin: Rig) -> None:
    """One a second, so that a dispatcher can tell a slow device from a dead agent."""
    await orin.sim.fault("hang", times=1)
    stream = await orin.device.send(job="hangs-on")

    beat = await stream.until("ka", count=2)

    assert beat["phase"] in ("load", "prefill")
    await orin.device.ask("cancel", b'{"job":"hangs-on"}')
    await stream.whole()


async def test_a_job_beyond_the_slots_is_refused_at_once(orin: Rig) -> None:
    """Without an acceptance, and with an error on which the dispatcher turns to another device."""
    await orin.sim.fault("hang", times=1)
    first = await orin.device.send(job="holds-the-slot")
    await first.until("ack")

    second = await orin.device.send()

    frames = await second.whole()
    assert [(frame.get("t"), frame.get("code"), frame.get("retry")) for frame in frames] == [
        ("err", "busy", True),
        (None, None, None),
    ]
    await orin.device.ask("cancel", b'{"job":"holds-the-slot"}')
    await first.whole()


async def test_a_cancellation_stops_the_devices_work(orin: Rig) -> None:
    """The simulator sees its client hang up, and its slot is empty long before the answer would be complete."""
    before = await orin.sim.state()
    await orin.sim.fault("slow", factor=50, times=1)
    stream = await orin.device.send(job="goes-away", **LONG)
    await stream.until("tok")

    answer = await orin.device.ask("cancel", b'{"job":"goes-away","attempt":1}')

    await stream.whole()
    assert (answer, stream.error) == ({"cancelled": True}, "cancelled")
    await orin.sim.until({"in_flight": 0, "aborted_by_client": before["aborted_by_client"] + 1})


async def test_a_cancellation_that_overtakes_its_job_wins(orin: Rig) -> None:
    """The job that comes after it is not accepted, and never reaches the device."""
    before = await orin.sim.state()
    reply = orin.device.new_reply()

    answer = await orin.device.ask("cancel", json.dumps({"job": "overtaken", "attempt": 1, "reply": reply}).encode())
    stream = await orin.device.send(job="overtaken", reply=reply)

    await stream.whole()
    after = await orin.sim.state()
    assert (answer, stream.kinds, stream.error) == ({"cancelled": False}, ["err", ""], "cancelled")
    assert after["accepted"] == before["accepted"]


async def test_the_same_attempt_runs_once(orin: Rig) -> None:
    """A repeated delivery is not answered, neither while the job runs nor after it."""
    before = await orin.sim.state()
    stream = await orin.device.send(options={"max_tokens": 10})
    await orin.device.repeat(stream)
    await stream.whole()
    await orin.device.repeat(stream)
    # the probe is answered behind all of it
    await orin.device.ask("probe")
    await settled(orin.bus)

    after = await orin.sim.state()
    assert stream.kinds == ["ack", "tok", "end", ""]
    assert after["accepted"] == before["accepted"] + 1


async def test_the_same_job_id_runs_as_often_as_it_is_sent(orin: Rig) -> None:
    """Whoever sent the job chose its id, and may choose it again."""
    for _ in range(2):
        stream = await orin.device.send(job="chosen", options={"max_tokens": 3})
        await stream.whole()

        assert stream.kinds == ["ack", "tok", "end", ""]


async def test_a_crash_in_mid_stream_is_an_error_behind_the_text(orin: Rig) -> None:
    """What was delivered stays, and the dispatcher learns that there is no more."""
    await orin.sim.fault("crash_mid_stream", after_tokens=5, times=1)

    stream = await orin.device.send(**LONG)

    await stream.whole()
    assert (stream.kinds, stream.error) == (["ack", "tok", "err", ""], "backend")
    assert len(stream.text) > 0


@pytest.mark.parametrize(
    ("kind", "details", "expected"),
    [
        ("busy_503", {}, "busy"),
        ("error_500", {"after_tokens": 0}, "backend"),
        ("error_500", {"after_tokens": 4}, "backend"),
        ("wrong_json", {"after_tokens": 3}, "garbled"),
        ("crash_mid_stream", {"after_tokens": 0}, "backend"),
    ],
)
async def test_a_fault_of_the_device_is_a_typed_error(
    orin: Rig, kind: str, details: dict[str, Any], expected: str
) -> None:
    """Each says that another attempt may do better, and what happened."""
    await orin.sim.fault(kind, times=1, **details)

    stream = await orin.device.send(**LONG)

    await stream.whole()
    error = await stream.until("err")
    assert (error["code"], error["retry"]) == (expected, True)
    assert len(error["message"]) > 20


async def test_after_a_fault_the_next_job_runs(orin: Rig) -> None:
    """A broken connection to the device is not used again."""
    await orin.sim.fault("crash_mid_stream", after_tokens=2, times=1)
    broken = await orin.device.send(**LONG)
    await broken.whole()

    stream = await orin.device.send(options={"max_tokens": 5})

    await stream.whole()
    assert (broken.error, stream.error) == ("backend", None)


async def test_an_unknown_model_is_a_request_error(orin: Rig) -> None:
    """No retry helps, and the message says how to get the model."""
    stream = await orin.device.send(model="llama9:900b")

    await stream.whole()
    error = await stream.until("err")
    assert (error["code"], error["retry"]) == ("unknown_model", False)
    assert "ollama pull llama9:900b" in error["message"]


async def test_a_model_without_the_ability_is_a_request_error(orin: Rig) -> None:
    """tinyllama can't call tools."""
    stream = await orin.device.send(tools=[WEATHER])

    await stream.whole()
    assert stream.error == "unsupported"


async def test_tools_are_called(orin: Rig) -> None:
    """The call comes in the last frame, with its arguments as an object."""
    stream = await orin.device.send(
        "What is the weather in Paris? Use get_weather.", model="llama3.2:3b", tools=[WEATHER]
    )

    await stream.whole()
    end = await stream.until("end")
    assert (end["finish"], [call["name"] for call in end["tool_calls"]]) == ("tool_calls", ["get_weather"])
    assert isinstance(end["tool_calls"][0]["arguments"], dict)


async def test_images_reach_the_model(orin: Rig) -> None:
    """A model with eyes answers, and one without says so."""
    look = [{"role": "user", "content": "What is this?", "images": [PIXEL]}]

    seen = await orin.device.send(model="moondream", messages=look, options={"max_tokens": 5})
    await seen.whole()
    unseen = await orin.device.send(messages=look)
    await unseen.whole()

    assert (seen.error, unseen.error) == (None, "unsupported")


async def test_an_unstreamed_job_needs_few_messages(orin: Rig) -> None:
    """Its first text goes out at once and the rest is gathered, over half a second or to the end."""
    messages, took_s = await messages_of_a_text(orin, stream=False)

    assert messages <= 2 + took_s / 0.5


async def test_a_deadline_ends_the_job_and_the_devices_work(orin: Rig) -> None:
    """It is absolute, and holds while the device decodes without end."""
    await orin.sim.fault("slow", factor=500, times=1)

    stream = await orin.device.send(deadline_ms=int((time.time() + 1.5) * 1000), **LONG)

    await stream.whole()
    assert stream.error == "deadline"
    await orin.sim.until({"in_flight": 0})


async def test_a_deadline_holds_while_the_device_is_silent(orin: Rig) -> None:
    """The job ends in time although its device says nothing."""
    await orin.sim.fault("hang", times=1)

    stream = await orin.device.send(deadline_ms=int((time.time() + 0.5) * 1000))

    await stream.whole()
    assert stream.error == "deadline"


GARBAGE = [
    b"",
    b"not json",
    b"[1,2]",
    b"{}",
    b'{"job":"x","attempt":"one","dispatcher":"d","model":"m","messages":[]}',
    b'{"job":"\xff\xfe"}',
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b"\x81\xa3job",
    b"\xdf\xff\xff\xff\xff",
    b'{"job":"' + b"x" * 1_000_000 + b'"}',
]


@pytest.mark.parametrize("payload", GARBAGE, ids=lambda payload: repr(payload[:20]))
async def test_garbage_at_the_job_door_is_answered_with_a_typed_error(orin: Rig, payload: bytes) -> None:
    """The message names what is wrong, no work is begun, and the agent lives."""
    stream = await orin.device.send_raw(payload)

    await stream.whole()
    assert (stream.kinds, stream.error) == (["err", ""], "bad_request")
    assert (await orin.device.ask("probe"))["in_flight"] == 0


@pytest.mark.parametrize(
    ("verb", "payload"),
    [
        ("cancel", b""),
        ("cancel", b"not json"),
        ("cancel", b'{"job":7}'),
        ("cancel", b'{"job":"x","attempt":0}'),
        ("cancel", b'{"job":"x","reply":""}'),
        ("cancel", b'{"reply":"_INBOX_disp.tester.1.1"}'),
        ("drain", b'{"on":"perhaps"}'),
        ("drain", b'{"on":"no"}'),
        ("drain", b'{"on":true,"x":1}'),
        ("drain", b'{"prompt":5}'),
        ("drain", b"[true]"),
        ("load", b"{}"),
        ("load", b'{"model":""}'),
        ("load", b'{"model":"m","keep_s":-1}'),
        ("load", b'{"model":"m","wait_s":601}'),
        ("load", b'{"model":"m","keep_alive":5}'),
        ("probe", b"\xff\xff"),
        ("probe", b'{"a":' * 900 + b"1" + b"}" * 900),
    ],
)
async def test_garbage_at_another_door_is_answered_with_a_typed_error(orin: Rig, verb: str, payload: bytes) -> None:
    """And changes nothing: the device still takes jobs."""
    answer = await orin.device.ask(verb, payload)

    assert answer["error"]["code"] == "bad_request"
    assert (await orin.device.ask("probe"))["state"] == "ready"


async def test_a_job_that_nobody_waits_for_is_not_run(orin: Rig) -> None:
    """Without a reply subject there is nowhere to answer to."""
    before = await orin.sim.state()
    await orin.bus.publish("llm.v1.dev.orin.job", b'{"job":"mute"}')
    await orin.device.ask("probe")

    after = await orin.sim.state()
    assert after["accepted"] == before["accepted"]


async def test_finished_jobs_leave_their_connection_open(orin: Rig) -> None:
    """The simulator never sees a hang-up behind a complete answer."""
    before = await orin.sim.state()
    for _ in range(3):
        stream = await orin.device.send(options={"max_tokens": 3})
        await stream.whole()

    # The simulator counts an answer just after its last line has left.
    after = await orin.sim.until({"completed": before["completed"] + 3})
    assert after["aborted_by_client"] == before["aborted_by_client"]


async def test_the_device_learns_its_speed(orin: Rig) -> None:
    """The next heartbeats carry what was measured, and count the job."""
    stream = await orin.device.send("word " * 60, options={"max_tokens": 30})
    await stream.whole()

    beat = await orin.device.until(lambda beat: MODEL in beat.speeds and beat.in_flight == 0)
    speed = beat.speeds[MODEL]
    assert speed.jobs > 0
    assert min(speed.prefill_tps or 0, speed.decode_tps or 0) > 0


async def test_a_running_job_shows_in_the_heartbeat(orin: Rig) -> None:
    """Also whose it is; and the model is listed as loaded soon after."""
    await orin.sim.fault("slow", factor=50, times=1)
    stream = await orin.device.send(job="shows", **LONG)

    beat = await orin.device.until(lambda beat: beat.in_flight == 1)

    assert beat.jobs_by_dispatcher == {"tester": 1}
    await orin.device.until(lambda beat: any(model.name == MODEL and model.loaded for model in beat.models))
    async with asyncio.timeout(GUARD_S):
        await orin.device.ask("cancel", b'{"job":"shows"}')
        await stream.whole()

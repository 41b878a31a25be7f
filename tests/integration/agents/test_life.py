"""The life of a real agent: how it shows itself, what it survives, and how it goes."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

from common import codec
from common.bus import Delivery
from common.messages import DeviceState, Heartbeat
from tests.agent_process import agent_process, device_seen
from tests.integration.agents.rigs import Rig, bus_on, rig
from tests.listening import GUARD_S, Listener
from tests.nats_server import nats_server
from tests.simulated import simulator

SLOW_ANSWER = {"options": {"max_tokens": 60}}


async def test_heartbeats_say_what_there_is_to_know() -> None:
    """Gapless numbers, one boot, the models with their abilities, the device's own sensors, and that it is simulated."""
    async with rig(DROVER_TOPICS="code, chat", DROVER_HEARTBEAT_S="0.2") as orin:
        beat = await orin.device.until(lambda beat: beat.temperature_c is not None and beat.seq >= 3)
        sensors = (await orin.sim.call("GET", "/sim/sensors"))[1]

        assert [one.seq for one in orin.device.heartbeats] == list(range(len(orin.device.heartbeats)))
        assert {one.boot for one in orin.device.heartbeats} == {beat.boot}
        assert (beat.interval_s, beat.slots, beat.topics, beat.simulated) == (0.2, 1, ("code", "chat"), True)
        assert beat.memory_total_bytes == sensors["memory_total_bytes"]
        llama = next(model for model in beat.models if model.name == "llama3.2:3b")
        assert {"completion", "tools"} <= set(llama.capabilities)
        assert (llama.loaded, llama.context_tokens, llama.parameters_b) == (False, 131_072, 3.213)


async def test_strain_and_a_lost_gpu_are_told() -> None:
    """Why the device is slow, that its model left the GPU in silence, where it stands; and it goes on to work."""
    async with rig(DROVER_SITE="attic", DROVER_POLL_S="0.3", DROVER_HEARTBEAT_S="0.2") as orin:
        stream = await orin.device.send(options={"max_tokens": 3})
        await stream.whole()
        well = await orin.device.until(lambda beat: beat.gpu is not None and any(one.loaded for one in beat.models))
        await orin.sim.fault("throttle", reasons=["frequency cap: by hand"])
        slowed = await orin.device.until(lambda beat: bool(beat.throttled))
        await orin.sim.fault("no_gpu")
        lost = await orin.device.until(lambda beat: bool(beat.warnings))

        assert (True, False, ()) == (well.gpu, well.throttled, well.warnings)
        assert (("frequency cap: by hand",), "attic", DeviceState.READY) == (
            slowed.throttling,
            slowed.site,
            slowed.state,
        )
        assert "tinyllama:1.1b runs on the CPU: size_vram 0 of " in lost.warnings[0]


async def test_a_roll_call_is_answered_at_once() -> None:
    """A dispatcher that has just started need not wait for the next heartbeat, which may be a minute away."""
    async with nats_server() as nats, bus_on(nats) as bus:
        heard = Listener()
        await bus.subscribe("llm.v1.hb.echo", heard)
        async with agent_process(
            nats.url, "echo", DROVER_BACKEND="echo", DROVER_HEARTBEAT_S="300", DROVER_POLL_S="300"
        ):
            await heard.until(1)
            while codec.decode(heard.data[-1])["state"] != "ready":
                await heard.until(len(heard.heard) + 1)
            before = len(heard.heard)
            await bus.publish("llm.v1.roll", b"")
            await heard.until(before + 1)

        assert len(heard.heard) > before


async def test_a_restarted_agent_has_another_boot() -> None:
    """That is how a dispatcher learns that all its jobs there are lost."""
    async with nats_server() as nats, bus_on(nats) as bus:
        heard = Listener()
        await bus.subscribe("llm.v1.hb.echo", heard)
        boots: list[str] = []
        for _ in range(2):
            seen = len(heard.heard)
            async with agent_process(nats.url, "echo", DROVER_BACKEND="echo"):
                await heard.until(seen + 1)
                boots.append(codec.decode(heard.data[-1])["boot"])

        assert boots[0] != boots[1]


async def test_a_second_agent_with_the_same_name_does_not_start() -> None:
    """Cards that were cloned share a host name: the one that comes later ends, and the first one works on undisturbed."""
    async with rig() as orin:
        async with agent_process(orin.nats.url, "orin", DROVER_BACKEND="echo") as second:
            status = await second.ended()
        stream = await orin.device.send(options={"max_tokens": 3})
        await stream.whole()

        assert status == 1
        assert stream.kinds == ["ack", "tok", "end", ""]
        assert len({beat.boot for beat in orin.device.heartbeats}) == 1


async def test_a_namesake_that_came_all_the_same_is_told_of() -> None:
    """The heartbeat says who else there is and what to do, at once, and stays ready."""
    async with rig(DROVER_HEARTBEAT_S="60") as orin:
        other = Heartbeat(device="orin", boot="ELSEWHERE", seq=0)
        await orin.bus.publish("llm.v1.hb.orin", codec.encode(codec.plain(other)))

        beat = await orin.device.until(lambda beat: beat.boot != "ELSEWHERE" and beat.reason is not None)

        assert beat.state is DeviceState.READY
        assert "ELSEWHERE" in (beat.reason or "")
        assert "DROVER_DEVICE" in (beat.reason or "")


async def test_a_device_with_the_longest_name_works() -> None:
    """64 characters, as any name may have."""
    name = "d" * 64
    async with (
        nats_server() as nats,
        bus_on(nats) as bus,
        device_seen(bus, name) as device,
        agent_process(nats.url, name, DROVER_BACKEND="echo"),
    ):
        await device.until(lambda beat: beat.state is DeviceState.READY, ever=True)
        stream = await device.send(model="echo")
        await stream.whole()

        assert stream.text == "echo: Why is the sky blue?"


async def test_a_device_that_dies_makes_its_agent_faulty_until_it_is_back() -> None:
    """The agent lives on, says why, keeps its list of models, and takes jobs again without a restart."""
    async with rig(DROVER_POLL_S="0.3") as orin:
        orin.sim.kill()
        faulty = await orin.device.until(lambda beat: beat.state is DeviceState.FAULTY)
        failed = await orin.device.send()
        await failed.whole()
        async with simulator("orin", port=orin.sim.port):
            ready = await orin.device.until(lambda beat: beat.state is DeviceState.READY)
            stream = await orin.device.send(options={"max_tokens": 5})
            await stream.whole()

        assert "no Ollama answers" in (faulty.reason or "")
        assert [model.name for model in faulty.models] == [model.name for model in ready.models]
        assert (failed.error, stream.error) == ("backend", None)
        assert faulty.boot == ready.boot


async def test_an_agent_that_starts_before_its_ollama_waits_for_it() -> None:
    """It is faulty, not dead."""
    async with (
        rig(DROVER_POLL_S="0.3") as orin,
        agent_process(orin.nats.url, "early", OLLAMA_HOST="127.0.0.1:1", DROVER_HEARTBEAT_S="0.2"),
    ):
        heard = Listener()
        await orin.bus.subscribe("llm.v1.hb.early", heard)
        await heard.until(1)
        async with asyncio.timeout(GUARD_S):
            while codec.decode(heard.data[-1])["state"] != "faulty":
                await heard.until(len(heard.heard) + 1)
        probe = await orin.bus.request("llm.v1.dev.early.probe", b"", timeout_s=GUARD_S)

        assert codec.decode(probe.data)["state"] == "faulty"


async def running_job(orin: Rig, job: str) -> Any:
    """Start an answer that takes four seconds, and wait for its first text."""
    await orin.sim.fault("slow", factor=150, times=1)
    stream = await orin.device.send(job=job, **SLOW_ANSWER)
    await stream.until("tok")
    return stream


async def test_sigterm_lets_the_running_job_finish() -> None:
    """The device says that it drains, refuses the next job, ends the answer, says that it has stopped."""
    async with rig() as orin:
        stream = await running_job(orin, "finishes")

        orin.agent.signal(signal.SIGTERM)
        await orin.device.until(lambda beat: beat.state is DeviceState.DRAINING)
        end = await stream.until("end")
        last = await orin.device.until(lambda beat: beat.state is DeviceState.STOPPED, ever=True)

        assert await orin.agent.ended() == 0
        assert (end["usage"]["completion_tokens"], stream.kinds[-1]) == (60, "")
        assert last is orin.device.heartbeats[-1]
        assert (last.in_flight, last.done) == (0, 1)


async def test_jobs_that_outlast_the_grace_are_handed_back() -> None:
    """With an error on which the dispatcher turns to another device; the device itself stops computing."""
    async with rig(DROVER_AGENT_GRACE_S="0.2") as orin:
        await orin.sim.fault("hang", times=1)
        stream = await orin.device.send()
        await stream.until("ack")

        orin.agent.signal(signal.SIGTERM)
        await stream.whole()
        error = await stream.until("err")

        assert await orin.agent.ended() == 0
        assert (error["code"], error["retry"]) == ("device_lost", True)
        await orin.sim.until({"in_flight": 0})


async def test_a_second_signal_ends_the_agent_at_once() -> None:
    """Whoever is in a hurry does not wait for the grace."""
    async with rig() as orin:
        await orin.sim.fault("hang", times=1)
        stream = await orin.device.send()
        await stream.until("ack")

        orin.agent.signal(signal.SIGTERM)
        await orin.device.until(lambda beat: beat.state is DeviceState.DRAINING)
        orin.agent.signal(signal.SIGTERM)

        assert await orin.agent.ended() == 128 + signal.SIGTERM


async def test_the_drain_door_closes_and_opens_the_device() -> None:
    """A job is refused while it is closed; the heartbeat and the probe say so."""
    async with rig() as orin:
        closed = await orin.device.ask("drain", b'{"on":true}')
        beat = await orin.device.until(lambda beat: beat.state is DeviceState.DRAINING, ever=True)
        refused = await orin.device.send()
        await refused.whole()
        probe = await orin.device.ask("probe")
        opened = await orin.device.ask("drain", b'{"on":false}')
        taken = await orin.device.send(options={"max_tokens": 3})
        await taken.whole()

        assert (closed, opened) == ({"state": "draining"}, {"state": "ready"})
        assert (refused.error, taken.error) == ("busy", None)
        assert (probe["state"], probe["in_flight"]) == ("draining", 0)
        assert beat.reason == "takes no new jobs"


async def test_what_nobody_waits_for_drains_nothing() -> None:
    """An empty message without a reply subject is what a stream says that has no such message, to whoever named that door."""
    async with rig() as orin:
        await orin.bus.publish("llm.v1.dev.orin.drain", b"")
        probe = await orin.device.ask("probe")

        assert "ready" == probe["state"]


async def test_the_agent_answers_discovery() -> None:
    """PING, INFO and STATS, to all, by name and by instance; the job endpoint carries slots, models and speeds."""
    async with rig() as orin:
        stream = await orin.device.send(options={"max_tokens": 5})
        await stream.whole()
        instance = orin.device.heartbeats[-1].boot
        answers: dict[str, dict[str, Any]] = {}
        for subject in (f"PING.llm-agent.{instance}", "PING", "INFO.llm-agent", "STATS.llm-agent"):
            answer = await orin.bus.request(f"$SRV.{subject}", b"", timeout_s=GUARD_S)
            answers[subject] = json.loads(answer.data)
        job = answers["STATS.llm-agent"]["endpoints"][0]

        assert {answer["id"] for answer in answers.values()} == {instance}
        assert answers["PING"]["type"] == "io.nats.micro.v1.ping_response"
        assert [endpoint["subject"] for endpoint in answers["INFO.llm-agent"]["endpoints"]] == [
            f"llm.v1.dev.orin.{verb}" for verb in ("job", "cancel", "drain", "probe", "load")
        ]
        assert (job["num_requests"], job["num_errors"], job["data"]["slots"]) == (1, 0, 1)
        assert job["processing_time"] > 0
        assert "tinyllama:1.1b" in job["data"]["speeds"]


async def test_an_agent_outlives_its_nats_server() -> None:
    """The job under way is given up when nobody can hear of it, nothing stale is sent afterwards, and the same boot serves on."""
    async with rig(DROVER_HEARTBEAT_S="0.2") as orin:
        await orin.sim.fault("slow", factor=500, times=1)
        stream = await orin.device.send(options={"max_tokens": 1500})
        await stream.until("tok")
        before = orin.device.heartbeats[-1]

        await orin.nats.stop()
        await orin.sim.until({"in_flight": 0}, within_s=GUARD_S)
        await orin.nats.restart()
        after = await orin.device.until(lambda beat: beat.seq > before.seq and beat.in_flight == 0)
        again = await orin.device.send(options={"max_tokens": 3})
        await again.whole()

        numbers = [beat.seq for beat in orin.device.heartbeats]
        assert numbers == sorted(set(numbers))
        assert (after.boot, again.error) == (before.boot, None)
        assert stream.error is None


async def test_many_slots_run_many_jobs() -> None:
    """Four jobs at once on a device that was told to run four."""
    async with rig(num_parallel=4) as orin:
        await orin.sim.fault("hang", times=4)
        streams = [await orin.device.send(job=f"parallel-{number}") for number in range(5)]
        await streams[4].whole()
        beat = await orin.device.until(lambda beat: beat.in_flight == 4)
        for number in range(4):
            await orin.device.ask("cancel", json.dumps({"job": f"parallel-{number}"}).encode())
        for stream in streams:
            await stream.whole()

        assert (beat.slots, beat.jobs_by_dispatcher) == (4, {"tester": 4})
        assert [stream.error for stream in streams] == ["cancelled"] * 4 + ["busy"]


async def test_the_echo_backend_answers_in_four_messages() -> None:
    """What a benchmark counts on; and its text says what it is."""
    async with nats_server() as nats, bus_on(nats) as bus, agent_process(nats.url, "echo", DROVER_BACKEND="echo"):
        ready = asyncio.Event()

        def hear(delivery: Delivery) -> None:
            if codec.decode(delivery.data)["state"] == "ready":
                ready.set()

        await bus.subscribe("llm.v1.hb.echo", hear)
        async with asyncio.timeout(GUARD_S):
            await ready.wait()
        heard = Listener()
        await bus.subscribe("_INBOX_disp.tester.1.1", heard)
        body = {
            "job": "e1",
            "attempt": 1,
            "dispatcher": "t",
            "model": "echo",
            "messages": [{"role": "user", "content": "hi"}],
        }
        await bus.publish("llm.v1.dev.echo.job", codec.encode(body), reply="_INBOX_disp.tester.1.1")
        await heard.until(4)

        assert [codec.decode(data).get("d") for data in heard.data[:3]] == [None, "echo: hi", None]
        assert heard.data[3] == b""

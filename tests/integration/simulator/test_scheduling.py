"""Loading, slots, the queue, memory, and what a hang-up sets free."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from tests.integration.simulator.raw import posted
from tests.simulated import SimulatedDevice, simulator

LLAMA, TINY, QWEN_7B = "llama3.2:3b", "tinyllama:1.1b", "qwen2.5:7b"


def chat(model: str = LLAMA, *, words: int = 50, stream: bool = True, **fields: Any) -> dict[str, Any]:
    """A request for an answer of about that many words."""
    messages = [{"role": "user", "content": f"Tell me about bridges in {words} words"}]
    return {"model": model, "messages": messages, "stream": stream, **fields}


async def load(device: SimulatedDevice, model: str = LLAMA) -> None:
    status, answer = await device.call("POST", "/api/chat", {"model": model})
    assert (status, answer["done_reason"]) == (200, "load")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_hang_up_in_decode_frees_the_slot(stream: bool) -> None:
    """With one slot, the next client is served although the first answer would have taken minutes."""
    async with simulator("orin", time_factor=20) as device:
        await load(device)
        async with posted(device, "/api/chat", chat(words=9000, stream=stream)):
            await device.until({"decoding": 1})
        state = await device.until({"in_flight": 0, "decoding": 0, "aborted_by_client": 1})
        status, answer = await device.call("POST", "/api/chat", chat(stream=False))
        assert (state["completed"], status) == (1, 200)

        assert answer["done_reason"] == "stop"


async def test_a_hang_up_while_waiting_for_a_slot_leaves_the_queue() -> None:
    """The waiting request never takes a slot."""
    async with simulator("orin", time_factor=20) as device:
        await load(device)
        async with posted(device, "/api/chat", chat(words=9000)):
            await device.until({"in_flight": 1})
            async with posted(device, "/api/chat", chat()):
                await device.until({"queued": 1})
            state = await device.until({"queued": 0, "aborted_by_client": 1})

            assert state["in_flight"] == 1


async def test_a_hang_up_during_the_load_gives_the_load_up() -> None:
    """As with Ollama, the load belongs to the request; nothing stays loaded."""
    async with simulator("orin", time_factor=0.1) as device:
        async with posted(device, "/api/chat", chat()):
            await device.until({"loading": 1})
        state = await device.until({"loading": 0, "aborted_by_client": 1})

        assert (state["loads_aborted"], state["loaded"]) == (1, [])


async def test_the_next_in_turn_loads_anew_after_a_given_up_load() -> None:
    """The second request for the model is served when the first one's client has left."""
    async with simulator("orin", time_factor=0.5) as device:  # a load of 2.3 s takes twice that
        async with AsyncExitStack() as first:
            await first.enter_async_context(posted(device, "/api/chat", chat()))
            await device.until({"loading": 1})
            async with posted(device, "/api/chat", chat(words=1, options={"num_predict": 1})) as second:
                await device.until({"queued": 1})
                await first.aclose()
                answered = await second.status()
        state = await device.until({"completed": 1})

        assert (answered, state["loads_aborted"], state["loads"]) == (200, 1, 2)


async def test_a_hang_up_in_prefill_is_noticed_when_the_prompt_is_read() -> None:
    """The slot stays taken until then, and no token is decoded after it."""
    async with simulator("pi5", time_factor=20) as device:
        await load(device)
        long_prompt = chat(words=5)
        long_prompt["messages"][0]["content"] += " word" * 1500  # 1500 tokens at 12.3 tok/s, / 20: 6 s
        async with posted(device, "/api/chat", long_prompt):
            await device.until({"prefilling": 1})
        still = await device.state()
        assert (still["in_flight"], still["prefilling"]) == (1, 1)

        freed = await device.until({"in_flight": 0, "prefilling": 0, "aborted_by_client": 1})
        assert (freed["decoding"], freed["completed"]) == (0, still["completed"])


async def test_slots_decode_side_by_side_and_slower() -> None:
    """With two slots both answers run at once, each at less than the speed of one alone, together faster."""
    async with simulator("orin", time_factor=20, num_parallel=2) as device:
        await load(device)
        alone = (await device.call("POST", "/api/chat", chat(stream=False)))[1]
        async with asyncio.TaskGroup() as group:
            both = [group.create_task(device.call("POST", "/api/chat", chat(words=1000, stream=False))) for _ in "ab"]
            await device.until({"decoding": 2})
        speeds = [
            answer["eval_count"] / answer["eval_duration"] * 1e9 for _, answer in [task.result() for task in both]
        ]
        single = alone["eval_count"] / alone["eval_duration"] * 1e9

        assert all(single / 2 < speed < 0.95 * single for speed in speeds)


async def test_requests_beyond_the_slots_wait_without_bound() -> None:
    """For a loaded model Ollama never answers 503, however short its queue is: an agent must refuse by itself."""
    async with simulator("orin", max_queue=1) as device:
        await load(device)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(device.call("POST", "/api/chat", chat(words=5, stream=False))) for _ in range(6)]
        statuses = [task.result()[0] for task in asked]

        assert statuses == [200] * 6


async def test_requests_beyond_the_load_queue_get_503() -> None:
    """One loads, one waits, the others are told that the server is busy."""
    async with simulator("orin", time_factor=0.2, max_queue=1) as device, AsyncExitStack() as held:
        await held.enter_async_context(posted(device, "/api/chat", chat()))
        await device.until({"loading": 1})
        await held.enter_async_context(posted(device, "/api/chat", chat()))
        await device.until({"queued": 1})
        answer = await device.call("POST", "/api/chat", chat())
        state = await device.state()
        assert state["rejected_503"] == 1

        assert answer == (503, {"error": "server busy, please try again.  maximum pending requests exceeded"})


async def test_too_large_a_model_is_refused_with_the_sizes() -> None:
    """The Nano can pull a 3B model, but not load it."""
    async with simulator("nano", time_factor=1000) as device:
        pulled = await device.call("POST", "/api/pull", {"model": LLAMA, "stream": False})
        answer = await device.call("POST", "/api/chat", chat())
        assert pulled == (200, {"status": "success"})

        # 2,019,393,189 + 114,688 x 4096 + 150,000,000 bytes; 2,075,131,904 - 450,000,000 bytes
        assert answer == (500, {"error": "model requires more system memory (2.5 GiB) than is available (1.5 GiB)"})


async def test_an_idle_model_leaves_when_another_needs_the_room() -> None:
    """3B and 1B fit together on the Orin; the 7B takes the room of the one that was used longer ago."""
    async with simulator("orin", time_factor=200, keep_alive=-1) as device:  # five minutes would be 1.5 s
        for model in (LLAMA, TINY):
            await load(device, model)
        both = (await device.state())["loaded"]
        await load(device, QWEN_7B)
        state = await device.state()
        assert sorted(both) == [LLAMA, TINY]

        assert (QWEN_7B in state["loaded"], LLAMA in state["loaded"], state["evictions"] >= 1) == (True, False, True)


async def test_a_busy_model_is_not_taken_away() -> None:
    """The newcomer waits until the running answer is done, and both are served."""
    async with simulator("orin", time_factor=50) as device, asyncio.TaskGroup() as group:
        await load(device)
        first = group.create_task(device.call("POST", "/api/chat", chat(words=2000, stream=False)))
        await device.until({"decoding": 1})
        second = group.create_task(device.call("POST", "/api/chat", chat(QWEN_7B, words=5, stream=False)))
        await device.until({"queued": 0, "completed": 3})
        state = await device.state()

        assert ([first.result()[0], second.result()[0]], state["loaded"]) == ([200, 200], [QWEN_7B])


async def test_another_context_reloads_the_model() -> None:
    """num_ctx belongs to the loaded model: asking for another one loads it again."""
    async with simulator("orin", time_factor=200, keep_alive=-1) as device:
        await load(device)
        await device.call("POST", "/api/chat", chat(words=1, stream=False, options={"num_ctx": 8192}))
        _, shown = await device.call("GET", "/api/ps")
        state = await device.state()

        assert (state["loads"], shown["models"][0]["context_length"]) == (2, 8192)


async def test_an_unused_model_leaves_after_its_keep_alive() -> None:
    """Ten device seconds are a twentieth of a second at a time factor of 200."""
    async with simulator("orin", time_factor=200, keep_alive="10s") as device:
        await load(device)
        state = await device.until({"loaded": []})

        assert state["memory_available_bytes"] == 6_590_149_120


async def test_the_environment_of_a_real_ollama_is_obeyed() -> None:
    """OLLAMA_CONTEXT_LENGTH and OLLAMA_NUM_PARALLEL set context and slots."""
    environment = {"OLLAMA_CONTEXT_LENGTH": "8192", "OLLAMA_NUM_PARALLEL": "2", "OLLAMA_KEEP_ALIVE": "-1"}
    async with simulator("orin", time_factor=200, environment=environment) as device:
        await load(device)
        _, shown = await device.call("GET", "/api/ps")
        (entry,) = shown["models"]

        # 2,019,393,189 + 114,688 x 8192 x 2 + 400,000,000
        assert (entry["context_length"], entry["size"]) == (8192, 4_298_441_381)


async def test_energy_is_idle_plus_work() -> None:
    """The true energy of an answer lies between all idle and all at full power, and above idle alone."""
    async with simulator("orin", time_factor=50) as device:
        await load(device)
        before = await device.state()
        await device.call("POST", "/api/chat", chat(words=100, stream=False))
        after = await device.state()
        elapsed_s = after["uptime_s"] - before["uptime_s"]
        used_j = after["energy_j"] - before["energy_j"]

        assert 1.02 * 5.5 * elapsed_s < used_j < 15.5 * elapsed_s


async def test_sensors_tell_what_a_board_s_would() -> None:
    """What an agent reads as telemetry: bytes, degrees, watts now, and without and with a job; a GPU, and what throttles."""
    async with simulator("pi5") as device, httpx.AsyncClient(trust_env=False) as http:
        sensed = (await http.get(f"{device.url}/sim/sensors")).json()

        assert sensed == {
            "memory_total_bytes": 8_443_265_024,
            "memory_available_bytes": 7_843_265_024,
            "temperature_c": 35.2,
            "watts": 3.0,
            "idle_watts": 3.0,
            "busy_watts": 10.5,
            "gpu": False,
            "throttled": False,
            "throttling": [],
        }

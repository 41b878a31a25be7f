"""A whole fleet of real processes, seen by the clients that people have, while parts of it are killed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import openai
import psutil
import pytest

from common.client import Drover
from common.errors import UnknownModel
from common.messages import Options
from tests.commands import GUARD_S, Running, running

MODELS = {"auto", "tinyllama:1.1b", "llama3.2:3b", "qwen2.5:1.5b"}
READY = r"drover is up: (http://127\.0\.0\.1:\d+)  \((nats://127\.0\.0\.1:\d+)\)"
PROMPT = "Tell me in 150 words how a queue works."


@dataclass(frozen=True, slots=True)
class Fleet:
    """Where a fleet is, and its processes."""

    up: Running
    http: str
    nats: str

    def kill(self, device: str) -> None:
        """Kill a device as a power cut does: its agent and its simulator, at once."""
        victims = [one for one in self.up.children() if _environment(one).get("DROVER_DEVICE") == device]
        address = next(url for one in victims if (url := _environment(one).get("OLLAMA_HOST")))
        port = int(address.rsplit(":", 1)[1])
        victims += [one for one in self.up.named("agents.simulator") if _listens(one, port)]
        assert len(victims) == 2
        for victim in victims:
            victim.kill()


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def _listens(process: psutil.Process, port: int) -> bool:
    return any(one.laddr and one.laddr.port == port for one in process.net_connections() if one.status == "LISTEN")


@asynccontextmanager
async def fleet(cwd: Path, **environment: str) -> AsyncIterator[Fleet]:
    """Three simulated devices, faster than life, nothing started again when it dies."""
    knobs = {
        "DROVER_HTTP_PORT": "0",
        "DROVER_NATS_PORT": "0",
        "DROVER_SIM_TIME_FACTOR": "30",
        "DROVER_ACCEPT_S": "10",  # a busy machine must not make every device silent
        "OLLAMA_HOST": "http://127.0.0.1:9",  # the discard port: no Ollama is there
        "DROVER_RESTART": "false",
        "DROVER_LEDGER": "off",  # a process less; other tests have it
        **environment,
    }
    async with running("up", cwd=cwd, **knobs) as up:
        found = await up.until(READY)
        yield Fleet(up, found[1], found[2])


async def test_the_openai_package_gets_chats(tmp_path: Path) -> None:
    """Streamed and in one piece, `auto` and a real model: the same account of where it ran."""
    async with fleet(tmp_path) as house:
        client = openai.AsyncOpenAI(base_url=f"{house.http}/v1", api_key="unused", max_retries=0)
        models: set[str] = set()
        async with asyncio.timeout(GUARD_S):
            # It is up when a device can be asked; on a busy machine the last one comes a moment later.
            while not models >= MODELS:
                models = {model.id async for model in client.models.list()}
        whole = await client.chat.completions.with_raw_response.create(
            model="tinyllama:1.1b@nano", messages=[{"role": "user", "content": PROMPT}]
        )
        reply = whole.parse()
        stream = await client.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": PROMPT}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        await client.close()

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert (whole.headers["x-drover-device"], whole.headers["x-drover-model"]) == ("nano", "tinyllama:1.1b")
    assert (reply.choices[0].message.content or "").startswith("[simulated nano/tinyllama:1.1b]")
    assert re.match(r"\[simulated (nano|orin|pi5)/\S+\] ", text)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 20


async def test_the_python_library_chats_and_asks(tmp_path: Path) -> None:
    """The five lines of README, and a typed error for a model that nobody has."""
    async with fleet(tmp_path, DROVER_DEVICES="orin") as house, Drover.connect(house.nats) as drover:
        stream = drover.chat(PROMPT)
        text = "".join([str(chunk) async for chunk in stream])
        answer = await drover.ask("And now shorter.", options=Options(max_tokens=12))
        with pytest.raises(UnknownModel, match="no device has the model 'gpt-7:latest'"):
            await drover.ask("hi", model="gpt-7")

    assert stream.answer is not None
    assert (stream.answer.text, stream.answer.device) == (text, "orin")
    assert (answer.finish, answer.usage.completion_tokens) == ("length", 12)


async def test_killing_a_device_under_load_fails_no_request(tmp_path: Path) -> None:
    """One of three devices dies with its jobs, streams that have begun among them: every answer is whole, and none is two."""
    # All ask the same: one answer for all would be one job, maybe elsewhere.
    async with fleet(tmp_path, DROVER_CACHE="off") as house, Drover.connect(house.nats) as drover:
        client = openai.AsyncOpenAI(base_url=f"{house.http}/v1", api_key="unused", max_retries=0)
        on_orin = asyncio.Event()

        async def over_nats() -> str:
            stream = drover.chat(PROMPT)
            return "".join([str(chunk) async for chunk in stream])

        async def over_http(*, streamed: bool) -> str:
            asked = {"model": "auto", "messages": [{"role": "user", "content": PROMPT}]}
            if not streamed:
                reply = await client.chat.completions.create(**asked)
                return reply.choices[0].message.content or ""
            chunks = await client.chat.completions.create(**asked, stream=True)
            text = ""
            async for chunk in chunks:
                text += chunk.choices[0].delta.content or ""
                if "[simulated orin" in text:
                    on_orin.set()
            return text

        async with asyncio.timeout(2 * GUARD_S), asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(over_nats()) for _ in range(8)]
            asked += [tasks.create_task(over_http(streamed=number % 2 == 0)) for number in range(16)]
            await on_orin.wait()
            house.kill("orin")
        texts = [task.result() for task in asked]
        await client.close()

    labels = [len(re.findall(r"\[simulated ", text)) for text in texts]
    assert labels == [1] * 24
    assert all(len(text.split()) > 20 for text in texts)


async def test_a_stream_goes_on_where_another_device_can_continue_it(tmp_path: Path) -> None:
    """A device dies in the middle of its text: the producer reads on, and the account names both."""
    async with (
        # The answer takes 8 s there, or 12: enough to be in its middle also after a busy machine's pause.
        fleet(tmp_path, DROVER_DEVICES="orin,nx", DROVER_SIM_TIME_FACTOR="6") as house,
        Drover.connect(house.nats) as drover,
    ):
        stream = drover.chat("Tell me in 600 words how a queue works.", model="llama3.2:3b")
        text = ""
        async for chunk in stream:
            before, text = len(text), text + str(chunk)
            if before <= 120 < len(text):  # once, in the middle
                house.kill(re.findall(r"\[simulated (\w+)", text)[0])

    assert stream.answer is not None
    attempts = [(attempt["device"], attempt["outcome"]) for attempt in stream.answer.route["attempts"]]
    assert len(attempts) == 2
    assert attempts[1][1] == "ok"
    assert {attempts[0][0], attempts[1][0]} == {"orin", "nx"}
    assert text.count("[simulated") == 1
    assert stream.answer.text == text

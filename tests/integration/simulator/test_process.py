"""The simulator as a process: how it starts, how it refuses to, how it stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.integration.simulator.raw import posted
from tests.simulated import simulator

ENDLESS = {"model": "llama3.2:3b", "messages": [{"role": "user", "content": "Tell me all in 9000 words"}]}
# The promise is a second, the machine may be busy; the streams would go on for minutes.
STOP_GUARD_S = 20.0


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agents.simulator", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_it_though_streams_are_open(stop: signal.Signals) -> None:
    """Streams in decode and in prefill do not hold the process up."""
    async with simulator("pi5", time_factor=1, num_parallel=2, keep_alive=-1) as device:
        async with posted(device, "/api/chat", ENDLESS), posted(device, "/api/chat", ENDLESS):
            await device.until({"loading": 1})
            device.process.send_signal(stop)
            async with asyncio.timeout(STOP_GUARD_S):
                status = await device.process.wait()

        assert status in (-stop, 128 + stop)


async def test_a_signal_stops_it_in_the_middle_of_answers() -> None:
    """One request decodes, another reads its prompt: both are dropped."""
    async with simulator("orin", time_factor=1, num_parallel=2) as device:  # 4000 tokens are read in 6 s
        slow = {**ENDLESS, "messages": [{"role": "user", "content": "word " * 4000}], "options": {"num_predict": 1}}
        async with posted(device, "/api/chat", ENDLESS):
            await device.until({"decoding": 1})
            async with posted(device, "/api/chat", slow):
                await device.until({"prefilling": 1})
                device.process.terminate()
                async with asyncio.timeout(STOP_GUARD_S):
                    status = await device.process.wait()

        assert status == -signal.SIGTERM


def test_a_taken_port_is_one_clear_line() -> None:
    """Exit status 1, nothing on stdout, one line that names address and reason on stderr."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("--port", str(port))
        reason = (
            f"drover-simulator: can't listen on 127.0.0.1:{port}: Address already in use; try --port 0 for a free one\n"
        )

        assert (1, "", reason) == (ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--profile", "cray"], "'cray' is no profile"),
        (["--port", "70000"], "'70000' is no whole number from 0 to 65535"),
        (["--time-factor", "0"], "'0' is no number above 0"),
        (["--time-factor", "nan"], "'nan' is no number above 0"),
        (["--num-parallel", "none"], "'none' is no whole number"),
        (["--keep-alive", "soon"], "'soon' is no duration"),
    ],
)
def test_a_wrong_flag_names_its_value(arguments: list[str], named: str) -> None:
    """The usage message says what was given and what would do."""
    ended = run(*arguments)

    assert (ended.returncode, named in ended.stderr) == (2, True)


def test_a_wrong_environment_is_told_like_a_wrong_flag() -> None:
    """Values from the environment are checked too."""
    ended = run(OLLAMA_MAX_QUEUE="many")

    assert (ended.returncode, "'many' is no whole number" in ended.stderr) == (2, True)


async def test_the_environment_can_set_profile_and_time_factor() -> None:
    """What no flag sets comes from the environment; flags win."""
    async with simulator("nano", environment={"DROVER_SIM_PROFILE": "agx", "DROVER_SIM_SEED": "7"}) as device:
        state = await device.state()

        assert (state["profile"], state["time_factor"]) == ("nano", 50.0)


async def test_a_flag_that_is_not_given_comes_from_the_environment() -> None:
    """The seed of the environment changes the text."""
    ask = {**ENDLESS, "stream": False, "options": {"num_predict": 30}}
    texts = []
    for seed in ("1", "2"):
        async with simulator("agx", environment={"DROVER_SIM_SEED": seed}) as device:
            texts.append((await device.call("POST", "/api/chat", ask))[1]["message"]["content"])

    assert texts[0] != texts[1]


async def test_leaving_the_context_ends_the_process_even_after_a_failure() -> None:
    """The test helper leaves nothing behind."""
    with pytest.raises(RuntimeError, match="a failing test"):
        async with simulator("pi5") as device:
            raise RuntimeError("a failing test")

    assert device.process.returncode is not None

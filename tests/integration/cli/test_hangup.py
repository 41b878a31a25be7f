"""A terminal that closes: whoever runs on it stops as after Ctrl-C, unless it was told not to mind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import psutil
import pytest

from common import codec
from common.bus.nats import NatsOptions, connect_nats
from tests.commands import DROVER, GUARD_S, clean_environment, drover, end, gone
from tests.integration.cli.test_up import READY, fleet, knobs
from tests.nats_server import nats_server
from tests.terminal import on_terminal

ROOT = Path(__file__).parents[3]


def make_up(directory: Path) -> tuple[str, ...]:
    """`make up` without its set-up, of the code under test, away from any `.env`."""
    wrapper = directory / "bin" / "drover"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\ncd {directory} && exec {" ".join(DROVER)} "$@"\n')
    wrapper.chmod(0o755)
    return ("make", "-C", str(ROOT), "-o", "setup", "up", f"BIN={wrapper.parent}")


@pytest.mark.parametrize("who", ["make", "drover"])
async def test_a_terminal_that_closes_takes_the_fleet_down(tmp_path: Path, who: str) -> None:
    """In good order, also where make leads the session: make keeps the SIGHUP to itself and waits for us."""
    command = make_up(tmp_path) if who == "make" else (*DROVER, "up")
    async with on_terminal(*command, cwd=tmp_path, **knobs()) as terminal:
        await terminal.until(f"{READY}.*nano.*ready")
        everybody = psutil.Process(terminal.process.pid).children(recursive=True)
        terminal.close()
        await terminal.ended()
        await gone(*everybody)

    assert "agent.stopped" in (tmp_path / ".drover" / "log" / "agent-nano.log").read_text()


async def test_a_fleet_that_ignores_hangups_outlives_its_terminal(tmp_path: Path) -> None:
    """As under nohup: it sees that nobody looks any more, and goes on answering until it is told to stop."""
    command = ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *DROVER, "up")
    async with on_terminal(*command, cwd=tmp_path, **knobs()) as terminal:
        await terminal.until(f"{READY}.*nano.*ready")
        terminal.close()
        os.kill(terminal.process.pid, signal.SIGHUP)
        await _writes_to_nowhere(terminal.process.pid)
        answer = await drover("ask", "Say hello.", cwd=tmp_path)
        os.kill(terminal.process.pid, signal.SIGTERM)
        status = await terminal.ended()

    assert ("simulated nano" in answer.out, status) == (True, 0)


async def test_a_second_hangup_does_not_kill(tmp_path: Path) -> None:
    """The shell sends one and the kernel another: the fleet still has its time to stop."""
    async with fleet(tmp_path) as up:
        children = up.children()
        [agent] = up.named(r"-m agents$")
        agent.suspend()
        up.signal(signal.SIGHUP)
        await up.until("drover is stopping")
        up.signal(signal.SIGHUP)
        agent.resume()
        status = await up.ended()
        await gone(*children)

    assert (status, "agent.stopped" in (tmp_path / ".drover" / "log" / "agent-nano.log").read_text()) == (0, True)


async def test_a_reader_that_goes_first_does_not_break_the_stop(tmp_path: Path) -> None:
    """`make up | tee log`: Ctrl-C ends tee at once, and the fleet still stops in good order."""
    process = await asyncio.create_subprocess_exec(
        *(*DROVER, "up"), cwd=tmp_path, env=clean_environment(**knobs()), stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    )
    try:
        async with asyncio.timeout(GUARD_S):
            assert process.stdout is not None
            while b"drover is up" not in await process.stdout.readline():
                pass
            pipe = process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]  # the one way to close it
            pipe.close()
            os.kill(process.pid, signal.SIGINT)
            status = await process.wait()
    finally:
        await end(process)

    assert (status, "agent.stopped" in (tmp_path / ".drover" / "log" / "agent-nano.log").read_text()) == (0, True)


async def test_an_agent_whose_terminal_closes_says_goodbye(tmp_path: Path) -> None:
    """It drains as after SIGTERM, though its log has nowhere to go."""
    async with nats_server() as server, connect_nats(NatsOptions(urls=(server.url,), name="tester")) as bus:
        states: list[str] = []
        heard = asyncio.Event()

        def hear(delivery: object) -> None:
            states.append(str(codec.decode(delivery.data)["state"]))  # type: ignore[attr-defined]
            heard.set()

        await bus.subscribe("llm.v1.hb.desk", hear)
        await bus.flush()
        environment = {"NATS_URL": server.url, "DROVER_DEVICE": "desk", "DROVER_BACKEND": "echo"}
        async with on_terminal(sys.executable, "-P", "-m", "agents", cwd=tmp_path, **environment) as terminal:
            await terminal.until("agent.started")
            terminal.close()
            status = await terminal.ended()
            async with asyncio.timeout(GUARD_S):
                while "stopped" not in states:
                    heard.clear()
                    await heard.wait()

    assert (status, states[-1]) == (0, "stopped")


async def _writes_to_nowhere(pid: int) -> None:
    async with asyncio.timeout(GUARD_S):
        while _output(pid) != os.devnull:  # noqa: ASYNC110  # a file of the kernel's raises no event
            await asyncio.sleep(0.02)


def _output(pid: int) -> str:
    return str(Path(f"/proc/{pid}/fd/1").readlink())


async def test_a_process_on_a_terminal_ends_with_it(tmp_path: Path) -> None:
    """There a hang-up is what it always was, and no wish to read settings."""
    async with (
        nats_server() as server,
        on_terminal(*DROVER, "dispatcher", cwd=tmp_path, NATS_URL=server.url, LOG_FORMAT="json") as one,
    ):
        await one.until("dispatcher.ready")
        one.close()
        status = await one.ended()

    assert 0 == status

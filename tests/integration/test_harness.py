"""The tests' own ground: they mean the same, whoever starts them."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import psutil
import pytest

from tests.commands import GUARD_S, drover, gone
from tests.nats_server import PortTaken, nats_server

ROOT = Path(__file__).parents[2]
ONE = "tests/integration/simulator/test_process.py::test_a_signal_stops_it_though_streams_are_open"


async def test_a_run_that_ignores_signals_tests_processes_that_do_not() -> None:
    """`make test &` in a script and `nohup make test` ignore signals; what a test starts must not inherit that."""
    command = "trap '' HUP INT; exec \"$@\""
    pytest_once = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ONE)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command, "bash", *pytest_once), cwd=ROOT, stdout=PIPE, stderr=STDOUT
    )
    try:
        async with asyncio.timeout(GUARD_S):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert process.returncode == 0, out.decode()


async def test_a_port_that_another_server_holds_is_no_server_of_ours() -> None:
    """Who asks for it is told, and does not silently share the other one's subjects."""
    async with nats_server() as first:
        with pytest.raises(PortTaken, match="address already in use"):
            async with nats_server(port=first.port):
                raise AssertionError("it was taken for ours")


async def test_a_command_that_is_cut_short_leaves_nothing_behind(tmp_path: Path) -> None:
    """A measurement that is waited for no longer is killed with all that it has started, which would run for ever."""
    async with asyncio.TaskGroup() as tasks:
        measuring = tasks.create_task(drover("lab", "speed", "--quick", cwd=tmp_path))
        async with asyncio.timeout(GUARD_S):
            while len(started := _at_work_in(tmp_path)) < 3:  # noqa: ASYNC110  # strangers' starts raise no event
                await asyncio.sleep(0.02)
        measuring.cancel()
    await gone(*started)

    assert [] == _at_work_in(tmp_path)


def _at_work_in(folder: Path) -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(folder)]

"""The command itself: its help, its version, and what it says when it can't start."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.agent_process import agent_environment
from tests.listening import GUARD_S
from tests.nats_server import free_port


async def run(
    directory: Path, *arguments: str, nats_url: str = "nats://127.0.0.1:1", **environment: str
) -> tuple[int, str]:
    """Run the command to its end; give its status and all it wrote."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agents",
        *arguments,
        cwd=directory,
        env=agent_environment(nats_url, "nano", **environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(GUARD_S):
            written, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, written.decode()


async def test_help_lists_every_knob(tmp_path: Path) -> None:
    """The environment is all the configuration there is."""
    status, written = await run(tmp_path, "--help")

    assert status == 0
    assert all(knob in written for knob in ("NATS_URL", "OLLAMA_HOST", "DROVER_SLOTS", "DROVER_FLUSH_MS", "LOG_LEVEL"))


async def test_version_names_the_command(tmp_path: Path) -> None:
    """As a package manager expects."""
    status, written = await run(tmp_path, "--version")

    assert (status, written.split()[0]) == (0, "drover-agent")


async def test_wrong_settings_are_all_named(tmp_path: Path) -> None:
    """Two faults, one message, no traceback."""
    status, written = await run(tmp_path, DROVER_SLOTS="none", DROVER_HEARTBEAT_S="0")

    assert status == os.EX_CONFIG  # a supervisor knows that it is in vain to start it again
    assert "DROVER_SLOTS='none'" in written
    assert "DROVER_HEARTBEAT_S='0'" in written
    assert "Traceback" not in written


@pytest.mark.parametrize(
    ("key", "status", "words"), [("sk-0123456789", 0, ""), ("", os.EX_CONFIG, "OPENAI_API_KEY is not set")]
)
async def test_a_check_starts_nothing(tmp_path: Path, key: str, status: int, words: str) -> None:
    """It needs no NATS server, and keeps no account."""
    knobs = {"DROVER_BACKEND": "openai", "DROVER_CLOUD_MODELS": "m=1/2", "OPENAI_API_KEY": key}
    ended, written = await run(tmp_path, "--check", **knobs)

    assert (ended, words in written, _names(tmp_path)) == (status, True, [])


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_a_missing_nats_server_is_a_clear_message(tmp_path: Path) -> None:
    """It names the address and the way out."""
    url = f"nats://127.0.0.1:{free_port()}"

    status, written = await run(tmp_path, nats_url=url, DROVER_NATS_CONNECT_WAIT_S="0.5")

    assert status == 1
    assert url in written
    assert "NATS_URL" in written
    assert "Traceback" not in written

"""A socket that is handed to the bridge, as `drover up` and systemd's .socket units do it: sd_listen_fds(3)."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.bridge_process import START_S, bridge_environment
from tests.commands import started
from tests.nats_server import NatsServer

BRIDGE = (sys.executable, "-m", "dispatcher.bridge")
SHELF = {"PYTHONPATH": str(Path(__file__).parents[3])}


@asynccontextmanager
async def handed(
    one: socket.socket, directory: Path, command: tuple[str, ...] = (), **settings: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A bridge that gets this socket."""
    argv = command or (sys.executable, "-m", "dispatcher.cli.handover", str(one.fileno()), *BRIDGE)
    environment = bridge_environment(**SHELF, **settings)
    async with started(
        *argv, cwd=directory, env=environment, pass_fds=(one.fileno(),), stdout=PIPE, stderr=PIPE
    ) as process:
        yield process


async def refusal(one: socket.socket, directory: Path, **settings: str) -> tuple[int | None, str]:
    """Hand over what can't be used; gives the exit status and what was said."""
    async with handed(one, directory, **settings) as process, asyncio.timeout(START_S):
        _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_a_handed_socket_is_served_from_its_backlog(nats: NatsServer, tmp_path: Path) -> None:
    """Who connected before the bridge ran is answered, and the bridge's own port does not matter."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        async with httpx.AsyncClient(timeout=START_S, trust_env=False) as http, asyncio.TaskGroup() as tasks:
            early = tasks.create_task(http.get(f"http://127.0.0.1:{port}/v1/models"))
            async with handed(listening, tmp_path, NATS_URL=nats.url, DROVER_HTTP_PORT="1"):
                response = await early

    assert response.status_code == 200


async def test_a_socket_for_another_process_is_left_alone(nats: NatsServer, tmp_path: Path) -> None:
    """LISTEN_PID names whom it is for: the variables may be left over in an environment."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        leftovers = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
        async with handed(listening, tmp_path, BRIDGE, NATS_URL=nats.url, **leftovers) as process:
            assert process.stdout is not None
            async with asyncio.timeout(START_S):
                line = (await process.stdout.readline()).decode()

    assert ("bridge listening on http://127.0.0.1:" in line, line.strip().endswith(f":{port}")) == (True, False)


@pytest.mark.parametrize("kind", ["unix", "datagram", "silent"])
async def test_what_is_no_tcp_socket_that_listens_is_refused(nats: NatsServer, tmp_path: Path, kind: str) -> None:
    """One clear line with what the unit needs, and status 1."""
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM) as odd:
        odd.bind(str(tmp_path / "it.sock") if kind == "unix" else ("127.0.0.1", 0))
        status, said = await refusal(odd, tmp_path, NATS_URL=nats.url)

    assert (status, said.count("\n"), "ListenStream=127.0.0.1:8080" in said) == (os.EX_CONFIG, 1, True)


async def test_a_handed_socket_keeps_other_machines_out_too(nats: NatsServer, tmp_path: Path) -> None:
    """A unit with `ListenStream=8080` is open to all: that must be accepted in so many words."""
    with socket.create_server(("0.0.0.0", 0)) as listening:  # that is what is refused
        status, said = await refusal(listening, tmp_path, NATS_URL=nats.url, DROVER_HTTP_KEYS="off")

    told = ("asks nobody for a key" in said, "DROVER_HTTP_ALLOW_REMOTE=true" in said)
    assert (status, told) == (os.EX_CONFIG, (True, True))

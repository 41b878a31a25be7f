"""Starts a device simulator as a process of its own, for any test that needs a device; it knows nothing of agents."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

_READY = "listening on "
_START_S = 30.0
_STOP_S = 20.0
# What the machine that runs the tests may have set for a real Ollama must not change a simulated one.
_FOREIGN = ("OLLAMA_", "DROVER_SIM_")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDevice:
    """A running simulator."""

    url: str
    process: asyncio.subprocess.Process

    @property
    def port(self) -> int:
        """Give the port it listens on."""
        return int(self.url.rsplit(":", 1)[1])

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Make one small request; give the status and the decoded JSON (or the text)."""
        return await asyncio.to_thread(_call, method, self.url + path, body)

    async def state(self) -> dict[str, Any]:
        """Give what goes on in the device."""
        _, state = await self.call("GET", "/sim/state")
        return dict(state)

    async def fault(self, kind: str, **details: object) -> None:
        """Order a fault."""
        status, answer = await self.call("POST", "/sim/faults", {"kind": kind, **details})
        assert status == 200, answer

    async def until(self, expected: Mapping[str, Any], *, within_s: float = 30.0) -> dict[str, Any]:
        """Wait until the state shows all the expected values, and give it; raise AssertionError when it never does."""
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            state = await self.state()
            if all(state[key] == value for key, value in expected.items()):
                return state
            if asyncio.get_running_loop().time() > deadline:
                shown = {key: state[key] for key in expected}
                raise AssertionError(f"the simulator never came to {dict(expected)}; it is at {shown}")
            await asyncio.sleep(0.01)

    def kill(self) -> None:
        """Take the device off the net as a power cut does; leaving the context does the tidying."""
        if self.process.returncode is None:
            self.process.kill()


@asynccontextmanager
async def simulator(
    profile: str,
    *,
    time_factor: float = 50.0,
    port: int = 0,
    environment: Mapping[str, str] | None = None,
    **flags: object,
) -> AsyncIterator[SimulatedDevice]:
    """Run a simulated device for the length of the block; `flags` are its flags, as num_parallel=2.

    Whatever happens inside, the process is gone when the block is left.
    """
    arguments = [f"--profile={profile}", f"--port={port}", f"--time-factor={time_factor}"]
    arguments += [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    own = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agents.simulator",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={**own, **(environment or {})},
    )
    try:
        yield SimulatedDevice(url=await _announced(process), process=process)
    finally:
        await _stopped(process)


async def _announced(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(_START_S):
        line = (await process.stdout.readline()).decode().strip()
    assert line.startswith(_READY), f"the simulator did not start: {line!r}, status {process.returncode}"
    return line.removeprefix(_READY)


async def _stopped(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        try:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except (TimeoutError, ProcessLookupError, asyncio.CancelledError):
            if process.returncode is None:
                process.kill()
            raise
        finally:
            if process.returncode is None:
                process.kill()
    await process.communicate()


def _call(method: str, url: str, body: object) -> tuple[int, Any]:
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)
    try:
        # Without the machine's proxy settings: the device is on this host.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.status, _decoded(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _decoded(error.read())


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")

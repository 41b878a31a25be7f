"""CPU time of a short request, process by process: whole or streamed, without a key, with one, and with one that has a budget."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from common import codec
from dispatcher.lab import http
from dispatcher.lab.speed.door.stage import ECHO_MODEL, SIMULATED_MODEL, Door

PROCESSES = ("bridge", "dispatcher", "agent", "broker", "ledger")
WAYS = ("whole", "stream")
ANSWER_TOKENS = 4
CONNECTIONS = 8
SETTLE_S = 0.5
"""The ledger writes what has ended a moment later."""

CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Case:
    """A model, and what its requests show at the door."""

    name: str
    model: str
    shows: str | None = None


CASES = (
    Case("open", ECHO_MODEL),
    Case("key", ECHO_MODEL, "key"),
    Case("budget", ECHO_MODEL, "budget"),
    Case("ollama", SIMULATED_MODEL),
)
"""`ollama` is `open` on the simulated device, whose agent speaks HTTP with it."""


async def prices(door: Door, requests: int) -> dict[str, float]:
    """Give CPU-milliseconds of one request, by case, way and process; `all` is their sum."""
    found: dict[str, float] = {}
    for case in CASES:
        for way in WAYS:
            spent = await _spent(door, case, chat_body(case.model, stream=way == "stream"), requests)
            found |= {f"door_{case.name}_{way}_{process}_cpu_ms": ms for process, ms in spent.items()}
            found[f"door_{case.name}_{way}_all_cpu_ms"] = sum(spent.values())
    return found


async def _spent(door: Door, case: Case, body: bytes, requests: int) -> dict[str, float]:
    port = door.port if case.shows is None else door.keyed_port
    headers = key_header(door, case.shows)
    await post_all(port, body, CONNECTIONS, headers)
    before = door.cpu_s()
    await post_all(port, body, requests, headers)
    await asyncio.sleep(SETTLE_S)
    after = door.cpu_s()
    stands_for = {
        "bridge": "bridge" if case.shows is None else "keyed",
        "agent": "simulated" if case.model == SIMULATED_MODEL else "agent",
    }
    names = {process: stands_for.get(process, process) for process in PROCESSES}
    return {process: (after[name] - before[name]) * 1000 / requests for process, name in names.items()}


def chat_body(model: str, *, stream: bool, max_tokens: int = ANSWER_TOKENS) -> bytes:
    """Write a short chat, which no cache answers."""
    asked = [{"role": "user", "content": "one two three four"}]
    return codec.encode({"model": model, "stream": stream, "messages": asked, "cache": "off", "max_tokens": max_tokens})


def short() -> bytes:
    """Write the short request that everything is compared with."""
    return chat_body(ECHO_MODEL, stream=False)


def key_header(door: Door, key: str | None) -> dict[str, str]:
    """Give the header that shows a key."""
    return {} if key is None else {"Authorization": f"Bearer {door.keys[key]}"}


async def post_all(port: int, body: bytes, count: int, headers: Mapping[str, str]) -> None:
    """Send so many requests on a few connections. Raises `RuntimeError` for one that is refused."""

    async def some(number: int) -> None:
        connection = await http.connect("127.0.0.1", port)
        for _ in range(number):
            status, answer = await connection.call("POST", CHAT, body, headers)
            if status != 200:
                raise RuntimeError(f"{CHAT} answered {status}: {answer[:300]!r}")
        await connection.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(some(max(1, count // CONNECTIONS)))

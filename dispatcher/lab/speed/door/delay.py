"""Time to the first text: a simulated device asked directly, and the same through bridge, dispatcher and agent, in turn."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Coroutine

from common import codec
from dispatcher.lab.speed.door.price import CHAT, chat_body
from dispatcher.lab.speed.door.reader import Reader, reading
from dispatcher.lab.speed.door.stage import SIMULATED_MODEL, SLOTS, Door

TOKENS = 16
AT_ONCE = (1, SLOTS)
TURNS = 4
"""So often both take turns: what slows the machine for a while slows both."""

Ask = Callable[[Reader], Coroutine[None, None, float]]


async def delays(door: Door, streams: int) -> dict[str, float]:
    """Give p50 and p99 in milliseconds, of so many streams each, one at a time and many at once, and what is added."""
    found: dict[str, float] = {}
    for at_once in AT_ONCE:
        direct: list[float] = []
        through: list[float] = []
        each = max(1, streams // at_once // TURNS)
        for _ in range(TURNS):
            direct += await _first_texts(door.device_port, _direct, at_once, each)
            through += await _first_texts(door.port, _through, at_once, each)
        for percent in (50, 99):
            bare, all_told = _quantile_ms(direct, percent), _quantile_ms(through, percent)
            name = f"door_ttft_{at_once}_p{percent}"
            found |= {f"{name}_direct_ms": bare, f"{name}_ms": all_told, f"{name}_added_ms": all_told - bare}
            found[f"{name}_ratio"] = all_told / bare
    return found


async def _first_texts(port: int, ask: Ask, at_once: int, each: int) -> list[float]:
    taken: list[float] = []

    async def one() -> None:
        async with reading(port) as reader:
            taken.extend([await ask(reader) for _ in range(each)])

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(one())
    return taken


async def _direct(reader: Reader) -> float:
    body = {
        "model": SIMULATED_MODEL,
        "messages": [{"role": "user", "content": "one two three four"}],
        "options": {"num_predict": TOKENS},
        "keep_alive": -1,
    }
    return await reader.first_text_s("/api/chat", codec.encode(body), b'"content":"', b'"done":true')


async def _through(reader: Reader) -> float:
    body = chat_body(SIMULATED_MODEL, stream=True, max_tokens=TOKENS)
    return await reader.first_text_s(CHAT, body, b'"content":"', b"data: [DONE]")


def _quantile_ms(seconds: list[float], percent: int) -> float:
    return statistics.quantiles(seconds, n=100)[percent - 1] * 1000

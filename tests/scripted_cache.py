"""A dispatcher's cache as operators see it, whose answers a test writes: a peer on a real NATS connection; it keeps nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from common import codec
from common.bus import Delivery
from common.bus.nats import NatsOptions, connect_nats
from common.discovery import ServiceInfo, discoverable
from common.subjects import Subjects
from tests.listening import GUARD_S

SUBJECTS = Subjects("llm.v1")
SILENT = b""
"""What to answer a verb with for no answer at all."""

Answers = Mapping[str, Mapping[str, Any] | bytes]
"""By verb: an object, or bytes as they go out."""

ENTRY: Mapping[str, Any] = {
    "id": "0123456789abcdef",
    "tenant": "default",
    "question": "Why is the sky blue?",
    "model": "llama3.2:3b",
    "device": "pi5-1",
    "age_s": 34.2,
    "size_bytes": 2048,
    "hits": 3,
    "semantic": True,
}


@dataclass(frozen=True, slots=True)
class Order:
    """What was heard."""

    verb: str
    tenant: str | None
    body: dict[str, Any]


def stats(dispatcher: str, store: str = "memory", **fields: Any) -> dict[str, Any]:
    """Give the figures of a dispatcher, as it tells them."""
    shelf = {"kind": store, "state": "open", "entries": 2, "size_bytes": 4096, "evicted": 1, "expired": 0, "detail": ""}
    counts = {"exact": 5, "semantic": 1, "attached": 2, "miss": 7, "bypass": 1, "kept": 7}
    return {
        "dispatcher": dispatcher,
        "mode": "exact",
        "store": shelf,
        "index": {**shelf, "entries": 0},
        "judge": "rules",
        "embedder": "minilm",
        "counts": {**counts, "refused": {"tools": 4}, "not_kept": {"too long": 1}},
        "saved": {"s": 12.5, "tokens": 800.0, "energy_j": 60.0, "cost_usd": 0.001},
        "reported": 1,
        **fields,
    }


@asynccontextmanager
async def cache_keeper(url: str, name: str, answers: Answers, *, found: bool = True) -> AsyncIterator[list[Order]]:
    """Answer operators as the dispatcher `name` until the context ends; gives what was heard. A verb without an answer gets none;
    one that is not `found` answers no discovery."""
    heard: list[Order] = []
    options = NatsOptions(urls=(url,), name=name, initial_connect_timeout_s=GUARD_S)
    async with connect_nats(options) as bus, asyncio.TaskGroup() as tasks:

        def hear(delivery: Delivery) -> None:
            *_, tenant, verb = ["", *SUBJECTS.tokens(delivery.subject)[1:]]
            heard.append(Order(verb, tenant or None, codec.decode(delivery.data)))
            answer = answers.get(verb, SILENT)
            payload = answer if isinstance(answer, bytes) else codec.encode(answer)
            if payload:
                tasks.create_task(bus.publish(delivery.reply, payload))

        for subject in (SUBJECTS.cache("*"), SUBJECTS.cache("*", "*")):
            await bus.subscribe(subject, hear)
        if found:
            info = ServiceInfo(name="llm-dispatcher", id=name, version="0.1.0")
            async with discoverable(bus, info, list):
                await bus.flush()
                yield heard
        else:
            await bus.flush()
            yield heard

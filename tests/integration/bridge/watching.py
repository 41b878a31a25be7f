"""Somebody who looks at the bridge's stream of events, as the page does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from common import codec

HANG_S = 30.0


@dataclass(slots=True)
class Watcher:
    """What came so far, and what follows from it, as the page folds it."""

    response: httpx.Response
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Give the events of a kind."""
        return [data for name, data in self.events if name == kind]

    def last(self, kind: str) -> dict[str, Any]:
        """Give the newest event of a kind; an empty one where none came."""
        return next((data for name, data in reversed(self.events) if name == kind), {})

    async def until(self, so: Callable[[], object]) -> None:
        """Wait for something to be so."""
        async with asyncio.timeout(HANG_S):
            while not so():
                self._news.clear()
                await self._news.wait()

    async def follow(self) -> None:
        """Read to the end."""
        name = ""
        async for line in self.response.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                self._take(name, codec.decode(line.removeprefix("data: ").encode()))
                self._news.set()
        self.ended = True
        self._news.set()

    def _take(self, name: str, data: dict[str, Any]) -> None:
        self.events.append((name, data))
        if name == "devices":
            self.cards = {} if data.get("whole") else self.cards
            self.cards |= {card["name"]: card for card in data["devices"]}
            for gone in data.get("gone", ()):
                self.cards.pop(gone, None)
            for device, seen in data.get("seen", {}).items():
                self.cards[device]["seen_unix_s"] = seen
        if name == "jobs":
            self.jobs = {} if data.get("whole") else self.jobs
            self.jobs |= {job["id"]: job for job in data["jobs"]}


@asynccontextmanager
async def watcher(http: httpx.AsyncClient, query: str = "", **more: Any) -> AsyncIterator[Watcher]:
    """Look for the life of the context."""
    async with http.stream("GET", f"/ui/events{query}", **more) as response:
        assert 200 == response.status_code, await response.aread()
        async with asyncio.TaskGroup() as tasks:
            found = Watcher(response)
            following = tasks.create_task(found.follow())
            yield found
            following.cancel()

"""Whom the questions are put to: a fleet over NATS; what an answer is worth is not known here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

from common import energy
from common.bus.nats import connect_nats
from common.bus.options import options_from
from common.cache_orders import CacheOrders, first_error
from common.client import Drover, chat_request
from common.errors import BusTimeout, FleetError
from common.messages import Message, Role
from common.subjects import Subjects
from dispatcher.cli.connect import SHELL_WAIT_S, ShellSettings
from dispatcher.lab.bench.rows import Heard

PROBE = (Message(role=Role.USER, content="Hello?"),)


class Target(Protocol):
    """A fleet that answers. `fields` are those of a chat request beside its messages."""

    async def ask(self, messages: Sequence[Message], fields: Mapping[str, Any]) -> Heard:
        """Wait for a whole answer. Raises `FleetError`."""
        ...

    async def why(self, heard: Heard) -> Heard:
        """Add the record of the decision, where the fleet still has it."""
        ...

    async def explain(self, strategy: str) -> dict[str, Any]:
        """Tell where a question would go; also the proof that somebody is there. Raises `FleetError`."""
        ...

    async def forget(self) -> None:
        """Empty the cache of those who ask, on every dispatcher. Raises `FleetError` where that can't be had."""
        ...


class NatsTarget:
    """A fleet over its bus."""

    def __init__(self, drover: Drover, cache: CacheOrders) -> None:
        self._drover = drover
        self._cache = cache

    async def ask(self, messages: Sequence[Message], fields: Mapping[str, Any]) -> Heard:
        answer = await self._drover.ask(messages, **fields)
        return Heard(
            text=answer.text,
            finish=answer.finish,
            prompt_tokens=answer.usage.prompt_tokens,
            completion_tokens=answer.usage.completion_tokens,
            route=answer.route,
            why={},
            energy={} if answer.energy is None else energy.to_wire(answer.energy),
        )

    async def why(self, heard: Heard) -> Heard:
        try:
            return replace(heard, why=await self._drover.why(str(heard.route.get("job") or "none")))
        except FleetError:
            return heard  # it keeps the last few hundred decisions only, and an answer without its reasons is still one

    async def explain(self, strategy: str) -> dict[str, Any]:
        return await self._drover.explain(chat_request(PROBE, strategy=strategy))

    async def forget(self) -> None:
        found = await self._cache.purge()
        if found.silent:
            raise BusTimeout(f"{', '.join(found.silent)} did not answer")
        if (error := first_error(found)) is not None:
            raise error


@asynccontextmanager
async def over_nats(settings: ShellSettings, url: str) -> AsyncIterator[Target]:
    """Connect as a producer of the bridge's tenant. Raises `BusDisconnected` when no server answers."""
    bus_section = settings.bus.model_copy(update={"url": url})
    if "connect_wait_s" not in settings.bus.model_fields_set:
        bus_section = bus_section.model_copy(update={"connect_wait_s": SHELL_WAIT_S})
    async with (
        connect_nats(options_from(bus_section, name="drover-bench")) as bus,
        Drover.over(bus, tenant=settings.bridge.tenant, prefix=bus_section.prefix) as drover,
    ):
        cache = CacheOrders(bus, Subjects(bus_section.prefix), tenant=settings.bridge.tenant)
        yield NatsTarget(drover, cache)

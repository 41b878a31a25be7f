"""Answers `$SRV.PING`, `INFO` and `STATS`, so that `nats micro ls|info|stats` finds our processes (NATS ADR-32).

The vendor's own micro services are no fit for jobs: they await one handler at a time, force a queue group, and drop what runs when
they stop. Here only the discovery is spoken; the endpoints are listed as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from common import codec
from common.bus import Bus, Delivery
from common.errors import FleetError
from common.logs import get_logger

log = get_logger("discovery")

_TYPE = "io.nats.micro.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceInfo:
    """Who answers. `name` is a token, `id` is unique, `version` is a semantic version."""

    name: str
    id: str
    version: str
    description: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStats:
    """One endpoint as it stands now. An empty `queue_group` means that each instance hears every request."""

    name: str
    subject: str
    queue_group: str = ""
    requests: int = 0
    errors: int = 0
    last_error: str = ""
    processing_ns: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


Endpoints = Callable[[], Sequence[EndpointStats]]


@asynccontextmanager
async def discoverable(bus: Bus, info: ServiceInfo, endpoints: Endpoints) -> AsyncIterator[None]:
    """Answer discovery for the life of the context; `endpoints` is asked anew for each answer, and must return at once."""
    started = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    answers: Mapping[str, Callable[[], dict[str, Any]]] = {
        "PING": lambda: ping(info),
        "INFO": lambda: describe(info, endpoints()),
        "STATS": lambda: stats(info, endpoints(), started=started),
    }
    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as closing:
        for verb, answer in answers.items():
            for scope in (f"$SRV.{verb}", f"$SRV.{verb}.{info.name}", f"$SRV.{verb}.{info.name}.{info.id}"):
                subscription = await bus.subscribe(scope, _answering(bus, tasks, answer), pending=256)
                closing.push_async_callback(subscription.unsubscribe)
        yield


def ping(info: ServiceInfo) -> dict[str, Any]:
    """Give the answer to PING."""
    return {"type": f"{_TYPE}.ping_response", **_identity(info)}


def describe(info: ServiceInfo, endpoints: Sequence[EndpointStats]) -> dict[str, Any]:
    """Give the answer to INFO."""
    return {
        "type": f"{_TYPE}.info_response",
        **_identity(info),
        "description": info.description,
        "endpoints": [
            {**_endpoint(endpoint), "metadata": dict(endpoint.metadata)} for endpoint in endpoints
        ],
    }


def stats(info: ServiceInfo, endpoints: Sequence[EndpointStats], *, started: str) -> dict[str, Any]:
    """Give the answer to STATS; times in nanoseconds."""
    return {
        "type": f"{_TYPE}.stats_response",
        **_identity(info),
        "started": started,
        "endpoints": [
            {
                **_endpoint(endpoint),
                "num_requests": endpoint.requests,
                "num_errors": endpoint.errors,
                "last_error": endpoint.last_error,
                "processing_time": endpoint.processing_ns,
                "average_processing_time": endpoint.processing_ns // max(1, endpoint.requests),
                "data": dict(endpoint.data),
            }
            for endpoint in endpoints
        ],
    }


def _identity(info: ServiceInfo) -> dict[str, Any]:
    return {"name": info.name, "id": info.id, "version": info.version, "metadata": dict(info.metadata)}


def _endpoint(endpoint: EndpointStats) -> dict[str, Any]:
    return {"name": endpoint.name, "subject": endpoint.subject, "queue_group": endpoint.queue_group}


def _answering(bus: Bus, tasks: asyncio.TaskGroup, answer: Callable[[], dict[str, Any]]) -> Callable[[Delivery], None]:
    async def send(reply: str) -> None:
        try:
            await bus.publish(reply, codec.encode(answer()))
        except FleetError as error:
            log.warning("discovery.unsent", error=error.code)

    def handle(delivery: Delivery) -> None:
        if delivery.reply:
            tasks.create_task(send(delivery.reply))

    return handle

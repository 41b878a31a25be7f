"""Answers `$SRV.PING`, `INFO` and `STATS`, so that `nats micro ls|info|stats` finds our processes (NATS ADR-32).

The vendor's own micro services are no fit for jobs: they await one handler at a time, force a queue group, and drop
what runs when they stop. Here only the discovery is spoken; the endpoints are listed as they are.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from common import codec
from common.bus import Bus, Delivery
from common.errors import ConfigError, FleetError
from common.logs import get_logger
from common.subjects import is_token

log = get_logger("discovery")

_TYPE = "io.nats.micro.v1"
_PRE = r"(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER = re.compile(
    rf"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*)){{2}}(?:-{_PRE}(?:\.{_PRE})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceInfo:
    """Who answers. `name` and `id` are subject tokens, `id` is unique, `version` is a semantic version.

    Raises `ConfigError` for what the tools could not address or read.
    """

    name: str
    id: str
    version: str
    description: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, text in (("name", self.name), ("id", self.id)):
            if not is_token(text):
                raise ConfigError(f"the {what} of a service, {text!r}, must be 1 to 64 of A-Z a-z 0-9 _ -")
        if not _SEMVER.fullmatch(self.version):
            raise ConfigError(f"the version of a service, {self.version!r}, must be semantic, as 1.2.3")


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
    """Answer discovery for the life of the context; `endpoints` is asked anew for each answer, and must return at once.

    What `endpoints` raises costs that answer, and is logged by the bus. The body's errors leave the context as they are.
    """
    started = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    answers: Mapping[str, Callable[[], dict[str, Any]]] = {
        "PING": lambda: ping(info),
        "INFO": lambda: describe(info, endpoints()),
        "STATS": lambda: stats(info, endpoints(), started=started),
    }
    failure: BaseException | None = None
    async with asyncio.TaskGroup() as tasks:
        try:
            async with AsyncExitStack() as closing:
                for verb, answer in answers.items():
                    for scope in ("", f".{info.name}", f".{info.name}.{info.id}"):
                        handler = _answering(bus, tasks, answer)
                        subscription = await bus.subscribe(f"$SRV.{verb}{scope}", handler, pending=4096)
                        closing.push_async_callback(subscription.unsubscribe)
                yield
        except BaseException as error:  # noqa: BLE001  # raised again below, as itself: the group would wrap it
            failure = error
    if failure is not None:
        raise failure


def ping(info: ServiceInfo) -> dict[str, Any]:
    """Give the answer to PING."""
    return {"type": f"{_TYPE}.ping_response", **_identity(info)}


def describe(info: ServiceInfo, endpoints: Sequence[EndpointStats]) -> dict[str, Any]:
    """Give the answer to INFO."""
    return {
        "type": f"{_TYPE}.info_response",
        **_identity(info),
        "description": info.description,
        "endpoints": [{**_endpoint(endpoint), "metadata": dict(endpoint.metadata)} for endpoint in endpoints],
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
    def handle(delivery: Delivery) -> None:
        if delivery.reply:
            # Made here and not in the task: the bus survives what a handler raises, a task group does not.
            payload = codec.encode(answer())
            tasks.create_task(send(delivery.reply, payload))

    async def send(reply: str, payload: bytes) -> None:
        try:
            await bus.publish(reply, payload)
        except FleetError as error:
            log.warning("discovery.unsent", error=error.code)

    return handle

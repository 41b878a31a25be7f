"""`drover up` among those that read their settings again: all of its own need a restart, and it says so."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from common.bus import Bus
from common.discovery import ServiceInfo, discoverable
from common.reloading import OF_BUS, Knobs, Member, Reloader, Turn, reloadable
from common.subjects import Subjects
from dispatcher.settings import UpSettings

KNOBS = Knobs(
    live={},
    restart={
        "bus": OF_BUS,
        "log": "level format",
        # How long it waits for the end of a process before it kills it.
        "dispatcher": "grace_s",
        "bridge": "host port grace_s keys allow_remote",
        "ollama": "host",
        "up": "nats_port devices state_dir restart time_factor slots agent_grace_s cloud_models nats_server",
        "ledger": "enabled",
        "metrics": "address",
    },
    elsewhere={
        "dispatcher": "id",
        "bridge": "tenant max_body_bytes head_s body_s max_connections max_upload_bytes max_held_bytes summaries results "
        "header_hold_s patience_s retry_grace_s allowed_hosts public_url cors_origins metrics",
        "ledger": "database_url state_dir ack_wait_s days power_days conversation_days conversations conversation_mb",
    },
)


@asynccontextmanager
async def answering(bus: Bus, subjects: Subjects, settings: UpSettings) -> AsyncIterator[None]:
    """Say what has changed, for the life of the context; a SIGHUP stays the end of the terminal."""
    reloader = Reloader(settings, KNOBS, lambda _: _nothing, process="up")
    name = f"up-{secrets.token_hex(4)}"
    info = ServiceInfo(
        name="llm-up", id=name, version=version("drover"), description="Drover up: a fleet on one machine"
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(discoverable(bus, info, list))
        await stack.enter_async_context(reloadable(bus, subjects, reloader, Member(name, "up", "up")))
        yield


_nothing: Turn = lambda: None  # noqa: E731  # there is nothing to apply

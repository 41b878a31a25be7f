"""The bridge process: takes its port, joins the bus, serves until it is told to stop; the only place that knows all parts."""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from importlib.metadata import version

from fastapi import FastAPI

from common import lifecycle, logs, settings
from common.bus.nats import connect_nats
from common.bus.options import options_from
from common.client import Drover
from common.clock import LoopClock
from common.conversation_client import Conversations
from common.discovery import ServiceInfo, discoverable
from common.errors import ConfigError
from common.reloading import Member, Reloader, reloadable
from common.subjects import Subjects, own_inbox, require_token
from common.tracing import traced
from dispatcher.bridge import listening
from dispatcher.bridge.allocator import return_large_blocks
from dispatcher.bridge.asking import Asking
from dispatcher.bridge.backlog import Untaken
from dispatcher.bridge.belated import belated
from dispatcher.bridge.composing import compose
from dispatcher.bridge.connections import KEEP_ALIVE_S, Bounds, Connection, room, uvicorn
from dispatcher.bridge.files.desk import Desk
from dispatcher.bridge.files.sandbox import Sandbox
from dispatcher.bridge.folding import folding
from dispatcher.bridge.gate import Gate
from dispatcher.bridge.gate.opening import first_look, gate_rules
from dispatcher.bridge.keeping import Keeping
from dispatcher.bridge.knobs import KNOBS, prepare
from dispatcher.bridge.limits import Terms
from dispatcher.bridge.live.feed import Sources
from dispatcher.bridge.live.hub import Hub
from dispatcher.bridge.presence import hear_fleet
from dispatcher.bridge.remembering import Remembering
from dispatcher.bridge.sse import Curfew
from dispatcher.bridge.threads import Threads
from dispatcher.bridge.traffic import Showing, traffic_of
from dispatcher.bridge.wiring import Bridge
from dispatcher.experiments.folder import Folder
from dispatcher.settings import BridgeSection, BridgeSettings

log = logs.get_logger("bridge")

FAREWELL_S = 2.0
"""After the grace, open answers get this long to send their last words before their connections are cut."""


def main() -> int:
    """Run the bridge by the environment's settings, and give the exit status."""
    try:
        tree = settings.load(BridgeSettings)
    except ConfigError as error:
        sys.stderr.write(f"drover: {error.message}\n")
        return 1
    logs.configure("bridge", level=tree.log.level, fmt=tree.log.format)
    return_large_blocks()
    return lifecycle.run(lambda stop: serve(stop, tree), reloads=True)


async def serve(stop: lifecycle.Stop, tree: BridgeSettings) -> None:
    """Serve until `stop`. Raises `ConfigError` for a port that is taken or an address that must not be bound."""
    curfew = Curfew()
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(one)) for one in listening.take(tree.bridge, os.environ)]
        async with joined(tree, curfew, reachable=listening.reachable(sockets), stop=stop) as (app, reloader):
            server = _Server(_config(app, tree.bridge))
            async with asyncio.TaskGroup() as group:
                ending = group.create_task(_end(stop, server, curfew, reloader))
                await server.serve(sockets=sockets)
                if not stop.requested:
                    raise lifecycle.ServiceDied("the HTTP server ended by itself")
                ending.cancel()
                await server.last_words()


@asynccontextmanager
async def joined(
    tree: BridgeSettings, curfew: Curfew, *, reachable: bool = False, stop: lifecycle.Stop | None = None
) -> AsyncIterator[tuple[FastAPI, Reloader[BridgeSettings]]]:
    """The application over an open bus, and the settings that it goes by; `reachable` tells that other machines reach it. Raises
    `ConfigError` where they do, and there are no keys."""
    tenant = require_token("DROVER_HTTP_TENANT", tree.bridge.tenant)
    options = options_from(tree.bus, name="drover-bridge", inbox_prefix=own_inbox("bridge"))
    clock, subjects = LoopClock(), Subjects(tree.bus.prefix)
    async with (
        AsyncExitStack() as stack,
        traced(tree.traces.endpoint, "drover-bridge"),
        connect_nats(options) as bus,
        Drover.over(bus, tenant=tenant, prefix=tree.bus.prefix, patience_s=tree.bridge.patience_s) as drover,
        hear_fleet(bus, subjects, tree.roster, clock) as presence,
    ):
        gate = Gate(gate_rules(tree, tenant, reachable=reachable), bus, subjects, clock, presence.fleet)
        await stack.enter_async_context(gate.grants.remembering())
        await stack.enter_async_context(gate.recalls.watching())
        await first_look(gate, must_have_one=reachable and not tree.bridge.allow_remote)
        log.info("bridge.keys", keys=str(gate.keys), reachable=reachable)
        asking = Asking(drover=drover, gate=gate, files=Desk(Sandbox(), lambda: bus.max_payload))
        conversations = Conversations(bus, subjects)
        remembering = Remembering(
            asking=asking,
            threads=Threads(conversations=conversations, most_bytes=bus.max_payload),
            keeping=Keeping(
                conversations=conversations,
                files=asking.files,
                belated=await stack.enter_async_context(belated(conversations)),
            ),
            presence=presence,
            folding=await stack.enter_async_context(folding(asking, conversations)) if tree.bridge.summaries else None,
        )
        untaken = Untaken(bus, subjects, clock)
        live = Hub(Sources(bus=bus, subjects=subjects, presence=presence, untaken=untaken, clock=clock))
        await stack.enter_async_context(live.open(stop))
        terms = Terms.of(tree.bridge)
        bridge = Bridge(
            bus=bus,
            subjects=subjects,
            drover=drover,
            gate=gate,
            asking=asking,
            conversations=conversations,
            remembering=remembering,
            presence=presence,
            untaken=untaken,
            experiments=Folder(tree.bridge.results.absolute()),
            clock=clock,
            curfew=curfew,
            live=live,
            terms=terms,
            hold_s=tree.bridge.header_hold_s,
            retry_grace_s=tree.bridge.retry_grace_s,
            started_unix_s=int(clock.unix_s()),
        )
        showing, traffic = Showing(tree.bridge.metrics), traffic_of(tree.bridge, bus)
        any_address = reachable or tree.bridge.allow_remote
        app = compose(bridge, traffic, any_address=any_address, terms=terms, showing=showing)
        reloader = Reloader(tree, KNOBS, prepare(bridge, terms, showing), process="bridge")
        name = f"bridge-{secrets.token_hex(4)}"
        await stack.enter_async_context(discoverable(bus, _info(name), list))
        await stack.enter_async_context(reloadable(bus, subjects, reloader, Member(name, "bridge", "bridge"), stop))
        yield app, reloader


def _info(name: str) -> ServiceInfo:
    return ServiceInfo(
        name="llm-bridge", id=name, version=version("drover"), description="Drover bridge: HTTP in front of the fleet"
    )


def _config(app: FastAPI, section: BridgeSection) -> uvicorn.Config:
    class Bounded(Connection):
        """With what the settings say."""

        bounds = Bounds(head_s=section.head_s, most=room(section.max_connections))

    return uvicorn.Config(
        app,
        http=Bounded,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(section.grace_s + FAREWELL_S),
    )


class _Server(uvicorn.Server):
    """uvicorn, without its signal handlers (the lifecycle has them), and with a line for whoever waits for the start."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for taken in sockets or []:
            host, port, *_ = taken.getsockname()
            shown = f"[{host}]" if ":" in host else host
            sys.stdout.write(f"bridge listening on http://{shown}:{port}\n")
            sys.stdout.flush()
            log.info("bridge.listening", host=host, port=port)

    async def last_words(self) -> None:
        """Wait for requests that were cancelled at the end of the grace: they still have to cancel their jobs."""
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=FAREWELL_S)


async def _end(
    stop: lifecycle.Stop, server: uvicorn.Server, curfew: Curfew, reloader: Reloader[BridgeSettings]
) -> None:
    """At the stop, take no new requests; after the grace, let every open answer say that it ends here."""
    await stop.wait()
    grace_s = reloader.tree.bridge.grace_s
    server.config.timeout_graceful_shutdown = math.ceil(grace_s + FAREWELL_S)
    log.info("bridge.stopping", open_requests=len(server.server_state.tasks), grace_s=grace_s)
    server.should_exit = True
    await asyncio.sleep(grace_s)
    log.warning("bridge.curfew", answers=curfew.fall())

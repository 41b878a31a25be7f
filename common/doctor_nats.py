"""Looks at a NATS server as one of its users: is it there, of which version, what may this user do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from common import codec
from common.bus import Bus
from common.bus.nats import connect_nats
from common.bus.options import options_from
from common.doctor import Finding, fault, ok, warning
from common.errors import BusError, FleetError, NotPermitted
from common.settings import BusSection

OLDEST = (2, 9)
"""What Debian 12 has; direct reads of streams came with it."""

WAIT_S = 3.0
MOST_INFO = 65_536


async def info_of(host: str, port: int, *, wait_s: float = WAIT_S) -> dict[str, object] | None:
    """Give what a server says of itself before anything else; None where it is no NATS server, or says nothing. Raises `OSError`
    where nobody listens."""
    try:
        async with asyncio.timeout(wait_s):
            reader, writer = await asyncio.open_connection(host, port, limit=MOST_INFO)
            try:
                line = await reader.readline()
            finally:
                writer.close()
    except (TimeoutError, ValueError):
        return None
    if not line.startswith(b"INFO "):
        return None
    try:
        return codec.decode(line[5:].strip())
    except FleetError:
        return None


async def nats(bus: BusSection, *, name: str, inbox: str, subjects: Sequence[str]) -> Sequence[Finding]:
    """Look at the server of these settings, and publish as this user on `subjects`, where nobody minds an empty question."""
    parts = urlsplit(bus.url.split(",")[0] if "://" in bus.url else f"nats://{bus.url}")
    where = f"{parts.hostname}:{parts.port or 4222}"
    try:
        told = await info_of(parts.hostname or "", parts.port or 4222)
    except OSError as error:
        return fault("nats", f"no server answers at {where} ({error.strerror or error})", "start it, or set NATS_URL")
    if told is None:
        return fault("nats", f"what listens at {where} is no NATS server", "set NATS_URL to the server's address")
    version = str(told.get("version", "?"))
    found = _version(where, version) + _jetstream(told, where)
    return [*found, *await _rights(bus, name=name, inbox=inbox, subjects=subjects, where=where)]


def _version(where: str, version: str) -> list[Finding]:
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        return fault("nats", f"nats-server {version} at {where}", "install nats-server 2.9 or newer")
    return ok("nats", f"nats-server {version} at {where}")


def _jetstream(told: dict[str, object], where: str) -> list[Finding]:
    if told.get("jetstream"):
        return ok("jetstream", f"on at {where}")
    do = "start the server with JetStream (-js): the durable queue and the ledger need it"
    return warning("jetstream", f"off at {where}", do)


async def _rights(bus: BusSection, *, name: str, inbox: str, subjects: Sequence[str], where: str) -> list[Finding]:
    patient = bus.model_copy(update={"connect_wait_s": WAIT_S})
    try:
        async with connect_nats(options_from(patient, name=name, inbox_prefix=inbox)) as line:
            refused = [subject for subject in subjects if not await _may_ask(line, subject)]
    except FleetError as error:
        do = "mend NATS_USER, NATS_PASSWORD, NATS_NKEY or NATS_CREDS: drover nats init makes users"
        return fault("nats rights", f"{where} does not let this user in: {error.message}", do)
    if refused:
        do = "write the server's configuration anew (drover nats init), and use the right user here"
        return fault("nats rights", f"this user may not ask on {', '.join(refused)}", do)
    return ok("nats rights", f"{where} lets this user in, and do what it must")


async def _may_ask(line: Bus, subject: str) -> bool:
    try:
        await line.request(subject, b"", timeout_s=WAIT_S)
    except NotPermitted:
        return False
    except BusError:
        return True  # nobody answers there now
    return True

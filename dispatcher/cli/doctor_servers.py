"""Looks at the servers and ports that a fleet needs on this machine: NATS, Redis, the ledger's file; it starts none of them."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import stat
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from common import doctor_nats
from common.doctor import Finding, fault, ok, warning
from common.settings import BusSection
from dispatcher.cli.ports import owner

ASK_S = 3.0


@dataclass(frozen=True, slots=True)
class Port:
    """A port, what takes it, and the knob that sets it. 0 is none."""

    number: int
    purpose: str
    knob: str


async def nats(bus: BusSection, subjects: Sequence[str]) -> Sequence[Finding]:
    """The server that the settings name, or the running fleet's."""
    return await doctor_nats.nats(bus, name="drover-doctor", inbox="_INBOX_operator", subjects=subjects)


async def no_nats(bus: BusSection, subjects: Sequence[str]) -> Sequence[Finding]:
    """Without NATS_URL and a running fleet there need be none; what is there all the same is looked at."""
    try:
        port = urlsplit(bus.url).port or 4222
        if await doctor_nats.info_of("127.0.0.1", port) is None:
            return ok("nats", f"no NATS server at 127.0.0.1:{port}: see the ports")
    except OSError:
        return ok("nats", "none runs here: drover up starts one, or NATS_URL names one")
    return await nats(bus, subjects)


async def ports(wanted: Sequence[Port]) -> Sequence[Finding]:
    """Each port is free, or has who should have it."""
    return [finding for port in wanted if port.number for finding in await _port(port)]


async def _port(port: Port) -> Sequence[Finding]:
    check = f"port {port.number}"
    if _free(port.number):
        return ok(check, f"free, for {port.purpose}")
    who = owner(port.number)
    if await _expected(port):
        return ok(check, f"{port.purpose}: {who}")
    return fault(
        check, f"taken by {who}, and wanted for {port.purpose}", f"stop that, or set {port.knob} to another port"
    )


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


async def _expected(port: Port) -> bool:
    """Tell whether what listens there speaks as ours does."""
    if port.purpose == "NATS":
        try:
            return await doctor_nats.info_of("127.0.0.1", port.number) is not None
        except OSError:
            return False
    page, mark = ("/metrics", b"drover_") if port.purpose == "metrics" else ("/health", b'"dispatcher_devices"')
    question = f"GET {page} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()
    said = await exchange("127.0.0.1", port.number, question)
    return mark in said or b"\r\nx-drover" in said.lower()


async def exchange(host: str, port: int, question: bytes, *, until: bytes = b"") -> bytes:
    """Send something, and give what comes within a few seconds: up to the end, or to `until`; nothing where nobody listens."""
    said = b""
    try:
        async with asyncio.timeout(ASK_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(question)
                while len(said) < 1 << 20 and (part := await reader.read(1 << 16)):
                    said += part
                    if until and until in said:
                        break
            finally:
                writer.close()
    except (OSError, TimeoutError):
        pass  # what has come is looked at
    return said


async def redis(url: str) -> Sequence[Finding]:
    """The cache's server answers, and lets us in. Without one each dispatcher keeps its own answers."""
    if not url:
        return ok("redis", "none is named: each dispatcher keeps its own answers")
    parts = urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port or 6379
    where = f"{host}:{port}"
    if parts.scheme not in {"redis", "rediss"}:
        return fault("redis", "REDIS_URL is no address of a Redis", "write it as redis://localhost:6379/0")
    if parts.scheme == "rediss":
        return ok("redis", f"{where}, with TLS: drover cache stats tells how it is")
    login = [unquote(part) for part in (parts.username, parts.password) if part]
    said = await exchange(host, port, (_command("AUTH", *login) if login else b"") + _command("PING"), until=b"PONG")
    if b"+PONG" in said:
        return ok("redis", f"answers at {where}")
    if said.startswith(b"-"):
        return fault(
            "redis", f"{where} refuses: {said.splitlines()[0][1:120].decode(errors='replace')}", "mend REDIS_URL"
        )
    do = "start it, or unset REDIS_URL: until then nothing is cached"
    return fault("redis", f"no Redis answers at {where}", do)


def _command(*words: str) -> bytes:
    return b"".join([f"*{len(words)}\r\n".encode(), *(f"${len(w.encode())}\r\n{w}\r\n".encode() for w in words)])


def ledger(file: Path | None) -> Sequence[Finding]:
    """SQLite's file is ours, whole as far as its head tells, and of a version that is known. Blocks."""
    if file is None:
        return ok("ledger", "there is none, or it is in a database that drover ledger stats asks")
    if not file.exists():
        return ok("ledger", f"{file.absolute()} is not there yet: the ledger makes it")
    return _ledger(file.absolute())


def _ledger(file: Path) -> Sequence[Finding]:
    if not os.access(file, os.W_OK):
        return fault("ledger", f"{file} can't be written by this user", f"chown or chmod it, as in: chmod 600 {file}")
    try:
        version = _ledger_version(file)
    except sqlite3.Error as error:
        return fault(
            "ledger", f"{file} can't be read: {error}", "drover ledger check; then drover ledger restore a backup"
        )
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        return fault("ledger", f"{file} has mode {mode:04o}, and holds what people asked", f"chmod 600 {file}")
    if version is None:
        return warning(
            "ledger", f"{file} has no tables of a ledger", "name another file in DATABASE_URL, or let it be made"
        )
    return ok("ledger", f"{file}, tables of version {version}, {file.stat().st_size / 1e6:.1f} MB")


def _ledger_version(file: Path) -> str | None:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=ASK_S)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ledger_version'").fetchone():
            return None
        found = connection.execute("SELECT version_num FROM ledger_version").fetchone()
        return str(found[0]) if found else None

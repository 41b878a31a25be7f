"""Which TCP ports are free, and who has those that are not; it knows no service by name."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from pathlib import Path

from common.errors import ConfigError

BACKLOG = 2048
"""Connections that wait for whoever listens."""

_LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp."""


def require_free(host: str, port: int, *, purpose: str, way_out: str) -> int:
    """Return `port`, or a free one for 0. Raises `ConfigError` that names the port, who may have it and the way out."""
    with listen(host, port, purpose=purpose, way_out=way_out) as probe:
        taken: int = probe.getsockname()[1]
        return taken


def listen(host: str, port: int, *, purpose: str, way_out: str, host_knob: str = "") -> socket.socket:
    """Take `port`, or a free one for 0, and listen on it. Raises `ConfigError` as `require_free` does, and for an address that this
    machine does not have, with the knob that names it."""
    try:
        with ExitStack() as undo:
            # The protocol is named because asyncio switches Nagle's delay off only on sockets that say they are TCP.
            taken = undo.enter_context(socket.socket(_family(host), socket.SOCK_STREAM, socket.IPPROTO_TCP))
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((host, port))
            taken.listen(BACKLOG)
            undo.pop_all()
            return taken
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} ({purpose}) is taken by {owner(port)}: {way_out}") from error
        if host_knob and (error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror)):
            way_out = f"that is no address of this machine: set {host_knob} to one that it has, as 127.0.0.1"
        raise ConfigError(f"{purpose} can't listen on {host} port {port} ({error.strerror}): {way_out}") from error


def owner(port: int) -> str:
    """Name the process that listens on `port`, as far as this user may know."""
    inodes = _listening_inodes(port)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            held = {str(handle.readlink()) for handle in (process / "fd").iterdir()}
        except OSError:
            continue  # another user's, or gone meanwhile
        if held & inodes:
            return f"{(process / 'comm').read_text(encoding='utf-8').strip()} (process {process.name})"
    return "another process"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _listening_inodes(port: int) -> set[str]:
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            cells = row.split()
            if cells[3] == _LISTEN and int(cells[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{cells[9]}]")
    return inodes

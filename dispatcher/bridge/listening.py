"""The sockets that the bridge listens on: its own, or those that were handed to it (sd_listen_fds(3)); it serves nothing.

A socket that somebody else holds outlives the bridge: what connects while there is none waits in the kernel for the next one.
`drover up` hands one on, and so does a `.socket` unit of systemd.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import MutableMapping, Sequence

from common.errors import ConfigError
from dispatcher.settings import BridgeSection
from dispatcher.settings.exposed import AGAIN_S, address_of, is_loopback, require_asking

FIRST_FD = 3
"""Where handed sockets begin, by the protocol."""
BACKLOG = 2048

_PID, _COUNT, _NAMES = "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"


def take(section: BridgeSection, environment: MutableMapping[str, str]) -> list[socket.socket]:
    """Give the sockets to listen on: what `environment` says was handed over, or else one that is bound now.

    Raises `ConfigError` for a port that is taken, an address that must not be listened on, or a thing that is no TCP socket.
    """
    handed = _handed(environment)
    if not handed:
        return [bind(section)]
    try:
        for listening in handed:
            _require_ours(listening, section)
    except BaseException:
        for listening in handed:
            listening.close()
        raise
    return handed


def bind(section: BridgeSection) -> socket.socket:
    """Take the port. Raises `ConfigError` with the way out."""
    family, address = address_of(section)
    require_asking(section, address[0], f"DROVER_HTTP_HOST={section.host}")
    # The protocol is named because asyncio switches Nagle's delay off only on sockets that say they are TCP.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        # Not only bound: of two processes that bind and don't listen yet, both would think that the port is theirs.
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise _unbound(section, error) from error
    return listening


def _handed(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """Take what was handed to this very process, and nobody's below it: the variables and the sockets are not passed on."""
    pid, count = environment.get(_PID, ""), environment.get(_COUNT, "")
    if pid != str(os.getpid()) or not count.isdecimal():
        return []  # meant for another process, which forgot to take them away
    for name in (_PID, _COUNT, _NAMES):
        environment.pop(name, None)
    taken: list[socket.socket] = []
    for number in range(FIRST_FD, FIRST_FD + int(count)):
        try:
            os.set_inheritable(number, False)  # noqa: FBT003  # it takes no keyword
            taken.append(socket.socket(fileno=number))
        except OSError as error:
            raise ConfigError(
                f"{_COUNT}={count} says that file descriptor {number} is a socket to listen on, and it is none "
                f"({error.strerror}): start the bridge by `drover up` or by a systemd .socket unit with ListenStream="
            ) from error
    return taken


def _require_ours(listening: socket.socket, section: BridgeSection) -> None:
    internet = listening.family in {socket.AF_INET, socket.AF_INET6} and listening.type == socket.SOCK_STREAM
    if not internet or not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ConfigError(
            f"file descriptor {listening.fileno()} was handed to the bridge and is no TCP socket that listens: "
            "a systemd .socket unit needs ListenStream=127.0.0.1:8080 and Accept=no"
        )
    host, port, *_ = listening.getsockname()
    require_asking(section, host, f"the socket that was handed over ({host} port {port})")


def reachable(sockets: Sequence[socket.socket]) -> bool:
    """Tell whether other machines can reach any of them."""
    return any(not is_loopback(one.getsockname()[0]) for one in sockets)


def _unbound(section: BridgeSection, error: OSError) -> ConfigError:
    where = f"{section.host}:{section.port}"
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"{where} is taken by another program: stop that one, or choose another port with DROVER_HTTP_PORT (0 takes a free "
            "one)",
            retry_after_s=AGAIN_S,
        )
    return ConfigError(
        f"the bridge can't listen on {where} ({error.strerror}): change DROVER_HTTP_HOST or DROVER_HTTP_PORT",
        retry_after_s=AGAIN_S if error.errno == errno.EADDRNOTAVAIL else None,
    )

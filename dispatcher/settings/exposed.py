"""Who may reach the bridge, by its settings alone: said here for its start, for `drover up` and for `drover config`.

It asks nobody whether there are keys, and listens on nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from typing import Protocol

from common.errors import ConfigError
from dispatcher.settings.bridge import BridgeSection
from dispatcher.settings.ledger import LedgerSection

AGAIN_S = 5.0
"""After so long a port that is taken, or an address that a machine does not have yet, is worth another try."""

MAKE_ONE = (
    "make one while a ledger runs: start `drover up`, or `drover ledger serve` beside the dispatcher; run `drover keys add NAME`; "
    "then start this again"
)
"""The sequence that works from nothing."""


class _Bridged(Protocol):
    """The settings of a process that runs a bridge."""

    @property
    def bridge(self) -> BridgeSection: ...

    @property
    def ledger(self) -> LedgerSection: ...


def address_of(section: BridgeSection) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Give where the bridge is to listen. Raises `ConfigError` for what is no address."""
    try:
        found = socket.getaddrinfo(section.host, section.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(
            f"DROVER_HTTP_HOST={section.host!r} is no address of this machine: {error.strerror}", retry_after_s=AGAIN_S
        ) from error
    family, _, _, _, (host, port, *_) = found[0]
    return family, (str(host), int(port))


def is_loopback(address: str) -> bool:
    """Tell whether only this machine can reach an address."""
    return ipaddress.ip_address(address).is_loopback


def require_asking(section: BridgeSection, address: str, what: str) -> None:
    """Raise `ConfigError` where others reach an address, nobody is asked for a key, and the owner has not said that it is so."""
    if section.keys == "off" and not is_loopback(address) and not section.allow_remote:
        raise ConfigError(
            f"{what} can be reached from other machines, and DROVER_HTTP_KEYS=off asks nobody for a key: whoever reaches "
            "it may use the fleet. Have keys (DROVER_HTTP_KEYS=auto), use 127.0.0.1, or accept that with "
            "DROVER_HTTP_ALLOW_REMOTE=true"
        )


def require_keeper(section: BridgeSection, ledger: LedgerSection, *, reachable: bool) -> None:
    """Raise `ConfigError` where keys are needed and nobody keeps any."""
    others = reachable and not section.allow_remote
    if section.keys != "off" and not ledger.enabled and (section.keys == "on" or others):
        raise ConfigError(
            "DROVER_LEDGER=off keeps no keys, and this bridge needs some (DROVER_HTTP_KEYS, DROVER_HTTP_HOST): have a ledger, "
            "or set DROVER_HTTP_KEYS=off and listen on 127.0.0.1"
        )


def require_guarded(section: BridgeSection, ledger: LedgerSection) -> None:
    """Raise `ConfigError` with what a bridge of these settings would end with, before it asks for keys."""
    _, (address, _) = address_of(section)
    require_asking(section, address, f"DROVER_HTTP_HOST={section.host}")
    require_keeper(section, ledger, reachable=not is_loopback(address))


def needs_a_key(tree: _Bridged) -> bool:
    """Tell whether the bridge of these settings listens for others only where there is a key."""
    section = tree.bridge
    _, (address, _) = address_of(section)
    return section.keys != "off" and not section.allow_remote and not is_loopback(address)


def advice(tree: _Bridged) -> Iterator[str]:
    """Say what settings that can work still need."""
    if needs_a_key(tree):
        yield (
            f"DROVER_HTTP_HOST={tree.bridge.host} is for other machines, and needs a key (drover keys list shows those there "
            "are): without any, drover up has the bridge listen on this machine alone, and drover bridge does not start; "
            f"{MAKE_ONE}"
        )

"""The socket that `drover up` holds for its bridges: on the address that was asked for, or on this machine alone."""

from __future__ import annotations

import socket

from common.bus import Bus
from common.errors import BusError, LedgerUnavailable
from common.key_client import state
from common.subjects import Subjects
from dispatcher.cli import ports
from dispatcher.settings import BridgeSection

_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


class HttpDoor:
    """Held for as long as the fleet is wanted: what connects while the bridge is started again waits for it."""

    def __init__(self, section: BridgeSection, *, held: bool) -> None:
        """Take the port; one that is not `held` is only found to be free. Raises `ConfigError` with the way out."""
        self._held = held
        self.host, self.port = section.host, section.port
        self._socket = self._listen()

    @property
    def fd(self) -> int | None:
        """What a bridge gets; None where each takes the port for itself, since nobody comes for those who would wait."""
        return self._socket.fileno() if self._held else None

    def withdraw(self) -> None:
        """Be there for this machine alone. Raises `ConfigError` where somebody else has the port there."""
        self.close()
        self.host = _LOOPBACK[self._socket.family]
        self._socket = self._listen()

    def close(self) -> None:
        """Let go of the port."""
        self._socket.close()

    def _listen(self) -> socket.socket:
        taken = ports.listen(
            self.host,
            self.port,
            purpose="the bridge",
            way_out="stop that, or choose another port, for example DROVER_HTTP_PORT=8081 make up",
            host_knob="DROVER_HTTP_HOST",
        )
        self.port = taken.getsockname()[1]
        if not self._held:
            taken.close()
        return taken


async def has_keys(bus: Bus, subjects: Subjects) -> bool | None:
    """Ask the ledger whether there is any key; None while it does not answer."""
    try:
        return await state(bus, subjects) > 0
    except (LedgerUnavailable, BusError):
        return None

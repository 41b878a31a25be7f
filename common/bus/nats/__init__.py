"""The bus over a NATS server; the only package that imports the vendor's client, and it knows no message of ours.

The vendor's own reconnecting is switched off: it buffers while there is no server and replays stale messages, hangs
for ever on a socket whose peer vanished, and gives up for good on most errors that a server reports. Here a connection
(`Link`) lives once, from dialling to loss. A supervisor watches it, and replaces a lost one by a new client that
subscribes to everything again: one way to recover, whatever the fault.
"""

from __future__ import annotations

from common.bus.nats.bus import HEADROOM_BYTES, NatsBus, connect_nats
from common.bus.nats.faults import ERRORS, translate
from common.bus.nats.link import abort
from common.bus.nats.options import NatsOptions

__all__ = ["ERRORS", "HEADROOM_BYTES", "NatsBus", "NatsOptions", "abort", "connect_nats", "translate"]

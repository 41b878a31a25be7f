"""`Streams` over a NATS server, spoken over any `Bus`: JetStream is requests with JSON, and answers; it knows no job.

The vendor's JetStream context belongs to one connection of the vendor's client, and a bus of ours replaces that client at
each loss: its calls would wait out their time on a dead one, while a request over our bus ends at once with `BusDisconnected`
and the next goes over the new link. Its `fetch` also ends an empty wait in three different ways (nats.py#709). What is needed
of the protocol is small and fixed (ADR-1, ADR-8, ADR-13, ADR-15, ADR-31), so it is spoken here. Removable when the vendor's
context can be bound to a connection that is not its own.
"""

from __future__ import annotations

from common.bus.jetstream.client import JetStream

__all__ = ["JetStream"]

"""How streams of events fare when NATS goes away, and when the bridge stops."""

from __future__ import annotations

import httpx

from tests.bridge_process import BridgeProcess
from tests.integration.bridge.watching import HANG_S, watcher
from tests.nats_server import NatsServer
from tests.scripted_fleet import ScriptedFleet


async def test_a_bridge_that_stops_says_so_and_waits_for_no_stream(bridge: BridgeProcess) -> None:
    """Its grace is for answers: whoever looks comes again, and loses nothing."""
    async with (
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http,
        watcher(http) as one,
        watcher(http, "?only=queue") as other,
    ):
        await one.until(lambda: one.cards)
        await other.until(lambda: other.last("steady"))
        status = await bridge.signal_and_wait()
        await one.until(lambda: one.ended)
        await other.until(lambda: other.ended)

    assert (0, "stopping", "stopping") == (
        status,
        one.last("end")["error"]["code"],
        other.last("end")["error"]["code"],
    )
    assert "bridge.curfew" not in "".join(bridge.said)


async def test_a_lost_connection_to_nats_is_told_and_mended(
    nats: NatsServer, fleet: ScriptedFleet, bridge: BridgeProcess
) -> None:
    """The stream stays, says that there is no bus, and goes on when it is back."""
    async with (
        httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http,
        watcher(http) as one,
    ):
        await one.until(lambda: one.last("fleet").get("reason") == "")
        await nats.kill()
        await one.until(lambda: one.last("fleet")["bus"] is False)
        why = one.last("fleet")["reason"]
        await nats.restart()
        await fleet.connected_again()
        await one.until(lambda: one.last("fleet")["reason"] == "")
        await fleet.beat(temperature_c=71.0)
        await one.until(lambda: one.cards["nano"].get("temperature_c") == 71.0)

    assert "no connection to NATS" in why

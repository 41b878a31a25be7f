"""Which knobs of a bridge turn while it runs, and how."""

from __future__ import annotations

from collections.abc import Callable

from common.reloading import OF_BUS, Knobs, Turn
from dispatcher.bridge.limits import Terms
from dispatcher.bridge.traffic import Showing
from dispatcher.bridge.wiring import Bridge
from dispatcher.settings import BridgeSettings

KNOBS = Knobs(
    live={
        "log": "level format",
        "roster": "suspect_after dead_after forget_after_s",
        "bridge": "max_body_bytes max_upload_bytes max_held_bytes body_s header_hold_s patience_s retry_grace_s grace_s "
        "allowed_hosts cors_origins metrics",
    },
    restart={
        "bus": OF_BUS,
        # Where it listens, and who comes in there: that is looked at when it binds.
        "bridge": "host port tenant allow_remote public_url keys head_s max_connections summaries results",
        "ledger": "enabled",
        "traces": "endpoint",
    },
    elsewhere={
        "roster": "settle_s roll_call_s",
        "ledger": "database_url state_dir ack_wait_s days power_days conversation_days conversations conversation_mb",
    },
)


def prepare(bridge: Bridge, terms: Terms, showing: Showing) -> Callable[[BridgeSettings], Turn]:
    """Give what has a running bridge go by other settings; for how long open answers may go on is looked up at the end."""

    def prepared(settings: BridgeSettings) -> Turn:
        section, ages, new = settings.bridge, settings.roster, Terms.of(settings.bridge)

        def turn() -> None:
            bridge.hold_s, bridge.retry_grace_s = section.header_hold_s, section.retry_grace_s
            bridge.drover.patience_s = section.patience_s
            bridge.presence.roster.age_by(ages.suspect_after, ages.dead_after, ages.forget_after_s)
            terms.take(new)
            showing.whom = section.metrics

        return turn

    return prepared

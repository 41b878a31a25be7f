"""How the gate stands when a bridge starts: by its settings, and by who can reach it."""

from __future__ import annotations

from common.errors import BusError, ConfigError, LedgerUnavailable
from dispatcher.bridge.gate.credentials import Site
from dispatcher.bridge.gate.gate import Gate, Keys, Rules
from dispatcher.settings import BridgeSettings
from dispatcher.settings.exposed import require_keeper

AGAIN_S = 1.0
"""The ledger may be a moment behind."""


def gate_rules(tree: BridgeSettings, tenant: str, *, reachable: bool) -> Rules:
    """Give the rules. Raises `ConfigError` where keys are needed and nobody keeps any.

    1. `off` is off. 2. Without a ledger there are no keys: then it is off where only this machine comes, or the owner says that
    anybody may. 3. Where others come a key is always needed, unless the owner says that it is not.
    """
    section, site = tree.bridge, Site(tree.bridge.public_url)
    if section.keys == "off":  # 1
        return Rules(tenant=tenant, site=site, off=True)
    others = reachable and not section.allow_remote
    if not tree.ledger.enabled:  # 2
        require_keeper(section, tree.ledger, reachable=reachable)
        return Rules(tenant=tenant, site=site, off=True)
    return Rules(tenant=tenant, site=site, always=section.keys == "on" or others)  # 3


async def first_look(gate: Gate, *, must_have_one: bool) -> None:
    """Find out whether there are keys, if that matters. Raises `ConfigError` where others reach the bridge and there is none: it
    would refuse everybody."""
    if gate.keys is Keys.OFF:
        return
    try:
        await gate.grants.find_out()
    except (LedgerUnavailable, BusError) as error:
        if must_have_one:
            raise ConfigError(
                f"other machines reach this bridge, and nobody can say whether it has keys ({error.message}): start a ledger, or "
                "listen on 127.0.0.1",
                retry_after_s=AGAIN_S,
            ) from error
        return  # asked again with the first request
    if must_have_one and not gate.grants.in_use:
        raise ConfigError(
            "other machines reach this bridge, and there are no keys, so nobody could be told apart: run `drover keys add NAME` on "
            "a machine of the fleet, whose ledger keeps it, and start this again; or listen on 127.0.0.1",
            retry_after_s=AGAIN_S,
        )

"""What was used: of the fleet for who may see it, and of one's own key and tenant for everybody; the ledger has the sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from common import codec
from common.keys import Scope
from common.ledger import MOST_ROWS, By, EnergyQuery, Span
from dispatcher.bridge.bodies import answered
from dispatcher.bridge.describing import described
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.native.replies import SPAN, Json, from_ledger, limit_of, parameter, queried
from dispatcher.bridge.native.shapes import EnergySums, UsageTold
from dispatcher.bridge.surfaces import NATIVE
from dispatcher.bridge.wiring import Bridge

ENERGY = described(
    surface=NATIVE,
    schema=EnergySums,
    parameters=(
        parameter("by", "what is summed by", type="string", enum=[str(one) for one in By], default=str(By.DEVICE)),
        parameter("tenant", "whose alone", type="string"),
        limit_of(MOST_ROWS, 100),
        *SPAN,
    ),
)


def spending_routes(bridge: Bridge) -> APIRouter:
    """The routes `/api/v1/energy` and `/api/v1/usage`."""
    router = APIRouter(prefix="/api/v1", tags=["spending"])

    @router.get(
        "/energy", summary="Joules, tokens and money, summed", dependencies=bridge.gate.depends(Scope.FLEET), **ENERGY
    )
    async def energy(http: Request) -> Response:
        return answered(await from_ledger(bridge, "energy", queried(EnergyQuery, http)))

    @router.get(
        "/usage",
        summary="What your key has left, and what your tenant has used",
        dependencies=bridge.gate.depends(Scope.CHAT),
        **described(surface=NATIVE, schema=UsageTold, parameters=SPAN),
    )
    async def usage(http: Request) -> Response:
        caller, span = caller_of(http), queried(Span, http)
        query = EnergyQuery(**{**codec.plain(span), "by": By.TENANT, "tenant": caller.tenant, "limit": 1})
        rows = (await from_ledger(bridge, "energy", query)).get("rows", ())
        told: Json = {"tenant": caller.tenant, "used": _used(rows, caller.tenant)}
        now = await bridge.gate.now(caller)
        if now is not None:
            budgets = [codec.plain(one) for one in now.grant.budgets]
            told |= {"key": now.grant.name, "budgets": budgets, "as_of_unix_s": now.unix_s}
        return answered(told)

    return router


def _used(rows: Iterable[Mapping[str, Any]], tenant: str) -> Json | None:
    """Give the sums of a tenant: its name stands there as what it is, since a key's own stands beside it."""
    found = next((row for row in rows if row.get("key") == tenant), None)
    if found is None:
        return None
    return {"tenant": tenant, **{name: value for name, value in found.items() if name != "key"}}

"""What was used: of the fleet for who may see it, and of one's own key and tenant for everybody; the ledger has the sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le
from fastapi import APIRouter, Request
from starlette.responses import Response

from common import codec
from common.keys import Scope
from common.ledger import LEAST_STEP_S, MOST_ROWS, MOST_STEP_S, STEP_S, By, EnergyQuery, EnergyRow, Span
from common.messages import Token, split_target
from dispatcher.bridge.bodies import answered
from dispatcher.bridge.callers import Part
from dispatcher.bridge.describing import described
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.native.replies import SPAN, Json, from_ledger, limit_of, parameter, queried
from dispatcher.bridge.native.shapes import EnergySums, PriceTold, UsageTold
from dispatcher.bridge.surfaces import NATIVE
from dispatcher.bridge.wiring import Bridge
from dispatcher.fleet import Fleet, canonical

ASSUMPTION = (
    "Each answer's tokens at the price that the model it is compared with had when the answer was given, less what that cost. "
    "It is the model which the routing file names as cloud_reference, else the dearest of the fleet. Power is not in it, nor that "
    "another model's answer would have another length. Where no model of the fleet has a price, nothing is reckoned: an agent with "
    "DROVER_BACKEND=openai tells those of its DROVER_CLOUD_MODELS."
)

ALL = "all"
"""The key of the sum of all rows."""

ENERGY = described(
    surface=NATIVE,
    schema=EnergySums,
    parameters=(
        parameter("by", "what is summed by", type="string", enum=[str(one) for one in By], default=str(By.DEVICE)),
        parameter(
            "step_s",
            "of sums by time: how long a step is; steps begin with 1970",
            type="integer",
            minimum=LEAST_STEP_S,
            maximum=MOST_STEP_S,
            default=STEP_S,
        ),
        parameter("tenant", "whose alone", type="string"),
        limit_of(MOST_ROWS, 100),
        *SPAN,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Energy(Span):
    by: By = By.DEVICE
    step_s: Annotated[int, Ge(LEAST_STEP_S), Le(MOST_STEP_S)] = STEP_S
    tenant: Token | None = None
    limit: Annotated[int, Ge(1), Le(MOST_ROWS)] = 100


def spending_routes(bridge: Bridge) -> APIRouter:
    """The routes `/api/v1/energy` and `/api/v1/usage`."""
    router = APIRouter(prefix="/api/v1", tags=["spending"])

    @router.get(
        "/energy", summary="Joules, tokens and money, summed", dependencies=bridge.gate.depends(Scope.FLEET), **ENERGY
    )
    async def energy(http: Request) -> Response:
        asked, caller = queried(_Energy, http), caller_of(http)
        part = caller.part or Part()
        query = EnergyQuery(**codec.plain(asked), allow_devices=part.devices, allow_models=part.models)
        told = await from_ledger(bridge, "energy", query)
        names = {row["saved_against"] for row in told.get("rows", ()) if row.get("saved_against")}
        prices = [*filter(None, (_price(bridge.seen(caller), name) for name in sorted(names)))]
        total = codec.plain(whole(told.get("rows", ())))
        return answered({**told, "total": total, "savings": {"assumption": ASSUMPTION, "prices": prices}})

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


_SUMS = (
    "jobs", "answered", "cache_hits", "simulated_jobs", "prompt_tokens", "completion_tokens", "joules", "idle_joules",
    "lost_joules", "cancelled_joules", "energy_tokens", "energy_answers", "cost", "co2e_g", "cost_usd", "saved_usd", "cloud_usd",
)  # fmt: skip
"""Of what rows tell, what adds up."""


def whole(rows: Sequence[Mapping[str, Any]]) -> EnergyRow:
    """Give all rows as one; what none of them knows stays unknown, and sums of several currencies are no sum."""
    known = {name: [row[name] for row in rows if row.get(name) is not None] for name in _SUMS}
    sums: Json = {"jobs": 0} | {name: sum(values) for name, values in known.items() if values}
    currencies, against = ({row[name] for row in rows if row.get(name)} for name in ("currency", "saved_against"))
    if len(currencies) > 1:
        del sums["cost"]
    joules, tokens, answers = (sums.get(name) for name in ("joules", "energy_tokens", "energy_answers"))
    measured = sum(row.get("joules", 0.0) * (row.get("measured_share") or 0.0) for row in rows)
    return EnergyRow(
        key=ALL,
        **sums,
        currency=currencies.pop() if len(currencies) == 1 else None,
        saved_against=against.pop() if len(against) == 1 else None,
        joules_per_token=joules / tokens if joules is not None and tokens else None,
        joules_per_answer=joules / answers if joules is not None and answers else None,
        measured_share=measured / joules if joules else None,
    )


def _price(fleet: Fleet, name: str) -> PriceTold | None:
    """Give what `model@device` costs; None where it is not there, or has no price."""
    model, device = split_target(name)
    there = fleet.devices.get(device or "")
    info = None if there is None else there.models.get(canonical(model))
    if info is None or info.input_usd_per_mtok is None or info.output_usd_per_mtok is None:
        return None
    return {
        "name": name,
        "input_usd_per_mtok": info.input_usd_per_mtok,
        "output_usd_per_mtok": info.output_usd_per_mtok,
    }


def _used(rows: Iterable[Mapping[str, Any]], tenant: str) -> Json | None:
    """Give the sums of a tenant: its name stands there as what it is, since a key's own stands beside it."""
    found = next((row for row in rows if row.get("key") == tenant), None)
    if found is None:
        return None
    return {"tenant": tenant, **{name: value for name, value in found.items() if name != "key"}}

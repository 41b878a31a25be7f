"""What the fleet was like: how long answers took, and how a device was; the ledger counts, and this asks for no more than a key is
for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le, MaxLen
from fastapi import APIRouter, Request
from pydantic import ConfigDict
from starlette.responses import Response

from common import codec
from common.history import MOST_POINTS, HistoryQuery
from common.keys import Scope
from common.latency import LEAST_SPAN_S, MOST_COLUMNS, MOST_SPAN_S, SPAN_S, LatencyQuery, Moment
from common.messages import Token
from common.patterns import matches
from common.subjects import is_token
from dispatcher.bridge.bodies import answered
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.describing import GUARDED, described
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.native.fleet import Name, unknown_device
from dispatcher.bridge.native.replies import from_ledger, parameter, queried
from dispatcher.bridge.native.shapes import DeviceHistoryTold, LatencyTold
from dispatcher.bridge.surfaces import NATIVE
from dispatcher.bridge.wiring import Bridge

SINCE = parameter(
    "since_s", "of how many seconds", type="integer", minimum=LEAST_SPAN_S, maximum=MOST_SPAN_S, default=SPAN_S
)
UNTIL = parameter("until_unix_s", "until when, in seconds since 1970; else until now", type="number")


def step_of(most: int) -> dict[str, object]:
    """Describe how long a column, or a point, is."""
    what = f"seconds of each; {most} are told at most. Else what suits the span"
    return parameter("step_s", what, type="integer", minimum=1, maximum=MOST_SPAN_S)


LATENCY = described(
    surface=NATIVE,
    statuses=GUARDED | {413},
    schema=LatencyTold,
    parameters=(
        SINCE,
        step_of(MOST_COLUMNS),
        UNTIL,
        parameter("device", "whose answers alone", type="string"),
        parameter("model", "whose answers alone", type="string"),
    ),
)


HISTORY = described(
    surface=NATIVE,
    statuses=GUARDED | {404, 413},
    schema=DeviceHistoryTold,
    parameters=(SINCE, step_of(MOST_POINTS), UNTIL),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Past:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    since_s: Annotated[int, Ge(LEAST_SPAN_S), Le(MOST_SPAN_S)] = SPAN_S
    step_s: Annotated[int, Ge(1), Le(MOST_SPAN_S)] | None = None
    until_unix_s: Moment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Latency(_Past):
    device: Token | None = None
    model: Annotated[str, MaxLen(200)] | None = None


def figure_routes(bridge: Bridge) -> APIRouter:
    """The routes of figures over time below `/api/v1`."""
    router = APIRouter(prefix="/api/v1", tags=["fleet"])

    @router.get(
        "/latency",
        summary="How long answers took: a heat map, and percentiles",
        dependencies=bridge.gate.depends(Scope.FLEET),
        **LATENCY,
    )
    async def latency(http: Request) -> Response:
        asked, part = codec.plain(queried(_Latency, http)), caller_of(http).part
        asked.setdefault("until_unix_s", bridge.clock.unix_s())
        if part is not None:
            asked |= {"allow_devices": part.devices, "allow_models": part.models}
        return answered(await from_ledger(bridge, "latency", LatencyQuery(**asked)))

    @router.get(
        "/devices/{name}/history",
        summary="What a device was like: watts, heat, memory, jobs at once, and what it went through",
        dependencies=bridge.gate.depends(Scope.FLEET),
        **HISTORY,
    )
    async def history(http: Request, name: Name) -> Response:
        asked, caller = codec.plain(queried(_Past, http)), caller_of(http)
        asked.setdefault("until_unix_s", bridge.clock.unix_s())
        there = _may_be_told(bridge, caller, name)
        told = await from_ledger(bridge, "history", HistoryQuery(device=name, **asked))
        if not there and not (told["points"] or told["events"] or "before" in told):
            raise unknown_device(name)
        return answered(told)

    return router


def _may_be_told(bridge: Bridge, caller: Caller, name: str) -> bool:
    """Tell whether a device is there. One that is not may be in the ledger; nobody knows its models any more. Raises
    `UnknownDevice` for what can be none, and what the key is not for."""
    if name in bridge.presence.fleet().devices:
        if name not in bridge.seen(caller).devices:
            raise unknown_device(name)
        return True
    patterns = None if caller.part is None else caller.part.devices or None
    if not is_token(name) or not matches(name, patterns):
        raise unknown_device(name)
    return False

"""What the fleet has, and how its devices are; from their heartbeats, so that nobody is asked, but for an order to one."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from common import codec
from common.errors import BadRequest, BusTimeout, DeviceLost, NoResponders, NotPermitted, UnknownDevice, from_wire
from common.keys import Scope
from dispatcher.bridge.bodies import answered
from dispatcher.bridge.cards import device_card
from dispatcher.bridge.describing import GUARDED, described
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.native.limits import virtual_models
from dispatcher.bridge.native.replies import Json
from dispatcher.bridge.native.shapes import OF_ONE_DEVICE, DeviceOrdered, FleetDevices, FleetModels
from dispatcher.bridge.presence import Offer, offers
from dispatcher.bridge.surfaces import NATIVE
from dispatcher.bridge.wiring import Bridge

DRAIN_S = 5.0

Name = Annotated[str, Path(description="the device's name")]


def fleet_routes(bridge: Bridge) -> APIRouter:
    """The routes of models and devices below `/api/v1`."""
    router = APIRouter(prefix="/api/v1", tags=["fleet"])
    _add_lists(router, bridge)
    for verb, on, what in (
        ("drain", True, "Have a device take nothing new"),
        ("resume", False, "Have one take work again"),
    ):
        _add_order(router, bridge, verb, what, on=on)
    return router


def _add_lists(router: APIRouter, bridge: Bridge) -> None:
    @router.get(
        "/models",
        summary="The models that you may use, with what is known of them",
        dependencies=bridge.gate.depends(Scope.CHAT),
        **described(surface=NATIVE, schema=FleetModels),
    )
    async def models(http: Request) -> Response:
        found = offers(bridge.fleet(caller_of(http)))
        return answered({"models": [*virtual_models(), *map(model_card, found.values())]})

    @router.get(
        "/devices",
        summary="The devices that your key is for, as their last heartbeat says",
        dependencies=bridge.gate.depends(Scope.FLEET),
        **described(surface=NATIVE, schema=FleetDevices),
    )
    async def devices(http: Request) -> Response:
        found = sorted(bridge.seen(caller_of(http)).devices.values(), key=lambda one: one.name)
        return answered({"devices": [device_card(one, bridge.presence.heard_unix_s(one.name)) for one in found]})

    for path, scope, answer in (("/models", Scope.CHAT, models), ("/devices", Scope.FLEET, devices)):
        needs = bridge.gate.depends(scope)
        router.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False, dependencies=needs)


def _add_order(router: APIRouter, bridge: Bridge, verb: str, what: str, *, on: bool) -> None:
    @router.post(
        f"/devices/{{name}}/{verb}",
        summary=what,
        dependencies=bridge.gate.depends(Scope.ADMIN),
        **described(surface=NATIVE, statuses=GUARDED | {404, 502}, schema=DeviceOrdered),
    )
    async def order(name: Name) -> Response:
        return answered({"name": name, "state": await _drain(bridge, name, on=on)})


async def _drain(bridge: Bridge, name: str, *, on: bool) -> str:
    """Have a device take nothing new, or take it again, and give its state. Raises as `ordered` does."""
    if name not in bridge.presence.fleet().devices:
        raise unknown_device(name)
    return str((await ordered(bridge, name, "drain", {"on": on}, within_s=DRAIN_S)).get("state", "unknown"))


async def ordered(bridge: Bridge, device: str, verb: str, order: Json, *, within_s: float, how: str = "") -> Json:
    """Tell a device, as operators do on NATS, and give what it answers; `how` is what they have to say besides. Raises `DeviceLost`
    and `NotPermitted`, and what the device answers with."""
    subject, payload = bridge.subjects.device(device, verb), codec.encode(order)
    try:
        told = codec.decode((await bridge.bus.request(subject, payload, timeout_s=within_s)).data)
    except (NoResponders, BusTimeout) as error:
        raise DeviceLost(f"device {device} does not answer: it is off, or on its way back") from error
    except NotPermitted as error:
        raise NotPermitted(
            f"the NATS server does not let the bridge tell devices anything: send it as an operator, with  nats req {subject} "
            f"{shlex.quote(payload.decode())}{how}"
        ) from error
    if "error" in told:
        raise from_wire(told["error"]) if isinstance(told["error"], dict) else BadRequest(f"device {device} refuses")
    return told


def unknown_device(name: str) -> UnknownDevice:
    """Say that there is none, as far as the asker may know."""
    return UnknownDevice(f"no device is called {name[:80]!r}: GET /api/v1/devices lists those there are", param="name")


def model_card(offer: Offer) -> dict[str, Any]:
    """Say what is known of a model."""
    facts = codec.plain(offer.info)
    for name in OF_ONE_DEVICE:
        facts.pop(name, None)
    return {**facts, "name": offer.name, "devices": offer.devices, "loaded_on": offer.loaded_on}

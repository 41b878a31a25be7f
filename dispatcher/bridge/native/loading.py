"""Has a device load a model before anybody asks it something; the device decides whether it can."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import RootModel
from starlette.responses import Response

from common import codec
from common.errors import BadRequest, GarbledReply, UnknownModel, UnsupportedByModel
from common.keys import Scope
from common.load_orders import LoadOrder, LoadTold
from dispatcher.bridge.bodies import answered, json_body
from dispatcher.bridge.describing import ASKS, described
from dispatcher.bridge.native.fleet import Name as DeviceName
from dispatcher.bridge.native.fleet import ordered, unknown_device
from dispatcher.bridge.native.replies import Json
from dispatcher.bridge.native.shapes import ModelOrdered
from dispatcher.bridge.reading import read_as
from dispatcher.bridge.surfaces import NATIVE
from dispatcher.bridge.wiring import Bridge
from dispatcher.fleet import canonical

HOP_S = 5.0
"""The device answers in time; its answer comes a little later."""

EXAMPLE = '{"model":"llama3.2:3b"}'


class ModelToLoad(RootModel[LoadOrder]):
    """A model that a device is to load: to stay for `keep_s` without work, or as long as any there; `wait_s` is how long the answer
    waits for it."""


def loading_routes(bridge: Bridge) -> APIRouter:
    """The route `/api/v1/devices/{name}/load`."""
    router = APIRouter(prefix="/api/v1", tags=["fleet"])

    @router.post(
        "/devices/{name}/load",
        summary="Have a device load a model ahead of any job",
        dependencies=bridge.gate.depends(Scope.ADMIN),
        **described(
            ModelToLoad,
            surface=NATIVE,
            statuses=ASKS | {502},
            schema=ModelOrdered,
            examples={"For an hour": '{"model":"llama3.2:3b","keep_s":3600}'},
        ),
    )
    async def load(http: Request, name: DeviceName) -> Response:
        asked = read_as(ModelToLoad, await json_body(http), example=EXAMPLE, elsewhere={}).root
        model = _model(bridge, name, asked.model)
        order = {**codec.plain(asked), "model": model}
        how = f" --timeout={asked.wait_s + HOP_S:g}s"
        told = _read(await ordered(bridge, name, "load", order, within_s=asked.wait_s + HOP_S, how=how), name)
        return answered({"name": name, "model": model, "state": told.state, "seconds": told.seconds})

    return router


def _read(wire: Json, name: str) -> LoadTold:
    try:
        return codec.build(LoadTold, wire)
    except BadRequest as error:
        raise GarbledReply(
            f"what device {name} says of the load can't be read: it may be of another version"
        ) from error


def _model(bridge: Bridge, name: str, model: str) -> str:
    """Give a model as the device calls it. Raises `UnknownDevice`, `UnknownModel` and `UnsupportedByModel`."""
    device = bridge.presence.fleet().devices.get(name)
    if device is None:
        raise unknown_device(name)
    if device.beat.remote:
        raise UnsupportedByModel(f"the models of {name} run elsewhere, and nothing of them is loaded", param="name")
    if (full := canonical(model)) not in device.models:
        raise UnknownModel(
            f"{name} has no model {model[:80]!r}: GET /api/v1/devices lists those that it has", param="model"
        )
    return full

"""The list of models, as OpenAI's clients read it, and as Anthropic's do, at the same path; it knows no device's state."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from common.errors import UnknownModel
from common.keys import Scope
from common.messages import AUTO, split_target
from common.virtual import VIRTUAL, Virtual, virtual
from dispatcher.bridge.bodies import answered
from dispatcher.bridge.describing import GUARDED, described
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.openai import reply
from dispatcher.bridge.openai.shapes import ModelList, OneModel
from dispatcher.bridge.presence import Offer, find, offers
from dispatcher.bridge.surfaces import ANTHROPIC
from dispatcher.bridge.wiring import Bridge
from dispatcher.fleet import Fleet

VERSION_HEADER = "anthropic-version"
"""Every client of Anthropic's sends it, and no other does."""


def models_routes(bridge: Bridge) -> APIRouter:
    """The routes below `/v1/models`."""
    router = bridge.gate.router(Scope.CHAT, prefix="/v1/models", tags=["models"])

    @router.get("", summary="The models that the fleet has now", **described(schema=ModelList))
    async def models(http: Request) -> Response:
        cards = list(_cards(bridge, bridge.fleet(caller_of(http))))
        if not _anthropic(http):
            return answered({"object": "list", "data": cards})
        infos = [anthropic_info(card) for card in cards]
        ends = {"first_id": infos[0]["id"], "last_id": infos[-1]["id"]}  # `auto` is always there
        return answered({"data": infos, "has_more": False, **ends}, headers=ANTHROPIC.naming())

    @router.get("/{model:path}", summary="One model", **described(statuses=GUARDED | {404}, schema=OneModel))
    async def model(http: Request, model: str) -> Response:
        card = _one(bridge, bridge.fleet(caller_of(http)), model)
        if card is not None:
            if _anthropic(http):
                return answered(anthropic_info(card), headers=ANTHROPIC.naming())
            return answered(card)
        unknown = UnknownModel(
            f"no device has the model {model[:200]!r}: GET /v1/models lists those there are", param="model"
        )
        if _anthropic(http):
            return ANTHROPIC.refusal(unknown)
        raise unknown

    for path, answer in (("", models), ("/{model:path}", model)):
        router.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False)
    return router


def _anthropic(http: Request) -> bool:
    return VERSION_HEADER in http.headers


def _cards(bridge: Bridge, fleet: Fleet) -> Iterator[reply.Json]:
    for name, one in VIRTUAL.items():
        yield _virtual_card(name, one, bridge)
    for offer in offers(fleet).values():
        yield _card(offer, bridge)


def _one(bridge: Bridge, fleet: Fleet, name: str) -> reply.Json | None:
    """Give the card of a model by any of its names: with `:latest` or without, and with the device behind an `@` that has it."""
    if (found := virtual(name)) is not None:
        return {**_virtual_card(AUTO, found, bridge), "id": name}
    offer, pinned = find(fleet, name), None
    if offer is None:
        model, pinned = split_target(name)
        if pinned is not None and (one := virtual(model)) is not None:
            return {**_virtual_card(AUTO, one, bridge), "id": name} if pinned in fleet.devices else None
        offer = find(fleet, model)
    if offer is None or (pinned is not None and pinned not in offer.devices):
        return None
    return {**_card(offer, bridge), "id": name}


def _virtual_card(name: str, one: Virtual, bridge: Bridge) -> reply.Json:
    return reply.model_card(name, bridge.started_unix_s, {"description": one.what})


def _card(offer: Offer, bridge: Bridge) -> reply.Json:
    info = offer.info
    facts = {
        "devices": offer.devices,
        "loaded_on": offer.loaded_on,
        "parameters_b": info.parameters_b,
        "context_tokens": info.context_tokens,
        "capabilities": info.capabilities,
        "input_usd_per_mtok": info.input_usd_per_mtok,
        "output_usd_per_mtok": info.output_usd_per_mtok,
    }
    return reply.model_card(
        offer.name, bridge.started_unix_s, {key: value for key, value in facts.items() if value is not None}
    )


def anthropic_info(card: reply.Json) -> reply.Json:
    """Write a model of the list as Anthropic has it."""
    return {
        "type": "model",
        "id": card["id"],
        "display_name": card["id"],
        "created_at": datetime.fromtimestamp(card["created"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
        "max_input_tokens": card["x_drover"].get("context_tokens"),
        "x_drover": card["x_drover"],
    }

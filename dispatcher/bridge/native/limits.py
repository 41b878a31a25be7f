"""What may be sent, told before it is: the bounds that requests are held to elsewhere, and the names that they may have."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from common.conversations import MOST_TURN_CHARS, MOST_TURNS
from common.keys import Scope
from common.messages import MOST_IMAGES, CacheWish, Priority
from common.strategies import STRATEGIES, Known
from common.virtual import VIRTUAL
from dispatcher.bridge.bodies import answered
from dispatcher.bridge.describing import described
from dispatcher.bridge.files import bounds, desk
from dispatcher.bridge.limits import Terms
from dispatcher.bridge.native.request import MOST_FILES
from dispatcher.bridge.native.shapes import LimitsTold, VirtualModel
from dispatcher.bridge.surfaces import NATIVE
from dispatcher.bridge.wiring import Bridge


def limit_routes(bridge: Bridge) -> APIRouter:
    """The route `/api/v1/limits`."""
    router = APIRouter(prefix="/api/v1", tags=["chat"])

    @router.get(
        "/limits",
        summary="What may be sent: sizes, files, and the names of models, strategies and priorities",
        dependencies=bridge.gate.depends(Scope.CHAT),
        **described(surface=NATIVE, schema=LimitsTold),
    )
    async def limits() -> Response:
        return answered(_told(bridge.terms, message_bytes=bridge.bus.max_payload))

    return router


def virtual_models() -> list[VirtualModel]:
    """Give the names that stand for a choice."""
    return [{"name": name, "virtual": True, "description": one.what} for name, one in VIRTUAL.items()]


def _told(terms: Terms, *, message_bytes: int) -> LimitsTold:
    return {
        "body_bytes": terms.max_bytes,
        "upload_bytes": terms.max_upload_bytes,
        "message_bytes": message_bytes,
        "images": {
            "types": [*bounds.IMAGE_TYPES],
            "pixels": bounds.MOST_PIXELS,
            "per_message": MOST_IMAGES,
            "per_request": desk.MOST_IMAGES,
        },
        "documents": {
            "types": [*bounds.DOCUMENT_TYPES],
            "per_message": MOST_FILES,
            "pages": desk.MOST_PAGES,
            "characters": desk.MOST_CHARACTERS,
            "page_images": bounds.MOST_PAGE_IMAGES,
        },
        "conversation": {"turns": MOST_TURNS, "turn_characters": MOST_TURN_CHARS},
        "models": virtual_models(),
        "strategies": [_strategy(name, one) for name, one in STRATEGIES.items()],
        "priorities": [*Priority],
        "cache": [*CacheWish],
    }


def _strategy(name: str, one: Known) -> Any:
    return {"name": name, "description": one.what, **({} if one.example is None else {"example": one.example})}

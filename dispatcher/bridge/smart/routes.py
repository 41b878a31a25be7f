"""The paths of the simple router.

A file that can't be read does not cost its question the answer: it is answered without the file, and `file_processing_error` says
why. Whoever needs the file looks at `file_processed`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response
from typing_extensions import TypedDict  # pydantic wants this one of Pythons before 3.12

from common import frames
from common.errors import BadRequest, PayloadTooLarge, UnreadableFile
from common.keys import Scope
from common.labels import seen
from common.messages import ChatRequest
from dispatcher.bridge.asking import Asking
from dispatcher.bridge.bodies import answered, json_body
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.describing import RUNS, described, form_body
from dispatcher.bridge.entry import entry
from dispatcher.bridge.files.desk import Attached
from dispatcher.bridge.gate import caller_of
from dispatcher.bridge.openai import reply
from dispatcher.bridge.presence import Offer, offers
from dispatcher.bridge.reading import read_as, read_fields
from dispatcher.bridge.smart.request import (
    EXAMPLE,
    KEY_HEADER,
    MOST_PROMPT,
    RouteAnswer,
    RouteForm,
    RouteRequest,
    to_chat,
)
from dispatcher.bridge.speech import BY_HEADER, WholeOnly
from dispatcher.bridge.statuses import WrongType
from dispatcher.bridge.surfaces import OPENAI
from dispatcher.bridge.wiring import Bridge
from dispatcher.bridge.wishes import CHAT_PARAMETERS

Json = dict[str, Any]

KEY_PARAMETER: Json = {
    "name": "X-OpenAI-API-Key",
    "in": "header",
    "required": False,
    "description": "the key that paid models are asked with; the body's `openai_api_key` means the same. Without either "
    "the fleet's own counts, from the environment of its cloud agent",
    "schema": {"type": "string", "format": "password"},
}
PARAMETERS = (*(one for one in CHAT_PARAMETERS if one["name"] != "X-Drover-Progress"), KEY_PARAMETER)

MOST_FIELDS = 16


class RoutedModel(TypedDict):
    """A model that can answer; prices are null where it costs nothing but energy."""

    name: str
    provider: Literal["local", "cloud"]
    devices: list[str]
    capabilities: list[str]
    context_tokens: int | None
    input_usd_per_mtok: float | None
    output_usd_per_mtok: float | None


class RoutedModels(TypedDict):
    models: list[RoutedModel]


def smart_routes(bridge: Bridge) -> APIRouter:
    """The routes `/models`, `/route` and `/route/with-file`."""
    router = bridge.gate.router(Scope.CHAT, tags=["simple router"])

    @router.get("/models", summary="What can answer, and what it costs", **described(schema=RoutedModels))
    async def models(http: Request) -> Response:
        found = offers(bridge.fleet(caller_of(http)))
        return answered({"models": [_card(offer, bridge) for offer in found.values()]})

    router.add_api_route("/models", models, methods=["HEAD"], include_in_schema=False)

    @router.post(
        "/route",
        summary="Have one prompt answered by the model that suits it",
        dependencies=bridge.gate.asks(),
        **described(
            RouteRequest,
            statuses=RUNS,
            schema=RouteAnswer,
            examples={"One question": EXAMPLE},
            parameters=PARAMETERS,
        ),
    )
    async def route(http: Request) -> Response:
        asked = read_as(RouteRequest, await json_body(http), example=EXAMPLE, elsewhere={})
        return _answer(bridge, http, asked, None)

    @router.post(
        "/route/with-file",
        summary="The same, about an image or a PDF",
        dependencies=bridge.gate.asks(),
        description="A file that can't be read is left out: then `file_processed` is false, and `file_processing_error` says why.",
        **form_body(RouteForm, described(statuses=RUNS, schema=RouteAnswer, parameters=PARAMETERS)),
    )
    async def route_with_file(http: Request) -> Response:
        fields, file = await _form(http)
        return _answer(bridge, http, read_fields(RouteRequest, fields), file)

    return router


def _answer(bridge: Bridge, http: Request, asked: RouteRequest, file: Attached | None) -> Response:
    come = entry(caller_of(http), http.headers)
    chat = to_chat(asked, job=come.job, key=http.headers.get(KEY_HEADER))
    if come.priority is not None:
        chat = replace(chat, priority=come.priority)
    chat = bridge.sent(come, chat)
    dialect = SmartDialect(job=come.job, filed=file is not None)
    return bridge.told(chat, come.caller, _frames(bridge.asking, chat, come.caller, file, dialect), dialect)


async def _frames(
    asking: Asking, chat: ChatRequest, caller: Caller, file: Attached | None, dialect: SmartDialect
) -> AsyncGenerator[frames.Frame, None]:
    """Give the frames of the answer; where the file can't be read, of the one without it."""
    filed, asked = file is not None, asking.frames(chat, caller, () if file is None else (file,))
    del file  # that has it now, until it has been read
    try:
        async with aclosing(asked) as source:
            async for frame in source:
                yield frame
    except (UnreadableFile, PayloadTooLarge) as error:
        if not filed:
            raise
        dialect.fault = error.message
    else:
        return
    # Behind the error, whose traceback has the file, too.
    async with aclosing(asking.frames(chat, caller)) as source:
        async for frame in source:
            yield frame


async def _form(http: Request) -> tuple[Json, Attached | None]:
    """Read a form: its fields, and its file. Raises `WrongType` and `BadRequest`."""
    if http.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise WrongType("the content type is no form: send it with  curl -F prompt=… -F file=@photo.jpg")
    if http.headers.get("content-encoding", "identity") != "identity":
        raise WrongType("compressed bodies are not taken: send the form as it is")
    fields: Json = {}
    file = None
    most_bytes = 4 * MOST_PROMPT  # a character takes four at most
    async with http.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=most_bytes) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                if name != "file":
                    raise BadRequest(f"the file is called {name[:40]!r}: call it file", param=name[:40])
                file = Attached(name=seen(value.filename or "")[:200] or "file", data=await value.read())
            elif name in fields:
                raise BadRequest(f"{name[:40]} comes twice: send it once", param=name[:40])
            elif value.strip():
                fields[name] = value
    return fields, file if file is not None and file.data else None


class SmartDialect(WholeOnly):
    """Writes one answer; `fault` is why its file could not be read."""

    surface = OPENAI
    called: Mapping[str, str] = MappingProxyType(
        {**BY_HEADER, "messages": "prompt", "images": "file", "provider_key": "openai_api_key"}
    )

    def __init__(self, *, job: str, filed: bool) -> None:
        self._job = job
        self._filed = filed
        self.fault: str | None = None

    def whole(self, model: str, text: str, end: frames.End) -> Json:
        return {
            "response": text,
            "selected_model": model,
            "file_processed": self.fault is None if self._filed else None,
            "file_processing_error": self.fault,
            "x_drover": reply.receipt(self._job, end),
        }


def _card(offer: Offer, bridge: Bridge) -> Json:
    devices = bridge.presence.fleet().devices
    remote = any(devices[name].beat.remote for name in offer.devices if name in devices)
    info = offer.info
    return {
        "name": offer.name,
        "provider": "cloud" if remote else "local",
        "devices": offer.devices,
        "capabilities": info.capabilities,
        "context_tokens": info.context_tokens,
        "input_usd_per_mtok": info.input_usd_per_mtok,
        "output_usd_per_mtok": info.output_usd_per_mtok,
    }

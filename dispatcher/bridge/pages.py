"""The pages for people: the chat at `/`, the API's description at `/docs`, and their files; all of it without internet access."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from common import codec
from dispatcher.bridge.headers import DOCS_POLICY, PAGE_POLICY
from dispatcher.bridge.openai.request import EXAMPLE, ChatCompletionRequest
from dispatcher.bridge.wishes import CHAT_PARAMETERS, ROUTE_PARAMETERS

UI = Path(__file__).parent / "ui"


class Files(StaticFiles):
    """The pages' own files are asked for anew each time (an update shows at once); vendored ones have their version in the name."""

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, status_code: int = 200) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        forever = "/vendor/" in str(full_path)
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if forever else "no-cache"
        return response


def pages() -> APIRouter:
    """The routes of the pages; they are no part of the API's description."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def chat_page() -> Response:
        return _page("index.html", PAGE_POLICY)

    @router.api_route("/docs", methods=["GET", "HEAD"])
    async def docs_page() -> Response:
        return _page("docs.html", DOCS_POLICY)

    @router.api_route("/favicon.ico", methods=["GET", "HEAD"])
    async def icon() -> Response:
        return FileResponse(UI / "icon.svg", media_type="image/svg+xml")

    return router


def mount_files(app: FastAPI) -> None:
    """Serve the pages' files below `/ui/`."""
    app.mount("/ui", Files(directory=UI), name="ui")


def describe(app: FastAPI) -> None:
    """Publish at `/openapi.json` what the chat route reads: it takes its body apart itself, so that errors have OpenAI's shape."""

    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            _, models = models_json_schema(
                [(ChatCompletionRequest, "validation")], ref_template="#/components/schemas/{model}"
            )
            found.setdefault("components", {}).setdefault("schemas", {}).update(models["$defs"])
            for path, parameters in _READ.items():
                found["paths"][path]["post"] |= {"requestBody": _BODY, "parameters": list(parameters)}
            _forget_422(found)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign]  # FastAPI's documented way to change the description


def _forget_422(found: dict[str, Any]) -> None:
    """FastAPI promises a 422 of its own shape for every path with parameters; here no such answer exists."""
    for operations in found["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        found["components"]["schemas"].pop(name, None)


_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/ChatCompletionRequest"},
            "examples": {"short": {"summary": "One question", "value": codec.decode(EXAMPLE.encode())}},
        }
    },
}


_READ = {"/v1/chat/completions": CHAT_PARAMETERS, "/v1/route/explain": ROUTE_PARAMETERS}
"""The routes that take a chat, and the headers that count there."""


def _page(name: str, policy: str) -> Response:
    return FileResponse(
        UI / name, media_type="text/html", headers={"content-security-policy": policy, "cache-control": "no-cache"}
    )

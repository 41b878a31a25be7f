"""The pages for people: the chat at `/`, the API's description at `/docs`, and their files; all of it without internet access."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from dispatcher.bridge.bodies import answered
from dispatcher.bridge.headers import DOCS_POLICY, PAGE_POLICY

UI = Path(__file__).parent / "ui"

RUNNING = "Ollama is running"
"""The words of Ollama's own page, which some of its clients compare."""

CARD = {
    "name": "drover",
    "version": version("drover"),
    "endpoints": [
        "/route",
        "/route/with-file",
        "/models",
        "/health",
        "/v1",
        "/api",
        "/api/v1",
        "/docs",
        "/openapi.json",
    ],
}
"""For programs that ask what this is: they say that they read JSON and nothing else, which Ollama's do not."""


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
    async def root(http: Request) -> Response:
        """The chat, for those who can show it; programs ask here whether Ollama is running, and want to hear so."""
        accepted = http.headers.get("accept", "").lower()
        if "text/html" in accepted:
            told: Response = _page("index.html", PAGE_POLICY)
        elif "application/json" in accepted and "*/*" not in accepted:
            told = answered(CARD)
        else:
            told = PlainTextResponse(RUNNING)
        told.headers["vary"] = "accept"
        return told

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


def _page(name: str, policy: str) -> Response:
    return FileResponse(
        UI / name, media_type="text/html", headers={"content-security-policy": policy, "cache-control": "no-cache"}
    )

"""The routes of the pages: one for each view, refused to who may not see it, and what an installed page needs; all of it without
internet access."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from common import codec
from common.errors import FleetError, Unauthorized
from dispatcher.bridge.bodies import answered
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.gate import Gate
from dispatcher.bridge.headers import PAGE_POLICY
from dispatcher.bridge.pages.assets import UI, Assets
from dispatcher.bridge.pages.shell import Shell, Shown
from dispatcher.bridge.pages.views import VIEWS, View, open_to
from dispatcher.bridge.statuses import verdict

Handler = Callable[[Request], Awaitable[Response]]

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

ICONS = (("192", 192, "any"), ("512", 512, "any"), ("maskable", 512, "maskable"))
"""Name, pixels and purpose of those that Chromium asks for before it offers to install a page; `deploy/icons.py` draws them."""

_READ = ["GET", "HEAD"]


def pages(gate: Gate, assets: Assets) -> APIRouter:
    """The routes of the pages; they are no part of the API's description."""
    router = APIRouter(include_in_schema=False)
    shell = Shell(assets)
    for view in VIEWS:
        shown = _view(view, gate, shell)
        router.add_api_route(view.path, _or_card(shown) if view.path == "/" else shown, methods=_READ)
    _add_installed(router, shell, assets)

    @router.api_route("/docs", methods=_READ)
    async def docs_page() -> Response:
        return shell.docs()

    return router


def _view(view: View, gate: Gate, shell: Shell) -> Handler:
    """Show a view to who may see it.

    1. A stranger gets the door, and nothing else of the page. 2. Who can't be known gets the reason. 3. Who may not see this view
    gets the others; where logo and installed page lead, the first of them.
    """

    async def show(http: Request) -> Response:
        try:
            caller = await gate.identified(http)
        except Unauthorized:  # 1
            return shell.page(Shown(view=None, stranger=True, fault="A key, please"), status=401)
        except FleetError as error:  # 2
            shown = Shown(view=None, fault="Nobody can be let in", why=error.message)
            return shell.page(shown, status=verdict(error).status)
        menu = tuple(open_to(caller))
        came, user = caller.grant is not None, caller.tenant + caller.mark
        seen = Shown(view=view, menu=menu, scopes=caller.scopes, came=came, user=user)
        if view not in menu:  # 3
            if view.path == "/" and menu:
                return RedirectResponse(menu[0].path, headers={"cache-control": "no-cache"})
            fault = f"{view.title} is not for this key"
            return shell.page(replace(seen, view=None, fault=fault, why=_why_not(view, caller)), status=403)
        return shell.page(seen)

    return show


def _why_not(view: View, caller: Caller) -> str:
    if view.scope is not None and not caller.may(view.scope):
        return (
            f"This key lacks the scope {view.scope}, which the view needs. Whoever looks after the fleet can give it."
        )
    return "This key is for a part of the fleet, and the view tells of all of it. Whoever looks after the fleet can change that."


def _or_card(shown: Handler) -> Handler:
    """Show the page to those who can show it; programs ask here whether Ollama is running, and want to hear so."""

    async def root(http: Request) -> Response:
        accepted = http.headers.get("accept", "").lower()
        if "text/html" in accepted:
            told = await shown(http)
        elif "application/json" in accepted and "*/*" not in accepted:
            told = answered(CARD)
        else:
            told = PlainTextResponse(RUNNING)
        told.headers["vary"] = "accept"
        return told

    return root


def _add_installed(router: APIRouter, shell: Shell, assets: Assets) -> None:
    """What a browser needs to install the page, and to say so when no bridge answers."""
    source = (UI / "sw.js").read_bytes()

    @router.api_route("/manifest.webmanifest", methods=_READ)
    async def manifest() -> Response:
        return Response(codec.encode(_manifest(assets)), media_type="application/manifest+json")

    @router.api_route("/sw.js", methods=_READ)
    async def worker() -> Response:
        # A worker is good for what lies below its own address, so it stands at the top, where it can't have an edition.
        headers = {"cache-control": "no-cache", "content-security-policy": PAGE_POLICY}
        return Response(source, 200, headers, "text/javascript")

    @router.api_route("/offline", methods=_READ)
    async def offline() -> Response:
        return shell.offline()

    @router.api_route("/favicon.ico", methods=_READ)
    async def icon() -> Response:
        found = assets.get("icon.svg")
        assert found is not None  # noqa: S101  # it is a part of the package
        told = found.response(takes_gzip=False)
        told.headers["cache-control"] = "no-cache"  # this address has no edition
        return told


def _manifest(assets: Assets) -> dict[str, Any]:
    """Describe the page as a browser installs it (W3C Web Application Manifest)."""
    icons: list[dict[str, str]] = [{"src": assets.address("icon.svg"), "sizes": "any", "type": "image/svg+xml"}]
    for name, size, purpose in ICONS:
        address = assets.address(f"icons/{name}.png")
        icons.append({"src": address, "sizes": f"{size}x{size}", "type": "image/png", "purpose": purpose})
    return {
        "id": "/",
        "name": "Drover",
        "short_name": "Drover",
        "description": "Ask your fleet, and watch it",
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": "#f7f5f0",
        "theme_color": "#0d6e64",
        "icons": icons,
        "shortcuts": [{"name": view.title, "url": view.path} for view in VIEWS[1:4]],
    }

"""Each route stands behind the gate, or is named here as one that doesn't, with its reason."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from common import settings
from dispatcher.bridge.app import joined
from dispatcher.bridge.describing import RUNS, gives_work
from dispatcher.bridge.gate.gate import Need
from dispatcher.bridge.pages.views import VIEWS
from dispatcher.bridge.sse import Curfew
from dispatcher.settings import BridgeSettings
from tests.nats_server import nats_server

OPEN = {
    **{view.path: "a page, which asks the gate itself, and says in words who may see it" for view in VIEWS},
    "/": "a page as well, and to others the words by which Ollama's clients know it",
    "/docs": "how to use it: the same for everybody",
    "/openapi.json": "the same",
    "/health": "for probes, which have no key; strangers are told no more than whether it lives",
    "/metrics": "for this machine alone, by default",
    "/api/version": "by which clients find out what they talk to",
    "/api/v1/session": "takes a key, for a cookie, and lets no other in",
    "/favicon.ico": "a picture",
    "/ui/vendor": "the pages' files: the same for everybody",
    "/ui/{edition}/{name:path}": "the same",
    "/manifest.webmanifest": "how the page is installed: the same",
    "/sw.js": "what a browser keeps of it: the same",
    "/offline": "what it then shows when no bridge answers: the same",
}
REFUSES = {"/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete", "/api/blobs/{digest}"}
"""What everybody is refused, whoever asks."""


def gated(route: RouteContext) -> bool:
    needs = route.dependant.dependencies if isinstance(route.original_route, APIRoute) else ()
    return any(isinstance(one.call, Need) for one in needs)


async def routed(monkeypatch: pytest.MonkeyPatch) -> tuple[list[RouteContext], dict[str, Any]]:
    """Give the routes of a bridge, and what `/openapi.json` says of its paths."""
    async with nats_server() as nats:
        for name, value in {"NATS_URL": nats.url, "DROVER_LEDGER": "off", "DROVER_HTTP_KEYS": "off"}.items():
            monkeypatch.setenv(name, value)
        async with joined(settings.load(BridgeSettings), Curfew()) as (app, _):
            return list(iter_route_contexts(app.routes)), app.openapi()["paths"]


async def test_every_route_asks_who_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one that does not is a door that stands open; and `/openapi.json` says of each that it does."""
    routes, described = await routed(monkeypatch)
    behind = {str(route.path_format) for route in routes if gated(route)}
    said = {path for path, methods in described.items() if all("security" in method for method in methods.values())}

    assert set() == {str(route.path) for route in routes if not gated(route)} - OPEN.keys() - REFUSES
    assert said | {"/api/v1/session"} == behind & described.keys() | {"/api/v1/session"}
    assert len(behind) > 20


async def test_every_route_that_runs_jobs_is_counted_as_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none that only reads: by the statuses that each says it may answer with. `/openapi.json` tells which are."""
    routes, described = await routed(monkeypatch)
    count = {str(route.path_format) for route in routes if gated(route) and gives_work(route)}
    run = {path for path, methods in described.items() if "499" in methods.get("post", {}).get("responses", {})}
    told = {path for path, methods in described.items() if "counts among the requests" in str(methods)}

    assert run == told == count & described.keys()
    assert {"/v1/jobs"} == count - described.keys()  # an alias
    assert 499 in RUNS
    assert len(run) > 10

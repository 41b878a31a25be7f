"""The application: all routes, and what stands before them; it opens nothing."""

from __future__ import annotations

from fastapi import FastAPI

from common import tracing
from common.metrics import Metrics
from common.sparing import left_out
from dispatcher.bridge.anthropic.routes import anthropic_routes
from dispatcher.bridge.describing import describe
from dispatcher.bridge.failures import answer_errors
from dispatcher.bridge.gate.sessions import session_routes
from dispatcher.bridge.gate.telling import TellLimits
from dispatcher.bridge.headers import EXPOSED
from dispatcher.bridge.health import health_page
from dispatcher.bridge.limits import BodyLimit, HostCheck, OriginCheck, OtherSites, SecurityHeaders, Terms
from dispatcher.bridge.live.routes import live_routes
from dispatcher.bridge.native.routes import native_routes
from dispatcher.bridge.ollama.routes import ollama_routes
from dispatcher.bridge.openai.models import models_routes
from dispatcher.bridge.openai.routes import explained, openai_routes
from dispatcher.bridge.pages import Assets, mount_files, pages
from dispatcher.bridge.smart.routes import smart_routes
from dispatcher.bridge.surfaces import refusal
from dispatcher.bridge.traces import Traced
from dispatcher.bridge.traffic import Showing, Traffic, metrics_page
from dispatcher.bridge.wiring import Bridge


def compose(bridge: Bridge, metrics: Metrics | None, *, any_address: bool, terms: Terms, showing: Showing) -> FastAPI:
    """Put routes, pages and limits together; without `metrics` nothing is counted and shown. `any_address` tells that other
    machines reach it, by whatever address. `terms` and `showing` may change while it runs."""
    app = FastAPI(
        title="Drover",
        version="1",
        description="OpenAI's, Anthropic's and Ollama's APIs in front of a fleet of small devices. Answers carry `x_drover`: where "
        "they ran, and why.",
        openapi_url=None,  # `describe` has it
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Traces and metrics are our own, see `traces` and `traffic`; FastAPI's would ask at each request whether they are wanted.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    with left_out("pydantic.v1"):  # FastAPI would look whether models are of that kind, which ours are not: 1.4 MB
        _route(app, bridge)
        if metrics is not None:
            app.include_router(metrics_page(metrics, showing))
        _settle(app)
    describe(app)
    answer_errors(app)
    _guard(app, terms, any_address=any_address)
    if metrics is not None:
        app.add_middleware(Traffic, metrics=metrics)
    if tracing.active():
        app.add_middleware(Traced)
    return app


def _route(app: FastAPI, bridge: Bridge) -> None:
    """Add the routes of all APIs."""
    app.include_router(openai_routes(bridge))
    app.include_router(models_routes(bridge))
    app.include_router(anthropic_routes(bridge))
    app.include_router(ollama_routes(bridge))
    app.include_router(native_routes(bridge, explained))
    app.include_router(session_routes(bridge.gate, bridge.bus, bridge.subjects, bridge.clock))
    app.include_router(health_page(bridge.presence, bridge.gate))
    app.include_router(smart_routes(bridge))
    app.include_router(live_routes(bridge))
    assets = Assets()
    app.include_router(pages(bridge.gate, assets))
    mount_files(app, assets)


def _settle(app: FastAPI) -> None:
    """Have FastAPI put its routes together, which it would do while the first client waits."""
    for route in app.routes:
        route.matches({"type": "http", "method": "GET", "path": "", "headers": []})


def _guard(app: FastAPI, terms: Terms, *, any_address: bool) -> None:
    """Put the limits before the routes; the last one that is added is the first that a request meets."""
    app.add_middleware(BodyLimit, terms=terms, refuse=refusal)
    app.add_middleware(OriginCheck, terms=terms, refuse=refusal)
    app.add_middleware(TellLimits)
    app.add_middleware(OtherSites, terms=terms, expose=EXPOSED)
    app.add_middleware(HostCheck, terms=terms, any_address=any_address, refuse=refusal)
    app.add_middleware(SecurityHeaders)

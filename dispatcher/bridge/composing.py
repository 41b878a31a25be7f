"""The application: all routes, and what stands before them; it opens nothing."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from common import tracing
from common.metrics import Metrics
from dispatcher.bridge.anthropic.routes import anthropic_routes
from dispatcher.bridge.describing import describe
from dispatcher.bridge.explaining import explaining
from dispatcher.bridge.failures import answer_errors
from dispatcher.bridge.gate.sessions import session_routes
from dispatcher.bridge.gate.telling import TellLimits
from dispatcher.bridge.headers import EXPOSED
from dispatcher.bridge.health import health_page
from dispatcher.bridge.jobs import jobs
from dispatcher.bridge.limits import BodyLimit, HostCheck, OriginCheck, SecurityHeaders
from dispatcher.bridge.ollama.routes import ollama_routes
from dispatcher.bridge.openai.models import models_routes
from dispatcher.bridge.openai.routes import explained, openai_routes
from dispatcher.bridge.pages import mount_files, pages
from dispatcher.bridge.surfaces import refusal
from dispatcher.bridge.traces import Traced
from dispatcher.bridge.traffic import Traffic, metrics_page
from dispatcher.bridge.wiring import Bridge
from dispatcher.settings import BridgeSection


def compose(
    bridge: Bridge, section: BridgeSection, metrics: Metrics | None = None, *, any_address: bool = False
) -> FastAPI:
    """Put routes, pages and limits together; without `metrics` nothing is counted and shown. `any_address` tells that other
    machines reach it, by whatever address."""
    app = FastAPI(
        title="Drover",
        version="1",
        description="OpenAI's, Anthropic's and Ollama's APIs in front of a fleet of small devices. Answers carry `x_drover`: where "
        "they ran, and why.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(openai_routes(bridge))
    app.include_router(models_routes(bridge))
    app.include_router(anthropic_routes(bridge))
    app.include_router(ollama_routes(bridge))
    app.include_router(explaining(bridge.drover, bridge.gate, explained))
    app.include_router(jobs(bridge.drover, bridge.curfew, bridge.gate))
    app.include_router(session_routes(bridge.gate, bridge.bus, bridge.subjects, bridge.clock))
    app.include_router(health_page(bridge.presence, bridge.gate))
    app.include_router(pages())
    if metrics is not None:
        app.include_router(metrics_page(metrics, local=section.metrics != "all"))
    mount_files(app)
    describe(app)
    answer_errors(app)
    _guard(app, section, any_address=any_address or section.allow_remote)
    if metrics is not None:
        app.add_middleware(Traffic, metrics=metrics)
    if tracing.active():
        app.add_middleware(Traced)
    return app


def _guard(app: FastAPI, section: BridgeSection, *, any_address: bool) -> None:
    """Put the limits before the routes; the last one that is added is the first that a request meets."""
    origins = _listed(section.cors_origins)
    names = _listed(section.allowed_hosts) | {section.host}
    app.add_middleware(BodyLimit, max_bytes=section.max_body_bytes, refuse=refusal)
    app.add_middleware(OriginCheck, allowed=origins, refuse=refusal)
    app.add_middleware(TellLimits)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
    app.add_middleware(HostCheck, names=names, any_address=any_address, refuse=refusal)
    app.add_middleware(SecurityHeaders)


def _listed(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}

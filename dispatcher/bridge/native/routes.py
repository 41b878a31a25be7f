"""All of Drover's own API, below `/api/v1/`, and the older names of parts of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request

from dispatcher.bridge.explaining import Asked, explaining
from dispatcher.bridge.native.chat import chat_routes
from dispatcher.bridge.native.conversations import conversation_routes
from dispatcher.bridge.native.experiments import experiment_routes
from dispatcher.bridge.native.figures import figure_routes
from dispatcher.bridge.native.fleet import fleet_routes
from dispatcher.bridge.native.jobs import job_routes
from dispatcher.bridge.native.keyring import key_routes
from dispatcher.bridge.native.limits import limit_routes
from dispatcher.bridge.native.loading import loading_routes
from dispatcher.bridge.native.running import running_routes
from dispatcher.bridge.native.spending import spending_routes
from dispatcher.bridge.native.voting import feedback_routes, vote_routes
from dispatcher.bridge.wiring import Bridge


def native_routes(bridge: Bridge, explained: Callable[[Request], Awaitable[Asked]]) -> APIRouter:
    """The routes; `explained` reads a chat that is not to be run."""
    router = APIRouter()
    parts = (
        chat_routes,
        conversation_routes,
        experiment_routes,
        fleet_routes,
        figure_routes,
        job_routes,
        limit_routes,
        loading_routes,
        running_routes,
        spending_routes,
        key_routes,
        vote_routes,
    )
    for part in parts:
        router.include_router(part(bridge))
    for prefix in ("/api/v1", "/v1"):
        router.include_router(explaining(bridge, explained, prefix=prefix))
        router.include_router(feedback_routes(bridge, prefix))
    router.include_router(job_routes(bridge, "/v1/jobs", shown=False))  # its first name, which programs in use have
    return router

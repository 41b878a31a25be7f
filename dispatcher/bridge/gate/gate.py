"""The gate: every request is somebody's, and allowed, before a route sees it; it knows no API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, Request

from common.keys import Scope
from common.messages import ChatRequest
from dispatcher.bridge.callers import Caller


@dataclass(slots=True)
class Place:
    """A job that was let in. `begun` says that the fleet has it: from then on its record tells what it took."""

    request: ChatRequest
    begun: bool = False


class Gate:
    """Lets everybody in."""

    def __init__(self, tenant: str) -> None:
        self._nobody = Caller(tenant=tenant)

    def router(self, scope: Scope, **options: Any) -> APIRouter:
        """Make a router whose routes all need `scope`."""
        return APIRouter(dependencies=[Depends(self.need(scope))], **options)

    def need(self, scope: Scope) -> Callable[[Request], Awaitable[None]]:
        """Give what a route depends on that needs `scope`. It raises `Unauthorized`, `NotAllowed` and `TooMany`."""

        async def let_in(http: Request) -> None:
            http.state.caller = await self._identified(http, scope)

        return let_in

    @asynccontextmanager
    async def job(self, caller: Caller, chat: ChatRequest) -> AsyncIterator[Place]:  # noqa: ARG002
        """Let a job in for as long as the context lasts."""
        yield Place(chat)

    async def _identified(self, http: Request, scope: Scope) -> Caller:  # noqa: ARG002
        return self._nobody


def caller_of(http: Request) -> Caller:
    """Give the caller that the gate has let in."""
    caller: Caller = http.state.caller
    return caller

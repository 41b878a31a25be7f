"""Every error of a request in the form of the API that it was sent to, those of the framework included, and never a stack trace."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from common.errors import BadRequest, FleetError, InternalError
from dispatcher.bridge.statuses import NothingThere, WrongMethod
from dispatcher.bridge.surfaces import surface_of

GONE = 499
"""Nobody is there any more to read it."""


def answer_errors(app: FastAPI) -> None:
    """Have the application answer them."""

    async def typed(http: Request, error: Exception) -> Response:
        failure = error if isinstance(error, FleetError) else InternalError()
        return surface_of(http.scope["path"]).refusal(failure)

    async def framework(http: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # registered for this class only
        refused = surface_of(http.scope["path"]).refusal(_named(http, error))
        refused.headers.update(error.headers or {})
        return refused

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=GONE)

    app.add_exception_handler(FleetError, typed)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, typed)


def _named(http: Request, error: HTTPException) -> FleetError:
    path = http.scope["path"][:200]
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return NothingThere(f"there is nothing at {path}: /docs lists the paths")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return WrongMethod(f"{path} does not take {http.method}: /docs lists the methods")
        case _:
            return BadRequest(str(error.detail))

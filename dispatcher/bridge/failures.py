"""Every error of a request in the form of the API that it was sent to, those of the framework included, and never a stack trace."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from common import codec
from common.errors import BadRequest, FleetError, InternalError
from dispatcher.bridge.statuses import GONE, NothingThere, WrongMethod
from dispatcher.bridge.surfaces import surface_of


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

    async def unread(http: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for this class only
        return surface_of(http.scope["path"]).refusal(_parameter(error))

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=GONE)

    app.add_exception_handler(FleetError, typed)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, unread)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, typed)


def _parameter(error: RequestValidationError) -> BadRequest:
    """Name the first parameter that the framework could not read; it would answer with a form and a status of its own."""
    fault = error.errors()[0]
    name = ".".join(str(part) for part in fault["loc"][1:]) or str(fault["loc"][0])
    return BadRequest(f"{name}: {codec.expectation(fault)}", param=name)


def _named(http: Request, error: HTTPException) -> FleetError:
    path = http.scope["path"][:200]
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return NothingThere(f"there is nothing at {path}: /docs lists the paths")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return WrongMethod(f"{path} does not take {http.method}: /docs lists the methods")
        case _:
            return BadRequest(str(error.detail))

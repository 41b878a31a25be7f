"""Errors as Anthropic writes them: their words, and the statuses that they stand for; it knows neither HTTP nor the job's way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel

from common import energy
from common.energy import Energy
from common.errors import FleetError

Json = dict[str, Any]

STATUSES: Mapping[int, int] = {503: 529}
"""What is overloaded has a number of its own there, which clients come back for."""

TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class AnthropicFault(BaseModel):
    """What went wrong: `code` is ours and stable, `param` names the field."""

    type: str
    message: str
    code: str | None = None
    param: str | None = None


class AnthropicError(BaseModel):
    """An error as Anthropic writes it."""

    type: Literal["error"]
    error: AnthropicFault
    request_id: str | None = None


def type_of(status: int) -> str:
    """Name a fault, given our own status for it."""
    return TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")


def error_body(error: FleetError, status: int, *, job: str | None, taken: Energy | None) -> Json:
    """Write an error; `status` is our own, `taken` what the job took."""
    fault = {"type": type_of(status), "message": error.message, "code": error.code}
    fault |= {"param": error.details["param"]} if error.details.get("param") else {}
    body: Json = {"type": "error", "error": fault, "request_id": job}
    if error.retry_after_s is not None:
        body["retry_after_s"] = error.retry_after_s
    return body if taken is None else {**body, "energy": energy.to_wire(taken)}

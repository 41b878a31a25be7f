"""The APIs that the bridge speaks, told apart by path, and how each of them writes an error; it knows no request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response
from ulid import ULID

from common import codec
from common.energy import Energy
from common.errors import FleetError, PayloadTooLarge
from common.logs import get_logger
from dispatcher.bridge.anthropic import faults
from dispatcher.bridge.headers import REQUEST_HEADER, header_text
from dispatcher.bridge.ollama import lines
from dispatcher.bridge.openai import reply
from dispatcher.bridge.statuses import headers_of, verdict

log = get_logger("bridge")

Json = dict[str, Any]

ErrorBody = Callable[[FleetError, str | None, Energy | None], Json]
"""Writes an error, given the job's id, if it has one, and what it took."""


class ErrorForm(BaseModel):
    """An error, in whatever form."""

    error: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """One API: the beginnings of its paths, and how it writes errors; `form` is what `/openapi.json` says of them, and `statuses`
    has those that the API has another number for. `id_header` is where it names each request, which its errors do as well: by its
    job's id, or by one that only the log knows."""

    name: str
    paths: Sequence[str]
    error: ErrorBody
    form: type[BaseModel] = ErrorForm
    statuses: Mapping[int, int] = field(default_factory=dict)
    id_header: str | None = None

    def refusal(
        self, error: FleetError, job: str | None = None, accepted: bool = False, taken: Energy | None = None
    ) -> Response:
        """Make the response for an error; `accepted` tells whether the fleet had taken the job, `taken` what that took."""
        error = _without_subject(error)
        status = self.status(verdict(error).status)
        told = self.naming(job)
        name = told.get(self.id_header or "", job)
        log.info("http.refused", status=status, code=error.code, job=job, request=name)
        headers = headers_of(error, job=job, accepted=accepted, taken=taken) | told
        return Response(codec.encode(self.error(error, name, taken)), status, headers, "application/json")

    def naming(self, job: str | None = None) -> dict[str, str]:
        """Give the header that names a request, where the API has one."""
        return {} if self.id_header is None else {self.id_header: header_text(job or f"req_{ULID()}")}

    def status(self, ours: int) -> int:
        """Give the number that this API has for a status."""
        return self.statuses.get(ours, ours)


def _without_subject(error: FleetError) -> FleetError:
    """Say in bytes alone what the bus does not carry: a subject is nothing to who speaks HTTP."""
    size, most = error.details.get("size_bytes"), error.details.get("limit_bytes")
    if not isinstance(error, PayloadTooLarge) or size is None or most is None:
        return error
    return PayloadTooLarge(f"what is to be sent has {size} bytes, and {most} are carried: make it shorter")


def _openai(error: FleetError, job: str | None, taken: Energy | None) -> Json:
    return reply.error_body(error, verdict(error).kind, job=job, taken=taken)


def _anthropic(error: FleetError, job: str | None, taken: Energy | None) -> Json:
    return faults.error_body(error, verdict(error).status, job=job, taken=taken)


OPENAI = Surface(name="openai", paths=("/v1/",), error=_openai, form=reply.OpenAIError)
NATIVE = Surface(name="native", paths=("/api/v1/",), error=_openai, form=reply.OpenAIError)

ANTHROPIC = Surface(
    name="anthropic",
    paths=("/v1/messages",),
    error=_anthropic,
    form=faults.AnthropicError,
    statuses=faults.STATUSES,
    id_header=REQUEST_HEADER,
)

OLLAMA = Surface(name="ollama", paths=("/api/",), error=lines.error_body, form=lines.OllamaError)

SURFACES: Sequence[Surface] = (NATIVE, OLLAMA, ANTHROPIC, OPENAI)
"""The first whose path fits counts, so a longer one stands before its beginning; where none does, errors are as OpenAI's."""


def surface_of(path: str) -> Surface:
    """Tell which API a path belongs to."""
    return next((one for one in SURFACES if path.startswith(tuple(one.paths))), OPENAI)


def refusal(error: FleetError, path: str) -> Response:
    """Make the response for an error that comes before any route, or from none."""
    return surface_of(path).refusal(error)

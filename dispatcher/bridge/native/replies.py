"""What the routes of Drover's own API share: parameters of a query as values, and what the ledger says; it knows no path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Request

from common import codec, ledger
from common.errors import BusTimeout, LedgerUnavailable, NoResponders
from dispatcher.bridge.wiring import Bridge

T = TypeVar("T")

Json = dict[str, Any]


def queried(cls: type[T], http: Request) -> T:
    """Read the query of a request's address. Raises `BadRequest` that names every wrong one."""
    return codec.build(cls, dict(http.query_params))


def parameter(name: str, what: str, **schema: Any) -> Json:
    """Describe a parameter of a query."""
    return {"name": name, "in": "query", "required": False, "description": what, "schema": schema}


SPAN = (
    parameter("since_unix_s", "from when, in seconds since 1970", type="number"),
    parameter("until_unix_s", "until when", type="number"),
)


def limit_of(most: int, usual: int) -> Json:
    """Describe how many a page has."""
    return parameter("limit", "how many at most", type="integer", minimum=1, maximum=most, default=usual)


async def record_of(bridge: Bridge, job: str, tenant: str) -> Mapping[str, Any] | None:
    """Give what the ledger knows of a job; None where that is nothing, or no ledger runs."""
    try:
        told = await from_ledger(bridge, "jobs", ledger.JobsQuery(job=job, tenant=tenant, limit=1))
    except (LedgerUnavailable, BusTimeout):
        return None
    return next(iter(told.get("jobs", ())), None)


async def from_ledger(bridge: Bridge, verb: str, query: ledger.Question) -> Json:
    """Ask the ledger. Raises `LedgerUnavailable` where none runs."""
    try:
        return await ledger.ask(bridge.bus, bridge.subjects, verb, query)
    except NoResponders as error:
        raise LedgerUnavailable(f"no ledger answers, and it knows what was: {ledger.WAY_OUT}") from error

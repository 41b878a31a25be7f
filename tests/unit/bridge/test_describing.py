"""What `/openapi.json` says of a route that is described."""

from __future__ import annotations

import asyncio
from typing import Any, NotRequired

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, create_model
from typing_extensions import TypedDict

from dispatcher.bridge.describing import RUNS, describe, described


class Inner(BaseModel):
    word: str


class Asked(BaseModel):
    inner: Inner


class Told(TypedDict):
    """An answer."""

    words: NotRequired[list[str]]


def openapi(**options: Any) -> dict[str, Any]:
    """The description of an application with one route."""
    router = APIRouter()

    @router.post("/x/{name}", **options)
    async def route(name: str) -> str:
        return name

    app = FastAPI(docs_url=None, redoc_url=None)
    app.include_router(router)
    describe(app)
    return app.openapi()


def test_a_route_says_what_it_takes_and_every_status_that_it_can_answer_with() -> None:
    """The body's model and those inside it, examples, headers, a stream beside the JSON, each error; and no 422."""
    header = {"name": "X-A", "in": "header", "required": False, "schema": {"type": "string"}}
    found = openapi(
        **described(
            Asked,
            statuses=RUNS,
            schema=Told,
            stream="text/event-stream; charset=utf-8",
            examples={"One": "{}"},
            parameters=[header],
        )
    )
    operation = found["paths"]["/x/{name}"]["post"]
    body = operation["requestBody"]["content"]["application/json"]

    assert (
        body["schema"],
        body["examples"]["example-1"],
        [one["name"] for one in operation["parameters"]],
        set(operation["responses"]),
        set(operation["responses"]["200"]["content"]),
        {"Asked", "Inner", "Told", "OpenAIError", "Fault"} - set(found["components"]["schemas"]),
    ) == (
        {"$ref": "#/components/schemas/Asked"},
        {"summary": "One", "value": {}},
        ["name", "X-A"],
        {"200"} | {str(one) for one in RUNS},
        {"application/json", "text/event-stream"},
        set(),
    )


def test_two_models_of_one_name_are_not_described_as_one() -> None:
    """Who writes the second one learns it at once."""
    described(create_model("Twin"))

    with pytest.raises(AssertionError, match="two models are called Twin"):
        described(create_model("Twin"))


async def test_the_description_is_made_when_it_is_asked_for_and_once() -> None:
    """Nothing of it is there before, all who ask at once get the same, and it is what the routes say."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    describe(app)
    before = app.openapi_schema
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bridge") as client:
        answers = await asyncio.gather(*[client.get("/openapi.json") for _ in range(3)])

    assert before is None
    assert [app.openapi_schema] * 3 == [answer.json() for answer in answers]

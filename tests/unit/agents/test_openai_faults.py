"""What a provider's errors, and those of the package, become; and that no key is ever in them."""

from __future__ import annotations

import json

import httpx2
import openai
import pytest

from agents.backends.openai_client import translated
from agents.backends.openai_faults import fault_of
from common.errors import (
    BackendError,
    BadRequest,
    BudgetSpent,
    ConfigError,
    ContextTooLong,
    DeviceBusy,
    FleetError,
    GarbledReply,
    UnknownModel,
    UnsupportedByModel,
)
from common.openai_api import Said

HOST = "api.example.com"
KEY = "my-very-own-key"


def said(status: int, message: str = "", code: str = "", kind: str = "") -> Said:
    return Said(status=status, message=message, code=code, kind=kind)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (said(401, "Incorrect API key provided", "invalid_api_key"), ConfigError),
        (said(401), ConfigError),
        (said(403, "Country not supported", "unsupported_country_region_territory"), ConfigError),
        (said(403, "your input was flagged"), BadRequest),
        (said(404, "The model `m` does not exist", "model_not_found"), UnknownModel),
        (said(404, "model not found"), UnknownModel),
        (said(404, "Not Found"), BackendError),
        (said(400, "The model `m` does not exist", "model_not_found"), UnknownModel),
        (said(400, "too many tokens", "context_length_exceeded"), ContextTooLong),
        (said(400, "This model's maximum context length is 8192 tokens"), ContextTooLong),
        (said(400, "Unsupported value: 'temperature' does not support 0.2"), UnsupportedByModel),
        (said(400, "'messages' is a required property"), BadRequest),
        (said(413, "too large"), BadRequest),
        (said(422, "no"), BadRequest),
        (said(402, "Payment required"), BudgetSpent),
        (said(429, "You exceeded your quota", "insufficient_quota", "insufficient_quota"), BudgetSpent),
        (said(429, "Rate limit reached", "rate_limit_exceeded", "requests"), DeviceBusy),
        (said(429), DeviceBusy),
        (said(0, "slow down", "rate_limit_exceeded"), DeviceBusy),
        (said(0, "The server had an error", "", "server_error"), BackendError),
        (said(408), BackendError),
        (said(409), BackendError),
        (said(500), BackendError),
        (said(503, "overloaded"), BackendError),
    ],
)
def test_an_answer_with_an_error(answer: Said, expected: type[FleetError]) -> None:
    """Each becomes one typed error, and the type decides whether another device may do better, and whether this one is at fault."""
    assert type(fault_of(answer, host=HOST, model="m")) is expected


@pytest.mark.parametrize(
    ("answer", "way_out"),
    [
        (said(401), "set OPENAI_API_KEY"),
        (said(403), "project and region"),
        (said(403, code="unsupported_country_region_territory"), "project and region"),
        (said(404, code="model_not_found"), "DROVER_CLOUD_MODELS"),
        (said(404), "check OPENAI_BASE_URL"),
        (said(429, code="insufficient_quota"), "add credit"),
    ],
)
def test_the_way_out_is_named(answer: Said, way_out: str) -> None:
    """It goes into the heartbeat, and so before the eyes of who can mend it."""
    assert way_out in fault_of(answer, host=HOST, model="m").message


@pytest.mark.parametrize("status", [0, 400, 401, 402, 403, 404, 429, 500])
@pytest.mark.parametrize(
    "text", [f"bad {KEY}!", "bad sk-proj-abc123def456", "bad sk-ab***********wxyz", "Bearer abcdef"]
)
def test_no_error_holds_a_key(status: int, text: str) -> None:
    """Ours by what it is, and any other by how it looks: providers quote keys, even if shortened."""
    message = fault_of(said(status, text), host=HOST, model="m", key=KEY).message

    assert [word for word in (KEY, "abc123", "wxyz", "abcdef") if word in message] == []


REQUEST = httpx2.Request("POST", "https://api.example.com/v1/chat/completions")


def response(status: int, headers: dict[str, str] | None = None) -> httpx2.Response:
    return httpx2.Response(status, request=REQUEST, headers=headers)


def failed(cls: type[openai.APIStatusError], status: int) -> openai.APIStatusError:
    return cls("boom", response=response(status), body=None)


EXPECTED: dict[type[Exception], tuple[Exception, type[FleetError]]] = {
    openai.OpenAIError: (openai.OpenAIError("boom"), BackendError),
    openai.APIError: (openai.APIError("boom", REQUEST, body=None), BackendError),
    openai.APIStatusError: (failed(openai.APIStatusError, 500), BackendError),
    openai.APIConnectionError: (openai.APIConnectionError(request=REQUEST), BackendError),
    openai.APITimeoutError: (openai.APITimeoutError(REQUEST), BackendError),
    openai.APIResponseValidationError: (openai.APIResponseValidationError(response(200), None), GarbledReply),
    openai.BadRequestError: (failed(openai.BadRequestError, 400), BadRequest),
    openai.AuthenticationError: (failed(openai.AuthenticationError, 401), ConfigError),
    openai.OAuthError: (openai.OAuthError(response=response(401), body=None), ConfigError),
    openai.PermissionDeniedError: (failed(openai.PermissionDeniedError, 403), BadRequest),
    openai.NotFoundError: (failed(openai.NotFoundError, 404), BackendError),
    openai.ConflictError: (failed(openai.ConflictError, 409), BackendError),
    openai.UnprocessableEntityError: (failed(openai.UnprocessableEntityError, 422), BadRequest),
    openai.RateLimitError: (failed(openai.RateLimitError, 429), DeviceBusy),
    openai.InternalServerError: (failed(openai.InternalServerError, 500), BackendError),
}

NOT_OURS = {
    # of the finished-object helpers, webhooks, websockets and cloud log-ins, none of which we use
    "ContentFilterFinishReasonError",
    "LengthFinishReasonError",
    "InvalidWebhookSignatureError",
    "SubjectTokenProviderError",
    "WebSocketConnectionClosedError",
    "WebSocketQueueFullError",
}


def test_every_error_of_the_package_is_listed() -> None:
    """A version that brings a new one fails here, and somebody decides what it means."""
    exported = {
        value for value in vars(openai).copy().values() if isinstance(value, type) and issubclass(value, Exception)
    }

    assert {one.__name__ for one in exported if one.__name__[0] != "_"} - NOT_OURS == {one.__name__ for one in EXPECTED}


@pytest.mark.parametrize(("error", "expected"), EXPECTED.values(), ids=lambda value: getattr(value, "__name__", ""))
def test_every_error_of_the_package_is_translated(error: Exception, expected: type[FleetError]) -> None:
    """Nothing of theirs leaves the adapter, and the cause is kept."""
    with pytest.raises(FleetError) as caught, translated(HOST, "m"):
        raise error

    assert (type(caught.value), caught.value.__cause__) == (expected, error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), BackendError),
        (json.JSONDecodeError("Expecting value", "{", 1), GarbledReply),
        (AttributeError("'list' object has no attribute 'get'"), GarbledReply),
        (TypeError("'int' object is not iterable"), GarbledReply),
        (KeyError("choices"), GarbledReply),
    ],
)
def test_builtin_errors_that_the_package_lets_through(error: Exception, expected: type[FleetError]) -> None:
    """What is no JSON, or JSON of another form, is raised as it comes."""
    with pytest.raises(expected), translated(HOST, "m"):
        raise error


def test_our_own_errors_pass_unchanged() -> None:
    """What is typed already is not wrapped again."""
    own = UnknownModel("no such model")

    with pytest.raises(UnknownModel) as caught, translated(HOST, "m"):
        raise own

    assert caught.value is own


def test_the_wait_that_a_provider_asks_for_is_kept() -> None:
    """Whoever gets the error knows when to come again."""
    error = openai.RateLimitError("boom", response=response(429, {"retry-after": "7"}), body=None)

    with pytest.raises(DeviceBusy) as caught, translated(HOST, "m"):
        raise error

    assert caught.value.retry_after_s == 7.0

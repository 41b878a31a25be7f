"""What Ollama, its package and the HTTP client below it can raise, and what each becomes."""

from __future__ import annotations

import json

import httpx
import ollama
import pytest

from agents.backends.ollama import translated
from agents.backends.ollama_faults import fault_of
from common.errors import (
    BackendError,
    BadRequest,
    ContextTooLong,
    DeviceBusy,
    FleetError,
    GarbledReply,
    ModelNotLoadable,
    UnknownModel,
    UnsupportedByModel,
    from_wire,
)

HOST = "http://nano:11434"


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (404, "model 'llama9' not found", UnknownModel),
        (404, "404 page not found", BackendError),
        (400, '"tinyllama:1.1b" does not support tools', UnsupportedByModel),
        (400, "invalid options: temperature", BadRequest),
        (400, "the input length exceeds the context length", ContextTooLong),
        (501, "this model does not support embeddings", UnsupportedByModel),
        (501, "This server does not support embeddings. Start it with `--embeddings`", UnsupportedByModel),
        (500, "image input is not supported - hint: you may need to provide the mmproj", UnsupportedByModel),
        (503, "server busy, please try again. maximum pending requests exceeded", DeviceBusy),
        (500, "model requires more system memory (5.6 GiB) than is available (1.2 GiB)", ModelNotLoadable),
        (500, "llama runner process has terminated: exit status 2", ModelNotLoadable),
        (500, "timed out waiting for llama runner to start", ModelNotLoadable),
        (-1, "an error was encountered while running the model: unexpected EOF", BackendError),
        (-1, "CUDA error: out of memory", ModelNotLoadable),
        (401, "unauthorized", BackendError),
        (500, "", BackendError),
        (502, "Bad Gateway", BackendError),
    ],
)
def test_an_answer_with_an_error(status: int, text: str, expected: type[FleetError]) -> None:
    """Each becomes one typed error, and the type decides whether another device may do better."""
    assert type(fault_of(status, text, "llama9")) is expected


def test_an_unknown_models_error_names_the_way_out() -> None:
    """It says which model, and how to get it."""
    assert "ollama pull llama9" in fault_of(404, "model 'llama9' not found", "llama9").message


REQUEST = httpx.Request("GET", HOST)
RESPONSE = httpx.Response(200, request=REQUEST)

EXPECTED: dict[type[Exception], tuple[Exception, type[FleetError]]] = {
    ollama.RequestError: (ollama.RequestError("no model"), BadRequest),
    ollama.ResponseError: (ollama.ResponseError("boom", 500), BackendError),
    httpx.HTTPError: (httpx.HTTPError("boom"), BackendError),
    httpx.HTTPStatusError: (httpx.HTTPStatusError("boom", request=REQUEST, response=RESPONSE), BackendError),
    httpx.RequestError: (httpx.RequestError("boom"), BackendError),
    httpx.TransportError: (httpx.TransportError("boom"), BackendError),
    httpx.TimeoutException: (httpx.TimeoutException("boom"), BackendError),
    httpx.ConnectTimeout: (httpx.ConnectTimeout("boom"), BackendError),
    httpx.ReadTimeout: (httpx.ReadTimeout("boom"), BackendError),
    httpx.WriteTimeout: (httpx.WriteTimeout("boom"), BackendError),
    httpx.PoolTimeout: (httpx.PoolTimeout("boom"), BackendError),
    httpx.NetworkError: (httpx.NetworkError("boom"), BackendError),
    httpx.ConnectError: (httpx.ConnectError("boom"), BackendError),
    httpx.ReadError: (httpx.ReadError("boom"), BackendError),
    httpx.WriteError: (httpx.WriteError("boom"), BackendError),
    httpx.CloseError: (httpx.CloseError("boom"), BackendError),
    httpx.ProxyError: (httpx.ProxyError("boom"), BackendError),
    httpx.UnsupportedProtocol: (httpx.UnsupportedProtocol("boom"), BackendError),
    httpx.ProtocolError: (httpx.ProtocolError("boom"), BackendError),
    httpx.LocalProtocolError: (httpx.LocalProtocolError("boom"), BackendError),
    httpx.RemoteProtocolError: (httpx.RemoteProtocolError("boom"), BackendError),
    httpx.DecodingError: (httpx.DecodingError("boom"), GarbledReply),
    httpx.TooManyRedirects: (httpx.TooManyRedirects("boom"), BackendError),
    httpx.InvalidURL: (httpx.InvalidURL("boom"), BackendError),
    httpx.CookieConflict: (httpx.CookieConflict("boom"), BackendError),
    httpx.StreamError: (httpx.StreamError("boom"), BackendError),
    httpx.StreamConsumed: (httpx.StreamConsumed(), BackendError),
    httpx.StreamClosed: (httpx.StreamClosed(), BackendError),
    httpx.ResponseNotRead: (httpx.ResponseNotRead(), BackendError),
    httpx.RequestNotRead: (httpx.RequestNotRead(), BackendError),
}


def test_every_error_of_the_vendors_is_listed() -> None:
    """A version that brings a new one fails here, and somebody decides what it means."""
    exported = {
        value
        for module in (ollama, httpx)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Exception)
    }

    assert exported == set(EXPECTED)


@pytest.mark.parametrize(("error", "expected"), EXPECTED.values(), ids=lambda value: getattr(value, "__name__", ""))
def test_every_error_of_the_vendors_is_translated(error: Exception, expected: type[FleetError]) -> None:
    """Nothing of theirs leaves the adapter, and the cause is kept."""
    with pytest.raises(FleetError) as caught, translated(HOST, "m"):
        raise error

    assert (type(caught.value), caught.value.__cause__) == (expected, error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionError("Failed to connect to Ollama."), BackendError),
        (TimeoutError(), BackendError),
        (json.JSONDecodeError("Expecting value", "{", 1), GarbledReply),
        (AttributeError("'list' object has no attribute 'get'"), GarbledReply),
        (TypeError("argument after ** must be a mapping, not int"), GarbledReply),
    ],
)
def test_builtin_errors_that_the_package_lets_through(error: Exception, expected: type[FleetError]) -> None:
    """A line that is no JSON, or JSON but no object, is raised as it comes."""
    with pytest.raises(expected), translated(HOST, "m"):
        raise error


def test_a_server_that_dies_is_told_in_words_and_its_fault_in_the_record() -> None:
    """Who has asked reads what happened and what to try; what the client called it is for whoever reads records."""
    said = "peer closed connection without sending complete message body (incomplete chunked read)"
    with pytest.raises(BackendError) as caught, translated(HOST, "m"):
        raise httpx.RemoteProtocolError(said)
    told = from_wire(caught.value.to_wire())

    assert (
        f"Ollama at {HOST} broke off: it was stopped, or it crashed; ask again, and another device if that goes on"
        == (told.message)
    )
    assert f"{told.message} (RemoteProtocolError: {said})" == told.summary


def test_our_own_errors_pass_unchanged() -> None:
    """What is typed already is not wrapped again."""
    own = UnknownModel("no such model")

    with pytest.raises(UnknownModel) as caught, translated(HOST, "m"):
        raise own

    assert caught.value is own

"""The `openai` package as a client with one key: sends chats and texts to embed, lists models, and turns what is raised into ours.

The one module of the agent's that knows the package and the HTTP client beneath it. It decides nothing: who is asked again, and
who pays, stands in the modules beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from agents.backends.openai_events import Events
from agents.backends.openai_faults import fault_of, of_guest
from agents.settings import CloudSection
from common.clock import Clock
from common.errors import BackendError, ConfigError, FleetError, GarbledReply
from common.openai_api import Said, retry_after_s, scrubbed

CONNECT_S = 10.0
ASK_S = 15.0
"""How long the list of models may take; it costs nothing, and proves the key."""

DRAIN_S = 0.1
"""How long the end of a stream is waited for behind its last event: only then can the connection be used again."""


class Fate(StrEnum):
    """What became of a request that failed."""

    UNSENT = "unsent"  # or refused in words: nothing was computed
    SILENT = "silent"  # sent, and nothing came: it may be computed still
    BROKEN = "broken"  # sent, and the connection broke


_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.LocalProtocolError,
    httpx2.UnsupportedProtocol,
    httpx2.ProxyError,
)


class Answering:
    """An answer that has begun."""

    def __init__(self, client: Client, stream: openai.AsyncStream[Any], model: str) -> None:
        self._client = client
        self._response = stream.response
        self._model = model

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    async def chunks(self) -> AsyncGenerator[Mapping[str, Any], None]:
        """Give the chunks as plain objects; closing the generator hangs up. Raises typed errors alone."""
        with self._client.translated(self._model):
            events = Events(self._client.host)
            body = self._response.aiter_bytes()
            try:
                async for piece in body:
                    for chunk in events.feed(piece):
                        self._client.check(chunk, self._model)
                        yield chunk
                    if events.ended:
                        await _drain(body)
                        return
                if events.strange:
                    kind = scrubbed(self.headers.get("content-type", ""), "")[:80] or "of no type"
                    host = self._client.host
                    raise GarbledReply(f"{host} answered with no stream of events ({kind}): is OPENAI_BASE_URL right?")
            finally:
                await self._response.aclose()


@dataclass(frozen=True, slots=True)
class Embedding:
    """An answer to texts that were to be embedded."""

    body: Any
    headers: Mapping[str, str]


class Client:
    """A provider as it is asked with one key. `guest` tells that the key came with a request."""

    def __init__(self, package: openai.AsyncOpenAI, host: str, key: str, clock: Clock, *, guest: bool = False) -> None:
        self.host = host
        self.guest = guest
        self._package = package
        self._key = key
        self._clock = clock

    def of_guest(self, key: str) -> Client:
        """Give one with another key, on the same connections, and without the house's organization and project."""
        package = self._package.copy(api_key=key)
        package.organization, package.project = None, None
        return Client(package, self.host, key, self._clock, guest=True)

    async def begin(self, request: Mapping[str, Any], model: str) -> Answering:
        """Send a chat, and wait until its answer begins."""
        with self.translated(model):
            stream: openai.AsyncStream[Any] = await self._package.chat.completions.create(
                **request, stream=True, stream_options={"include_usage": True}
            )
        return Answering(self, stream, model)

    async def embed(self, request: Mapping[str, Any], model: str) -> Embedding:
        """Send texts to embed, and wait for the answer, which is whatever JSON there came."""
        with self.translated(model):
            answer = await self._package.embeddings.with_raw_response.create(**request)
            return Embedding(answer.http_response.json(), answer.headers)

    async def listed(self) -> set[str]:
        """Give the names on the provider's list of models."""
        with self.translated():
            async with asyncio.timeout(ASK_S):
                return {str(model.id) for model in (await self._package.models.list()).data}

    def check(self, chunk: Mapping[str, Any], model: str) -> None:
        """Raise the error that a chunk holds, if it does."""
        error = chunk.get("error")
        if error:
            said = said_by(error if isinstance(error, dict) else {"message": str(error)}, status=0)
            raise fault_of(said, host=self.host, model=model, key=self._key)

    @contextmanager
    def translated(self, model: str = "") -> Iterator[None]:
        """Turn what is raised inside into our errors, as whoever's key this is should hear them."""
        try:
            with translated(self.host, model, key=self._key, now_unix_s=self._clock.unix_s()):
                yield
        except FleetError as error:
            if self.guest:
                raise of_guest(error, self.host) from error.__cause__
            raise


@asynccontextmanager
async def open_client(section: CloudSection, clock: Clock) -> AsyncIterator[Client]:
    """Open the connections. The package's own retries are off: ours know the job's slot, and what it has cost."""
    key = section.api_key.get_secret_value() if section.api_key else ""
    package = openai.AsyncOpenAI(
        base_url=section.base_url,
        api_key=key or "none",
        timeout=openai.Timeout(section.silence_s, connect=CONNECT_S),
        max_retries=0,
    )
    # The package takes None for leave to read the environment itself.
    package.organization, package.project = section.organization, section.project
    async with package:
        yield Client(package, urlsplit(section.base_url).netloc, key, clock)


@contextmanager
def translated(host: str, model: str = "", *, key: str = "", now_unix_s: float = 0.0) -> Iterator[None]:
    """Turn everything that the packages raise into our errors; the one place that knows theirs."""
    try:
        yield
    except openai.APIStatusError as error:
        wait = retry_after_s(error.response.headers, now_unix_s)
        body = error.body if isinstance(error.body, dict) else {}
        said = said_by(body, status=error.status_code, message=error.message, wait_s=wait)
        raise fault_of(said, host=host, model=model, key=key) from error
    except (openai.APITimeoutError, httpx2.TimeoutException, TimeoutError) as error:
        raise BackendError(f"{host} fell silent: try another device, or see the provider's status page") from error
    except (openai.APIConnectionError, httpx2.RequestError) as error:
        raise _unconnected(error, host) from _harmless(error)
    except openai.APIResponseValidationError as error:
        raise GarbledReply(f"what {host} sent is not OpenAI's format: is OPENAI_BASE_URL right?") from error
    except openai.OpenAIError as error:
        raise BackendError(
            f"the openai package failed ({type(error).__name__}: {scrubbed(str(error), key)})"
        ) from error
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise GarbledReply(
            f"what {host} sent is not OpenAI's format ({type(error).__name__}): is OPENAI_BASE_URL right?"
        ) from error


def said_by(body: Mapping[str, Any], *, status: int, message: str = "", wait_s: float | None = None) -> Said:
    """Read the `error` of a body."""
    return Said(
        status=status,
        message=str(body.get("message") or message),
        kind=str(body.get("type") or ""),
        code=str(body.get("code") or ""),
        param=body["param"] if isinstance(body.get("param"), str) else None,
        retry_after_s=wait_s,
    )


def fate_of(error: FleetError) -> Fate:
    """Say what became of the request that failed so."""
    cause = error.__cause__
    root = cause.__cause__ if isinstance(cause, openai.APIConnectionError) else cause
    if isinstance(cause, openai.APIStatusError) or isinstance(root, _UNSENT):
        return Fate.UNSENT
    if isinstance(cause, openai.APITimeoutError | httpx2.TimeoutException | TimeoutError):
        return Fate.SILENT
    return Fate.BROKEN if isinstance(cause, openai.APIConnectionError | httpx2.RequestError) else Fate.UNSENT


def headers_of(error: FleetError) -> Mapping[str, str]:
    """Give the headers that came with an error."""
    cause = error.__cause__
    return cause.response.headers if isinstance(cause, openai.APIStatusError) else {}


def _unconnected(error: Exception, host: str) -> FleetError:
    root = error.__cause__ if isinstance(error, openai.APIConnectionError) else error
    if isinstance(root, httpx2.LocalProtocolError):
        return ConfigError(f"a header for {host} can't be sent: see that OPENAI_API_KEY holds a key and nothing else")
    why = type(root).__name__ if root else "no reason given"
    return BackendError(
        f"the connection to {host} failed or broke ({why}): check OPENAI_BASE_URL and this device's way to the internet"
    )


def _harmless(error: Exception) -> Exception | None:
    """Give the cause that may be shown: that of a header which can't be sent quotes the key."""
    root = error.__cause__ if isinstance(error, openai.APIConnectionError) else error
    return None if isinstance(root, httpx2.LocalProtocolError) else error


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Read the rest of a stream that has said that nothing more comes."""
    try:
        async with asyncio.timeout(DRAIN_S):
            async for _ in body:
                pass
    except (TimeoutError, httpx2.RequestError):
        pass  # the answer is whole

"""Models behind any server that speaks OpenAI's API, through the `openai` package: one call, asked again where that may help.

The one module of the dispatcher's side that knows the package. Its own retries are off: ours make all calls wait when the server
asks one of them to. The key goes into the request and nowhere else; what a server writes about it is not passed on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
import openai
from pydantic import SecretStr

from common import codec
from common.clock import Clock, LoopClock
from common.errors import (
    BackendError,
    BadRequest,
    BudgetSpent,
    ConfigError,
    DeviceBusy,
    FleetError,
    GarbledReply,
    UnknownModel,
)
from common.openai_api import Price, Said, Trouble, backoff_s, limit_name, retry_after_s, scrubbed, trouble_of
from common.prompts import text_tokens
from dispatcher.lab.label.asking import Manner, Reply
from dispatcher.lab.label.money import card_price

CONNECT_S = 10.0
ASK_S = 15.0
MOST_WAIT_S = 20.0
LONGEST_RETRY_AFTER_S = 120.0
"""A server that asks for more is out for the day: better to end, and to go on tomorrow with what is there."""

_FLAGGED = 403
"""A prompt that a provider's filter does not let through; no other form of it fares better."""

MOST_BODY_BYTES = 16 * 1024 * 1024
"""An answer of 100,000 tokens is half a megabyte; whoever sends more than this sends no answer."""


class Server:
    """One server. Made by `open_server`."""

    def __init__(self, client: openai.AsyncOpenAI, url: str, key: str, retries: int, clock: Clock) -> None:
        self._client = client
        self._url = url
        self._limit_name = limit_name(url)
        self._key = key
        self._retries = retries
        self._clock = clock
        self._quiet_until_s = float("-inf")
        self._plain: set[str] = set()
        """Models that were not able to answer by a schema."""

    async def prices(self) -> dict[str, Price]:
        """Give the prices that the server's list of models names; a server without list or prices gives none."""
        try:
            with self._translated(""):
                async with asyncio.timeout(ASK_S):
                    raw = await self._client.models.with_raw_response.list()
                cards = codec.decode(raw.content).get("data")
        except (FleetError, TimeoutError):
            return {}
        named = [card for card in cards if isinstance(card, dict)] if isinstance(cards, list) else []
        return {str(card.get("id")): price for card in named if (price := card_price(card)) is not None}

    async def ask(
        self, model: str, messages: Sequence[Mapping[str, str]], manner: Manner, lost: Callable[[], None]
    ) -> Reply:
        """Get one answer; `lost` is called for each try before it that may have been computed for nothing.

        Raises, after as many tries as are allowed: `ConfigError` for a key that is refused, `BudgetSpent`, `UnknownModel`,
        `BadRequest` for a request that is at fault, and else what was wrong last.
        """
        tried = 0
        while True:
            await self._quiet()
            schema = None if model in self._plain else manner.schema
            try:
                return await self._once(model, messages, manner, schema)
            except BadRequest as error:
                if schema is None or error.details["status"] == _FLAGGED:
                    raise
                self._plain.add(model)  # perhaps it was the schema; without it the words of the request must do
            except (DeviceBusy, BackendError, GarbledReply) as error:
                wait_s = _wait_s(error, tried)
                if isinstance(error, BudgetSpent) or tried >= self._retries or wait_s is None:
                    raise
                tried += 1
                if "status" not in error.details:
                    lost()
                if isinstance(error, DeviceBusy):
                    self._quiet_until_s = max(self._quiet_until_s, self._clock.monotonic() + wait_s)
                else:
                    await asyncio.sleep(wait_s)

    async def _quiet(self) -> None:
        """Wait while the server has asked for a pause, which holds for all calls."""
        while True:  # another call may have made it longer
            left_s = self._quiet_until_s - self._clock.monotonic()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)

    async def _once(
        self, model: str, messages: Sequence[Mapping[str, str]], manner: Manner, schema: Mapping[str, Any] | None
    ) -> Reply:
        wanted: dict[str, Any] = {"model": model, "messages": list(messages), self._limit_name: manner.max_tokens}
        # A label says what a model answers, takes and costs now; every server reads this header, and most ignore it.
        wanted["extra_headers"] = {"Cache-Control": "no-store"}
        if manner.temperature is not None:
            wanted["temperature"] = manner.temperature
        if manner.seed is not None:
            wanted["seed"] = manner.seed
        if schema is not None:
            form = {"name": "verdict", "strict": True, "schema": schema}
            wanted["response_format"] = {"type": "json_schema", "json_schema": form}
        with self._translated(model):
            async with self._client.chat.completions.with_streaming_response.create(**wanted) as answer:
                return _read(await _whole(answer.iter_bytes(), self._url), messages)

    @contextmanager
    def _translated(self, model: str) -> Iterator[None]:
        """Turn what the package raises into our errors."""
        try:
            yield
        except openai.APIStatusError as error:
            raise self._fault(error, model) from error
        except (openai.APITimeoutError, httpx2.TimeoutException, TimeoutError) as error:
            raise BackendError(
                f"{self._url} fell silent: give it longer by --timeout, or see whether it runs"
            ) from error
        except (openai.APIConnectionError, httpx2.RequestError) as error:
            why = type(error.__cause__).__name__ if error.__cause__ else "no reason given"
            raise BackendError(f"the connection to {self._url} failed or broke ({why}): is --url right?") from error
        except openai.OpenAIError as error:
            raise BackendError(
                f"the openai package failed ({type(error).__name__}: {scrubbed(str(error), self._key)})"
            ) from error

    def _fault(self, error: openai.APIStatusError, model: str) -> FleetError:
        """Say what a status means here: no other row will do better, this one is at fault, or it may pass."""
        body = error.body if isinstance(error.body, dict) else {}
        words = scrubbed(str(body.get("message") or error.message), self._key) or "no reason given"
        status = error.status_code
        said = Said(status=status, message=words, kind=str(body.get("type") or ""), code=str(body.get("code") or ""))
        match trouble_of(said):
            case Trouble.KEY:
                return ConfigError(
                    f"{self._url} refuses the key ({status}): set OPENAI_API_KEY to one that is valid there"
                )
            case Trouble.MONEY:
                return BudgetSpent(f"{self._url} says that the account has no money left ({words}): add credit there")
            case Trouble.MODEL | Trouble.PATH:
                return UnknownModel(
                    f"{self._url} has no model {model!r}, or no such path ({words}): GET {self._url}/models"
                )
            case Trouble.BUSY | Trouble.SERVER as trouble:
                wait_s = retry_after_s(error.response.headers, self._clock.unix_s())
                kind = DeviceBusy if trouble is Trouble.BUSY else BackendError
                return kind(f"{self._url} answered {status} ({words})", retry_after_s=wait_s, status=status)
            case _:
                return BadRequest(f"{self._url} refuses the request to {model!r} ({status}): {words}", status=status)


@asynccontextmanager
async def open_server(
    url: str, key: SecretStr | None, *, retries: int, timeout_s: float, clock: Clock | None = None
) -> AsyncIterator[Server]:
    """Open the connections; whether anything answers shows with the first call."""
    secret = key.get_secret_value() if key else ""
    client = openai.AsyncOpenAI(
        base_url=url,
        api_key=secret or "none",
        timeout=openai.Timeout(timeout_s, connect=CONNECT_S),
        max_retries=0,
    )
    # The package takes None for leave to read the environment itself.
    client.organization = client.project = None
    async with client:
        yield Server(client, url, secret, retries, clock or LoopClock())


async def _whole(parts: AsyncIterator[bytes], url: str) -> bytes:
    """Gather a body. Raises `GarbledReply` for more than any answer has."""
    body = bytearray()
    async for part in parts:
        body += part
        if len(body) > MOST_BODY_BYTES:
            raise GarbledReply(f"{url} sent more than {MOST_BODY_BYTES >> 20} MiB for one answer")
    return bytes(body)


def _read(body: bytes, messages: Sequence[Mapping[str, str]]) -> Reply:
    """Read an answer. Raises `GarbledReply` for what is none."""
    try:
        whole = codec.decode(body)
        choice = whole["choices"][0]
        text = choice["message"].get("content") or ""
        usage = whole.get("usage") or {}
        route = whole.get("x_drover")
        cost = route.get("cost_usd") if isinstance(route, dict) else usage.get("cost")
        return Reply(
            text=text if isinstance(text, str) else "".join(str(part.get("text", "")) for part in text),
            prompt_tokens=int(usage.get("prompt_tokens") or sum(text_tokens(one["content"]) for one in messages)),
            answer_tokens=int(usage.get("completion_tokens") or text_tokens(str(text))),
            cut=choice.get("finish_reason") == "length",
            cost_usd=float(cost) if isinstance(cost, int | float) else None,
        )
    except (BadRequest, LookupError, AttributeError, TypeError, ValueError) as error:
        raise GarbledReply(f"what came is no chat completion ({type(error).__name__}): is --url right?") from error


def _wait_s(error: FleetError, tried: int) -> float | None:
    """Say how long to wait: as long as the server asks, else twice as long each time and not all at once; None for too long."""
    if error.retry_after_s is not None:
        return error.retry_after_s if error.retry_after_s <= LONGEST_RETRY_AFTER_S else None
    jitter = random.random()  # noqa: S311  # so that calls don't come back together; nobody guesses it
    return backoff_s(tried, jitter=jitter, most_s=MOST_WAIT_S)

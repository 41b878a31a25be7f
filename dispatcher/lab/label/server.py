"""Models behind any server that speaks OpenAI's API, through the `openai` package: one call, asked again where that may help.

The one module of the dispatcher's side that knows the package. Its own retries are off: ours make all calls wait when the server
asks one of them to. The key goes into the request and nowhere else; what a server writes about it is not passed on.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

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
from common.prompts import text_tokens
from dispatcher.lab.label.asking import Manner, Reply
from dispatcher.lab.label.money import Price, card_price

CONNECT_S = 10.0
ASK_S = 15.0
FIRST_WAIT_S = 0.5
MOST_WAIT_S = 20.0
LONGEST_RETRY_AFTER_S = 120.0
"""A server that asks for more is out for the day: better to end, and to go on tomorrow with what is there."""

_SECRET = re.compile(r"\b(?:sk|pk|rk|key|sess)-[A-Za-z0-9_*.-]{4,}|(?i:bearer )\S+")
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


class Server:
    """One server. Made by `open_server`."""

    def __init__(self, client: openai.AsyncOpenAI, url: str, key: str, retries: int, clock: Clock) -> None:
        self._client = client
        self._url = url
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
            try:
                return await self._once(model, messages, manner)
            except BadRequest:
                if manner.schema is None or model in self._plain:
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

    async def _once(self, model: str, messages: Sequence[Mapping[str, str]], manner: Manner) -> Reply:
        wanted: dict[str, Any] = {"model": model, "messages": list(messages), "max_tokens": manner.max_tokens}
        if manner.temperature is not None:
            wanted["temperature"] = manner.temperature
        if manner.seed is not None:
            wanted["seed"] = manner.seed
        if manner.schema is not None and model not in self._plain:
            form = {"name": "verdict", "strict": True, "schema": manner.schema}
            wanted["response_format"] = {"type": "json_schema", "json_schema": form}
        with self._translated(model):
            raw = await self._client.chat.completions.with_raw_response.create(**wanted)
            return _read(raw.content, messages)

    @contextmanager
    def _translated(self, model: str) -> Iterator[None]:
        """Turn what the package raises into our errors."""
        try:
            yield
        except openai.APIStatusError as error:
            raise self._fault(error, model) from error
        except (openai.APITimeoutError, TimeoutError) as error:
            raise BackendError(
                f"{self._url} fell silent: give it longer by --timeout, or see whether it runs"
            ) from error
        except openai.APIConnectionError as error:
            why = type(error.__cause__).__name__ if error.__cause__ else "no reason given"
            raise BackendError(f"the connection to {self._url} failed or broke ({why}): is --url right?") from error
        except openai.OpenAIError as error:
            raise BackendError(
                f"the openai package failed ({type(error).__name__}: {self._scrubbed(str(error))})"
            ) from error

    def _fault(self, error: openai.APIStatusError, model: str) -> FleetError:
        """Say what a status means: 1. the key 2. the money 3. the model 4. it may pass 5. the request."""
        body = error.body if isinstance(error.body, dict) else {}
        words = self._scrubbed(str(body.get("message") or error.message)) or "no reason given"
        code, status = str(body.get("code") or ""), error.status_code
        if status in (401, 403):  # 1
            return ConfigError(f"{self._url} refuses the key ({status}): set OPENAI_API_KEY to one that is valid there")
        if status == 402 or code in _NO_MONEY:  # 2
            return BudgetSpent(f"{self._url} says that the account has no money left ({words}): add credit there")
        if status == 404:  # 3
            return UnknownModel(
                f"{self._url} has no model {model!r}, or no such path ({words}): GET {self._url}/models"
            )
        if status in _PASSING or status >= 500:  # 4
            wait_s = _retry_after_s(error.response.headers, self._clock.unix_s())
            kind = DeviceBusy if status == 429 else BackendError
            return kind(f"{self._url} answered {status} ({words})", retry_after_s=wait_s, status=status)
        return BadRequest(f"{self._url} refuses the request to {model!r} ({status}): {words}")  # 5

    def _scrubbed(self, text: str) -> str:
        return _SECRET.sub("(hidden)", text.replace(self._key, "(hidden)") if self._key else text).strip()[:300]


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
    return min(MOST_WAIT_S, FIRST_WAIT_S * 2.0**tried) * (0.5 + jitter / 2)


def _retry_after_s(headers: Mapping[str, str], now_unix_s: float) -> float | None:
    """Read `retry-after-ms` and `retry-after`, seconds or a date."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        said = headers.get(name)
        if said is None:
            continue
        try:
            return max(0.0, float(said) * unit)
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(said).timestamp() - now_unix_s)
        except (TypeError, ValueError):
            continue
    return None

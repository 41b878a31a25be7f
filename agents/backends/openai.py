"""Chats on a provider of paid models, or on any server that speaks OpenAI's API, through the `openai` package.

To the fleet it is a device like any other: its slots are how many answers run at once, it is busy while the provider's rate limit
is used up, and faulty while its key is refused, its money is spent or nothing answers. The package's own retries are off: ours
know the job's slot, and tell the fleet to look elsewhere meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import openai

from agents.backends import Backend, BackendDone, Piece, Version
from agents.backends import openai_wire as wire
from agents.backends.offers import Offer
from agents.backends.openai_faults import Said, fault_of, of_guest, scrubbed
from agents.backends.openai_limits import Quota, retry_after_s, wait_s
from agents.backends.purse import Bill, Budget, Purse, open_purse
from agents.settings import OPENAI_URL, CloudSection
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
from common.logs import get_logger
from common.messages import Dispatch, ModelInfo, Usage
from common.prompts import ANSWER_TOKENS, prompt_tokens, text_tokens

log = get_logger("cloud")

CONNECT_S = 10.0
ASK_S = 15.0
"""How long the list of models may take; it costs nothing, and proves the key."""

CHECK_S = 300.0
"""How often a provider that answers is asked for it."""

AGAIN_S = 10.0
"""How often one that does not."""

LOCKED_OUT_S = 300.0
"""After so long a job may find out whether somebody has added credit, or rights to the key: nothing else tells."""

MISSING_S = 600.0
"""For so long a model is not offered that the provider says it does not have."""

_NO_LIST = (403, 404, 405)
"""There are servers without a list of models, and keys that may chat and not see it: a job finds out what is wrong with them."""

_OWN_NAME = ("api.openai.com",)
"""Where the largest number of tokens is called `max_completion_tokens`; its newer models refuse the name that all others know."""


@dataclass(frozen=True, slots=True)
class _Payer:
    """Whose key is used: the house's, or one that came with a request. What a provider says of a guest's key, money and limits is
    no news of the house's."""

    client: openai.AsyncOpenAI
    key: str = field(repr=False)
    guest: bool = False


class OpenAIBackend:
    """One provider. Made by `open_openai`."""

    name = "openai"
    continues = False
    remote = True
    lets_go = True

    def __init__(self, client: openai.AsyncOpenAI, section: CloudSection, purse: Purse, clock: Clock) -> None:
        self.needs_key = section.key_from == "request"
        self._house = _Payer(client, section.api_key.get_secret_value() if section.api_key else "")
        self._host = urlsplit(section.base_url).netloc
        self._offers = {offer.name: offer for offer in section.offers}
        self._retries = section.retries
        self._limit_name = "max_completion_tokens" if self._host in _OWN_NAME else "max_tokens"
        self._purse = purse
        self._clock = clock
        self._quota = Quota(clock)
        self._trouble: FleetError | None = None
        """Why the provider is of no use now."""
        self._trouble_until_s = float("-inf")
        """Until when no look at the provider can prove that it is over."""
        self._look_at_s = float("-inf")
        self._missing: dict[str, float] = {}
        """Models that the provider does not have, and until when they are not offered."""
        self._unlisted: set[str] = set()

    def refusal(self) -> DeviceBusy | None:
        """Say that the money is spent, or the provider's rate limit used up."""
        return self._purse.refusal() or self._quota.refusal()

    async def chat(self, dispatch: Dispatch) -> AsyncGenerator[Piece, None]:
        """Stream one answer. Closing the generator closes the HTTP stream, at which providers stop computing and counting.

        What breaks off is paid for by estimate: the provider counts what it has done, and tells only at the end.
        """
        offer = self._offers.get(dispatch.model)
        if offer is None:
            raise UnknownModel(f"this device does not offer {dispatch.model!r}: see DROVER_CLOUD_MODELS")
        payer = self._payer(dispatch.provider_key)
        prompt = prompt_tokens(dispatch.messages, dispatch.tools)
        with self._bill(payer, _usd(offer, prompt, dispatch.options.max_tokens or ANSWER_TOKENS)) as bill:
            stream, sent_s = await self._begin(payer, wire.chat_to_wire(dispatch, self._limit_name), dispatch.model)
            answer, done = wire.Answer(self._host, sent_s), None
            async with aclosing(stream):
                try:
                    with self._translated(payer, dispatch.model):
                        async for chunk in stream:
                            piece = answer.hear(chunk.model_dump(warnings=False), self._clock.monotonic())
                            if piece is not None:
                                yield piece
                    done = answer.done(offer.prices)
                finally:
                    usage = answer.usage or Usage(prompt_tokens=prompt, completion_tokens=text_tokens(answer.text))
                    bill.usd = _paid(done) or _usd(offer, usage.prompt_tokens, usage.completion_tokens)
        yield done

    def _payer(self, guest_key: str | None) -> _Payer:
        """Give who pays. Raises `BadRequest` when nobody does."""
        if guest_key is None:
            if self.needs_key:
                raise BadRequest(
                    "this device asks its provider with the keys of requests alone: send one (provider_key, X-Drover-Provider-Key)",
                    param="provider_key",
                )
            return self._house
        client = self._house.client.copy(api_key=guest_key)  # the same connections
        client.organization, client.project = None, None  # the house's
        return _Payer(client, guest_key, guest=True)

    def _bill(self, payer: _Payer, estimate_usd: float) -> AbstractContextManager[Bill]:
        return nullcontext(Bill()) if payer.guest else self._purse.hold(estimate_usd)

    async def _begin(
        self, payer: _Payer, request: Mapping[str, Any], model: str
    ) -> tuple[openai.AsyncStream[Any], float]:
        """Send it, and again where that may help, until an answer begins; gives that, and when it was asked for."""
        for tried in itertools.count():
            sent_s = self._clock.monotonic()
            try:
                with self._translated(payer, model):
                    stream: openai.AsyncStream[Any] = await payer.client.chat.completions.create(
                        **request, stream=True, stream_options={"include_usage": True}
                    )
            except FleetError as error:
                wait = self._after(payer, error, model, tried)
                if wait is None:
                    raise
                log.info("cloud.retry", model=model, tried=tried + 1, wait_s=round(wait, 3), code=error.code)
                await asyncio.sleep(wait)
            else:
                if not payer.guest:
                    self._quota.note(stream.response.headers)
                    self._trust()
                return stream, sent_s
        raise AssertionError("unreachable")

    def _after(self, payer: _Payer, error: FleetError, model: str, tried: int) -> float | None:
        """Learn from an error, and give the seconds until the next try, if there is to be one."""
        headers = _headers(error)
        jitter = random.random()  # noqa: S311  # so that many agents don't come back at once; nobody guesses it
        wait = wait_s(error, tried=tried, retries=self._retries, jitter=jitter)
        if not payer.guest:
            self._learn(error, model, headers, wait)
        return None if headers.get("x-should-retry") == "false" else wait

    def _learn(self, error: FleetError, model: str, headers: Mapping[str, str], wait: float | None) -> None:
        self._quota.note(headers)
        if isinstance(error, ConfigError | BudgetSpent):
            self._doubt(error, for_s=LOCKED_OUT_S)
        elif isinstance(error, UnknownModel):
            self._missing[model] = self._clock.monotonic() + MISSING_S
        elif isinstance(error, BackendError) and "status" not in error.details:
            self._look_at_s = self._clock.monotonic()  # it may be gone altogether
        elif isinstance(error, DeviceBusy):
            self._quota.pause(error.retry_after_s or wait or 1.0)

    async def models(self) -> tuple[ModelInfo, ...]:
        """Give what is offered. Raises `BudgetSpent` when the money is spent, and what is wrong with the provider: it is looked at
        now and then, by its list of models."""
        empty = self._purse.empty()
        if empty is not None:
            raise empty
        now = self._clock.monotonic()
        if now >= self._look_at_s and now >= self._trouble_until_s and not self.needs_key:
            await self._look()
        if self._trouble is not None:
            raise self._trouble
        return tuple(offer.info for offer in self._offers.values() if self._missing.get(offer.name, now) <= now)

    async def in_memory(self) -> tuple[ModelInfo, ...]:
        """Nothing is: a probe by one token would cost money, and prove nothing that the next job does not."""
        return ()

    async def one_token(self, model: ModelInfo) -> None:  # noqa: ARG002  # it is none of theirs that is looked at
        """Look at the provider instead; a token costs money."""
        if not self.needs_key:
            await self._look()
        if self._trouble is not None:
            raise self._trouble

    async def version(self) -> Version:
        """Name the provider: it has no version."""
        return Version(self._host)

    async def _look(self) -> None:
        """See whether the provider answers, and takes the key."""
        try:
            with self._translated(self._house):
                async with asyncio.timeout(ASK_S):
                    listed = {str(model.id) for model in (await self._house.client.models.list()).data}
        except DeviceBusy:
            self._trust()  # it is there, and has too much to do: jobs find out how much
        except FleetError as error:
            if error.details.get("status") in _NO_LIST:
                self._trust()
            else:
                self._doubt(error)
        else:
            self._note_unlisted(listed)
            self._trust()

    def _note_unlisted(self, listed: set[str]) -> None:
        """A list may leave out aliases, so that it is no reason not to offer a model."""
        for name in self._offers.keys() - listed - self._unlisted:
            self._unlisted.add(name)
            log.warning("cloud.unlisted", model=name, host=self._host)

    def _doubt(self, error: FleetError, *, for_s: float = 0.0) -> None:
        self._trouble = error
        now = self._clock.monotonic()
        self._look_at_s, self._trouble_until_s = now + AGAIN_S, now + for_s

    def _trust(self) -> None:
        self._trouble = None
        self._look_at_s = self._clock.monotonic() + CHECK_S

    @contextmanager
    def _translated(self, payer: _Payer, model: str = "") -> Iterator[None]:
        try:
            with translated(self._host, model, key=payer.key, now_unix_s=self._clock.unix_s()):
                yield
        except FleetError as error:
            if payer.guest:
                raise of_guest(error, self._host) from error.__cause__
            raise


@asynccontextmanager
async def open_openai(section: CloudSection, *, device: str) -> AsyncIterator[Backend]:
    """Open the connections and the account; whether anything answers shows with the first look. Raises `ConfigError` when there
    is nothing to offer, no key for OpenAI itself, or no price for a model while there is a budget."""
    _check(section)
    clock = LoopClock()
    budget = Budget(day_usd=section.budget_day_usd, total_usd=section.budget_usd)
    purse = open_purse(section.state_dir / f"cloud-{device}.json", budget, clock)
    client = openai.AsyncOpenAI(
        base_url=section.base_url,
        api_key=section.api_key.get_secret_value() if section.api_key else "none",
        timeout=openai.Timeout(section.silence_s, connect=CONNECT_S),
        max_retries=0,
    )
    # The package takes None for leave to read the environment itself.
    client.organization, client.project = section.organization, section.project
    async with client:
        yield OpenAIBackend(client, section, purse, clock)


def _check(section: CloudSection) -> None:
    unpriced = [offer.name for offer in section.offers if offer.prices is None]
    if not section.offers:
        raise ConfigError("DROVER_BACKEND=openai offers nothing: set DROVER_CLOUD_MODELS, as in gpt-4o-mini=0.15/0.60")
    if section.api_key is None and section.base_url == OPENAI_URL and section.key_from == "agent":
        raise ConfigError(
            "OPENAI_API_KEY is not set: take a key at platform.openai.com, set OPENAI_BASE_URL to a server of yours, or "
            "DROVER_CLOUD_KEY_FROM=request, to serve those alone who bring a key"
        )
    if unpriced and (section.budget_day_usd is not None or section.budget_usd is not None):
        raise ConfigError(
            f"there is a budget, and DROVER_CLOUD_MODELS has no price for {', '.join(unpriced)}: write name=input/output, with 0/0 "
            "for what costs nothing"
        )


@contextmanager
def translated(host: str, model: str = "", *, key: str = "", now_unix_s: float = 0.0) -> Iterator[None]:
    """Turn everything that the package raises into our errors; the one place that knows theirs."""
    try:
        yield
    except openai.APIStatusError as error:
        wait = retry_after_s(error.response.headers, now_unix_s)
        raise fault_of(_said(error, error.status_code, wait), host=host, model=model, key=key) from error
    except (openai.APITimeoutError, TimeoutError) as error:
        raise BackendError(f"{host} fell silent: try another device, or see the provider's status page") from error
    except openai.APIConnectionError as error:
        why = type(error.__cause__).__name__ if error.__cause__ else "no reason given"
        raise BackendError(
            f"the connection to {host} failed or broke ({why}): check OPENAI_BASE_URL and this device's way to the internet"
        ) from error
    except openai.APIResponseValidationError as error:
        raise GarbledReply(f"what {host} sent is not OpenAI's format: is OPENAI_BASE_URL right?") from error
    except openai.APIError as error:  # inside a stream that had begun
        raise fault_of(_said(error, 0, None), host=host, model=model, key=key) from error
    except openai.OpenAIError as error:
        raise BackendError(
            f"the openai package failed ({type(error).__name__}: {scrubbed(str(error), key)})"
        ) from error
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise GarbledReply(
            f"what {host} sent is not OpenAI's format ({type(error).__name__}): is OPENAI_BASE_URL right?"
        ) from error


def _said(error: openai.APIError, status: int, wait: float | None) -> Said:
    body = error.body if isinstance(error.body, dict) else {}
    return Said(
        status=status,
        message=str(body.get("message") or error.message),
        kind=str(body.get("type") or ""),
        code=str(body.get("code") or ""),
        param=body["param"] if isinstance(body.get("param"), str) else None,
        retry_after_s=wait,
    )


def _headers(error: FleetError) -> Mapping[str, str]:
    """Give the headers that came with an error."""
    cause = error.__cause__
    return cause.response.headers if isinstance(cause, openai.APIStatusError) else {}


def _usd(offer: Offer, prompt: int, completion: int) -> float:
    if offer.prices is None:
        return 0.0
    return offer.prices.usd(Usage(prompt_tokens=prompt, completion_tokens=completion))


def _paid(done: BackendDone | None) -> float | None:
    return done.cost_usd if done else None

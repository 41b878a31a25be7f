"""Chats and embeddings on a provider of paid models, or on any server that speaks OpenAI's API: tries, pieces, and what they cost.

To the fleet it is a device like any other: its slots are how many answers run at once, it is busy while the provider's rate limit
is used up, and faulty while its key is refused, its money is spent or nothing answers.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext
from typing import TypeVar

from agents.backends import BackendDone, Bill, Piece, Version
from agents.backends import openai_wire as wire
from agents.backends.offers import Offer
from agents.backends.openai_client import Answering, Client, Embedding, Fate, fate_of, headers_of
from agents.backends.openai_limits import wait_s
from agents.backends.openai_watch import Watch
from agents.backends.purse import Budget, Purse
from agents.settings import AgentSettings, CloudSection
from common.clock import Clock
from common.errors import BadRequest, DeviceBusy, FleetError, UnknownModel, UnsupportedByModel
from common.logs import get_logger
from common.messages import Dispatch, EngineTimings, ModelInfo, Usage
from common.openai_api import limit_name
from common.prompts import dispatched_tokens

log = get_logger("cloud")

Begun = TypeVar("Begun", Answering, Embedding)
"""What a provider has begun to send, or has sent."""


def budget_of(section: CloudSection) -> Budget:
    """Give what may be spent."""
    return Budget(day_usd=section.budget_day_usd, total_usd=section.budget_usd)


class OpenAIBackend:
    """One provider. Made by `open_openai`."""

    name = "openai"
    continues = False
    remote = True
    lets_go = True

    def __init__(self, client: Client, section: CloudSection, purse: Purse, clock: Clock) -> None:
        self.needs_key = section.key_from == "request"
        self._house = client
        self._offers = {offer.name: offer for offer in section.offers}
        self._retries = section.retries
        self._limit_name = limit_name(section.base_url)
        self._purse = purse
        self._clock = clock
        self._watch = Watch(client, clock, may_look=not self.needs_key)

    def tune(self, settings: AgentSettings) -> None:
        """Take the budgets from the settings; retries, models and keys stay as they were."""
        self._purse.budget = budget_of(settings.cloud)

    def refusal(self) -> DeviceBusy | None:
        """Say that the house's money is spent, or its rate limit used up."""
        return self._purse.refusal() or self._watch.quota.refusal()

    def admit(self, dispatch: Dispatch) -> AbstractContextManager[Bill]:
        """Hold back what the job may cost at most. A guest's key is not ours to count: no budget and no limit of ours stands in its
        way."""
        if dispatch.provider_key is not None:
            return nullcontext(Bill())
        busy = self._watch.quota.refusal()
        if busy is not None:
            raise busy
        offer = self._offers.get(dispatch.model)
        prompt, most = dispatched_tokens(dispatch), dispatch.options.max_tokens if dispatch.inputs is None else 0
        return self._purse.hold(offer.most_usd(prompt, most) if offer else 0.0)

    async def chat(self, dispatch: Dispatch, bill: Bill) -> AsyncGenerator[Piece, None]:
        """Stream one answer. Closing the generator closes the HTTP stream, at which providers stop computing and counting.

        What breaks off is billed by estimate: the provider counts what it has done, and tells only at the end.
        """
        offer, client = self._offer(dispatch), self._client(dispatch.provider_key)
        prompt = dispatched_tokens(dispatch)
        request = wire.chat_to_wire(dispatch, self._limit_name)
        answering, sent_s = await self._begin(
            client, lambda: client.begin(request, offer.name), offer, offer.usd(prompt, 0), bill
        )
        answer = wire.Answer(client.host, sent_s)
        try:
            async with aclosing(answering.chunks()) as chunks:
                with client.translated(offer.name):
                    async for chunk in chunks:
                        piece = answer.hear(chunk, self._clock.monotonic())
                        if piece is not None:
                            yield piece
            done = answer.done()
        finally:
            usd, estimated = answer.usd(offer, prompt)
            if offer.prices is not None:
                bill.owe(usd, estimated=estimated)
        yield done

    async def embed(self, dispatch: Dispatch, bill: Bill) -> AsyncGenerator[Piece, None]:
        """Embed texts in one request. What its provider does not count is billed by estimate."""
        offer, client = self._offer(dispatch), self._client(dispatch.provider_key)
        prompt_usd = offer.usd(dispatched_tokens(dispatch), 0)
        request = wire.embed_to_wire(dispatch)
        embedding, sent_s = await self._begin(
            client, lambda: client.embed(request, offer.name), offer, prompt_usd, bill
        )
        usage = wire.prompt_usage(embedding.body)
        if offer.prices is not None:
            bill.owe(prompt_usd if usage is None else offer.usd(usage.prompt_tokens, 0), estimated=usage is None)
        with client.translated(offer.name):
            embeddings = wire.embeddings_of(embedding.body, len(dispatch.inputs or ()))
        engine = EngineTimings(prefill_s=self._clock.monotonic() - sent_s)
        yield BackendDone(usage=usage or Usage(), engine=engine, embeddings=embeddings)

    def _offer(self, dispatch: Dispatch) -> Offer:
        offer = self._offers.get(dispatch.model)
        if offer is None:
            raise UnknownModel(f"this device does not offer {dispatch.model!r}: see DROVER_CLOUD_MODELS")
        return offer

    def _client(self, guest_key: str | None) -> Client:
        """Give who is asked with whose key. Raises `BadRequest` when there is none."""
        if guest_key is not None:
            return self._house.of_guest(guest_key)
        if self.needs_key:
            raise BadRequest(
                "this device asks its provider with the keys of requests alone: send one (provider_key, X-Drover-Provider-Key)",
                param="provider_key",
            )
        return self._house

    async def _begin(
        self, client: Client, send: Callable[[], Awaitable[Begun]], offer: Offer, prompt_usd: float, bill: Bill
    ) -> tuple[Begun, float]:
        """Send it, and again where that may help, until an answer begins; gives that, and when it was asked for."""
        for tried in itertools.count():
            sent_s = self._clock.monotonic()
            try:
                with _billed(bill, prompt_usd):
                    begun = await send()
            except FleetError as error:
                wait = self._after(client, error, offer.name, tried)
                if wait is None or bill.again() is not None:
                    raise
                log.info("cloud.retry", model=offer.name, tried=tried + 1, wait_s=round(wait, 3), code=error.code)
                await asyncio.sleep(wait)
            else:
                if not client.guest:
                    self._watch.answered(begun.headers)
                return begun, sent_s
        raise AssertionError("unreachable")

    def _after(self, client: Client, error: FleetError, model: str, tried: int) -> float | None:
        """Learn from an error, and give the seconds until the next try, if there is to be one. What fell silent is not asked again:
        it may still compute, and count, what it was asked."""
        headers = headers_of(error)
        jitter = random.random()  # noqa: S311  # so that many agents don't come back at once; nobody guesses it
        wait = wait_s(error, tried=tried, retries=self._retries, jitter=jitter)
        if not client.guest:
            self._watch.failed(error, model, headers, wait)
        hopeless = headers.get("x-should-retry") == "false" or fate_of(error) is Fate.SILENT
        return None if hopeless else wait

    async def models(self) -> tuple[ModelInfo, ...]:
        """Give what is offered. Raises `BudgetSpent` when the money is spent, and what is wrong with the provider: it is looked at
        now and then, by its list of models."""
        empty = self._purse.empty()
        if empty is not None:
            raise empty
        await self._watch.check(self._offers)
        return tuple(offer.info for offer in self._offers.values() if not self._watch.lacks(offer.name))

    async def in_memory(self) -> tuple[ModelInfo, ...]:
        """Nothing is: a probe by one token would cost money, and prove nothing that the next job does not."""
        return ()

    async def one_token(self, model: ModelInfo) -> None:  # noqa: ARG002  # it is none of theirs that is looked at
        """Look at the provider instead; a token costs money."""
        await self._watch.check(self._offers, now=True)

    async def load(self, model: ModelInfo, keep_s: float | None) -> None:  # noqa: ARG002  # nothing stays here
        """Refuse: there is nothing to load."""
        raise UnsupportedByModel(f"{model.name} runs at a provider, and nothing of it is loaded: just ask it")

    async def version(self) -> Version:
        """Name the provider: it has no version."""
        return Version(self._house.host)


@contextmanager
def _billed(bill: Bill, prompt_usd: float) -> Iterator[None]:
    """Bill a prompt that went out, and of which nothing was heard: whether it was computed, nobody here can know."""
    try:
        yield
    except (FleetError, asyncio.CancelledError) as error:
        if prompt_usd and (not isinstance(error, FleetError) or fate_of(error) is not Fate.UNSENT):
            bill.owe(prompt_usd, estimated=True)
        raise

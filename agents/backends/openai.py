"""Opens the backend for paid models: what its settings must hold, the account, the connections; it sends nothing itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents.backends import Backend
from agents.backends.openai_chat import OpenAIBackend, budget_of
from agents.backends.openai_client import open_client
from agents.backends.purse import open_purse
from agents.settings import OPENAI_URL, CloudSection
from common.clock import LoopClock
from common.errors import ConfigError


@asynccontextmanager
async def open_openai(section: CloudSection, *, device: str) -> AsyncIterator[Backend]:
    """Open the connections and the account; whether anything answers shows with the first look. Raises `ConfigError` as `check`
    does, and when the account can't be kept."""
    check(section)
    clock = LoopClock()
    purse = open_purse(section.state_dir / f"cloud-{device}.json", budget_of(section), clock)
    async with open_client(section, clock) as client:
        yield OpenAIBackend(client, section, purse, clock)


def check(section: CloudSection) -> None:
    """Raise `ConfigError` when there is nothing to offer, no key for OpenAI itself, or no price for a model while there is a
    budget."""
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

"""Starts the scripted provider, gives it orders and asks what it has seen; it knows nothing of agents."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.commands import started
from tests.listening import GUARD_S

_ROOT = Path(__file__).parent.parent
_READY = "listening on "

KEY = "sk-test-0123456789abcdef"
GUEST_KEY = "sk-guest-fedcba9876543210"


@dataclass(frozen=True, slots=True)
class ProviderProcess:
    """A running provider."""

    url: str

    @property
    def base_url(self) -> str:
        """What OPENAI_BASE_URL is."""
        return f"{self.url}/v1"

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    async def order(self, *answers: dict[str, Any]) -> None:
        """Say how the next chats are answered."""
        await self._call("/orders", list(answers))

    async def stand(self, **answers: dict[str, Any]) -> None:
        """Say how each model answers from now on when nothing is ordered; `gpt_small` is gpt-small."""
        await self._call("/standing", {name.replace("_", "-"): answer for name, answer in answers.items()})

    async def order_cards(self, **cards: dict[str, Any]) -> None:
        """Say what the list of models tells of each besides its name."""
        await self._call("/cards", {name.replace("_", "-"): card for name, card in cards.items()})

    async def order_listing(self, answer: dict[str, Any] | None) -> None:
        """Say how the list of models is answered from now on; None is the ordinary way."""
        await self._call("/listing", answer)

    async def forget(self) -> None:
        """Be as at the start: without orders, and with nothing seen."""
        await self._call("/forget", None)

    async def state(self) -> dict[str, Any]:
        return dict(await self._call("/state"))

    async def last(self) -> dict[str, Any]:
        """Give the body of the last chat."""
        return dict((await self.state())["seen"][-1]["body"])

    async def until(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until what it has seen fits, and give it."""
        async with asyncio.timeout(GUARD_S):
            while True:
                state = await self.state()
                if fits(state):
                    return state
                await asyncio.sleep(0.01)  # it can't tell by itself

    async def _call(self, path: str, body: object = ...) -> Any:
        data = None if body is ... else json.dumps(body).encode()
        return await asyncio.to_thread(_call, f"{self.url}{path}", data)


@asynccontextmanager
async def provider() -> AsyncIterator[ProviderProcess]:
    """Run one for the life of the context; it takes `KEY` and `GUEST_KEY`, and no other."""
    command = (sys.executable, "-m", "tests.provider", f"--key={KEY}", f"--key={GUEST_KEY}")
    async with started(*command, cwd=_ROOT, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        async with asyncio.timeout(GUARD_S):
            line = (await process.stdout.readline()).decode().strip()
        assert line.startswith(_READY), f"the provider did not start: {line!r}, status {process.returncode}"
        yield ProviderProcess(line.removeprefix(_READY))


def _call(url: str, data: bytes | None) -> Any:
    request = urllib.request.Request(url, data=data)
    # Without the machine's proxy settings: the provider is on this host.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=GUARD_S) as answer:
        return json.loads(answer.read())

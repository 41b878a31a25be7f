"""For the files that look at pages: one browser and one house of each kind for a whole run, started for the first who asks.

Their tests share an event loop: each file says `pytest.mark.asyncio(loop_scope="session")`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser import Visit, chromium, opened
from tests.e2e.web import houses
from tests.e2e.web.chats import Chat, fresh, welcomed
from tests.e2e.web.houses import House, ScriptedHouse


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Simulated devices; whoever changes one puts it back."""
    async with houses.house(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_scripted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScriptedHouse]:
    async with houses.scripted_house(tmp_path_factory.mktemp("scripted")) as scripted:
        yield scripted


@pytest_asyncio.fixture(loop_scope="session")
async def scripted(shared_scripted: ScriptedHouse) -> ScriptedHouse:
    """A fleet whose answers a test writes, as at first."""
    await shared_scripted.anew()
    return shared_scripted


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chat_page(browser: Browser, shared_scripted: ScriptedHouse) -> AsyncIterator[Visit]:
    """The view that chats: one page for all who begin a new chat on it. What it must not do is noted to its end."""
    await shared_scripted.anew()
    async with opened(browser, shared_scripted.url, permissions=["clipboard-read"]) as visit:
        yield welcomed(visit)


@pytest_asyncio.fixture(loop_scope="session")
async def chat(chat_page: Visit, scripted: ScriptedHouse) -> Chat:
    """That page, with nothing said yet."""
    return await fresh(chat_page, scripted)

"""The chat page as tests use it: what they type, what they wait for, and what a scripted fleet answers; it asserts nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Locator, Page, expect

from tests.browser import HANG_S, Visit
from tests.e2e.web.houses import ScriptedHouse
from tests.scripted_fleet import ScriptedFleet, ScriptedJob

WELCOME = (
    r"/api/v1/chat: .* (4|5)\d\d ",  # a browser complains of each refusal, which the page tells in words
)


@dataclass(slots=True)
class Chat:
    """The open page, and the fleet that answers it."""

    visit: Visit
    fleet: ScriptedFleet

    @property
    def page(self) -> Page:
        return self.visit.page

    @property
    def box(self) -> Locator:
        return self.page.get_by_label("Your message")

    @property
    def words(self) -> Locator:
        return self.page.locator(".words")

    @property
    def questions(self) -> Locator:
        return self.page.locator(".bubble")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def ask(self, text: str) -> None:
        """Type a question and press Enter."""
        await self.box.fill(text)
        await self.box.press("Enter")

    async def answered(self) -> None:
        """Return when the newest answer has its route under it, and the next question may come."""
        await expect(self.page.locator(".turn").last.locator(".route")).to_be_visible()
        await expect(self.button("Send")).to_be_visible()

    async def pending(self) -> None:
        """Return when the ledger has the newest question, whose answer is under way."""
        talk = parse_qs(urlsplit(self.page.url).query)["c"][0]
        while True:
            told = await self.page.context.request.get(f"{self.visit.url}/api/v1/conversations/{talk}?limit=1")
            if (await told.json())["turns"][-1].get("error", {}).get("code") == "pending":
                return
            await asyncio.sleep(0.05)

    async def begin_anew(self) -> None:
        """Leave what was said before."""
        await self.button("New chat").click()
        await expect(self.page.locator(".hello")).to_be_visible()

    async def asked(self) -> dict[str, Any]:
        """Give the next request that came to the fleet."""
        async with asyncio.timeout(HANG_S):
            return (await self.fleet.jobs.get()).request

    async def said(self) -> list[str]:
        """Give what the next request says, turn by turn."""
        return [str(turn.get("content", "")) for turn in (await self.asked())["messages"]]


def welcomed(visit: Visit) -> Visit:
    """Take what a browser says of refusals for no complaint."""
    visit.welcome.extend(WELCOME)
    return visit


async def fresh(visit: Visit, scripted: ScriptedHouse) -> Chat:
    """Give a page on which nothing was said yet."""
    chat = Chat(visit, scripted.fleet)
    if await chat.page.locator(".turn").count():
        await chat.begin_anew()
    await chat.box.fill("")
    return chat


async def answer_from_orin(job: ScriptedJob) -> None:
    await job.ack()
    await job.route("orin", "llama3.2:3b", "hybrid 0.81")
    await job.tokens("The sky is ", "**blue**", ".")
    await job.end()


async def endless(job: ScriptedJob) -> None:
    await job.ack()
    await job.route()
    await job.token("Once upon a time")
    await job.stay(job.cancelled, "decode")

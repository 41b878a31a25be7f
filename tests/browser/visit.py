"""One open page: what it asked for, what the browser said of it, and how it looks; nothing outside of this machine is reached."""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from tests.browser.keyboard import Walk, walked
from tests.browser.looking import barriers, overflow

HANG_S = 20.0
expect.set_options(timeout=HANG_S * 1000)

THEMES = ("light", "dark")
WIDTHS = (320, 1024, 2560)
AUDITED = (("dark", 320), ("light", 1024))
"""Of these looks, what axe-core goes through: both themes and both layouts; each takes a busy machine a second."""
HEIGHTS = {320: 640, 1024: 768, 2560: 1440}

SCREENS = Path(os.environ.get("DROVER_SCREENSHOTS") or Path(__file__).parents[2] / "results" / "screens")
"""Where each look is left, for whoever wants to see it."""

CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The network cable is out.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

STILL = "/favicon.ico"
"""An address of the bridge that is no page: it asks nothing, and leads nowhere, as `/offline` does after three seconds."""

WELCOME = (r"/health\b.* 503 ",)
"""What is no complaint about a page: that the fleet does not answer within a second, since the machine may be busy."""

_REPORT = """
addEventListener("securitypolicyviolation", (event) => {
  const where = `${event.sourceFile ?? ""}:${event.lineNumber}`;
  window.droverRefused(`${event.effectiveDirective} refused ${event.blockedURI} at ${where} ${event.sample}`.trim());
});
"""

# A page that changes its colours is looked at when it has them.
_STILL = """() => {
  for (const moving of document.getAnimations()) if (moving instanceof CSSTransition) moving.finish();
}"""

# Two frames: what the last change asked for is drawn, and what it led to has been reported.
_SETTLED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"


@dataclass(frozen=True, slots=True)
class Look:
    """One way to see a page."""

    theme: str
    width: int

    def __str__(self) -> str:
        return f"{self.theme}-{self.width}"


@dataclass(slots=True)
class Visit:
    """A page that is open, and what was noted since then."""

    page: Page
    url: str
    look: Look
    outside: list[str] = field(default_factory=list)
    """Requests to anything but the bridge."""
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, and errors that no script caught."""
    refused: list[str] = field(default_factory=list)
    """What the content policy refused."""
    welcome: list[str] = field(default_factory=lambda: list(WELCOME))
    """Patterns of complaints that a test expects, as those of a bridge that it has killed."""

    async def seen_as(self, theme: str, width: int, height: int | None = None) -> None:
        """Show the same page in another way, without loading it again."""
        if width != self.look.width or height is not None:
            await self.page.set_viewport_size(_size(width, height))
        if theme != self.look.theme:
            await self.page.emulate_media(color_scheme=_scheme(theme))
        self.look = Look(theme, width)
        await self.settled()
        await self.page.evaluate(_STILL)

    async def every_look(self) -> AsyncIterator[Look]:
        """Show the page in both themes and three widths, one after the other; then again as it was."""
        before = self.look
        for width in WIDTHS:
            for theme in THEMES:
                await self.seen_as(theme, width)
                yield self.look
        await self.seen_as(before.theme, before.width)

    async def inspected(self, name: str) -> list[str]:
        """Leave a screenshot of each look, and give all that does not fit, and the barriers in two of them, each with its look."""
        faults = []
        async for look in self.every_look():
            await self.snap(f"{name}-{look}")
            found = await overflow(self.page)
            if (look.theme, look.width) in AUDITED:
                found += await self.barriers()
            faults += [f"{look}: {fault}" for fault in found]
        return faults

    async def barriers(self) -> list[str]:
        """Give what axe-core finds in a window as tall as the page: it can't tell the contrast of text that lies below a bar."""
        tall = await self.page.evaluate("() => Math.min(document.scrollingElement.scrollHeight, 10_000)")
        before = self.page.viewport_size
        if before is None or tall <= before["height"]:
            return await barriers(self.page)
        await self.page.set_viewport_size({**before, "height": tall})
        await self.settled()
        try:
            return await barriers(self.page)
        finally:
            await self.page.set_viewport_size(before)

    async def walked(self) -> Walk:
        """Go through the page by Tab alone."""
        return await walked(self.page)

    async def snap(self, name: str, *, whole: bool = False) -> Path:
        """Leave a screenshot: of what is in the window, or of the whole page."""
        # Playwright's own may add a style to the page, which the content policy refuses and reports; this touches nothing.
        session = await self.page.context.new_cdp_session(self.page)
        wanted: dict[str, Any] = {"optimizeForSpeed": True}
        if whole:
            sizes = await session.send("Page.getLayoutMetrics")
            wanted |= {"captureBeyondViewport": True, "clip": {**sizes["cssContentSize"], "scale": 1}}
        taken = await session.send("Page.captureScreenshot", wanted)
        await session.detach()
        return _left(name, base64.b64decode(taken["data"]))

    async def settled(self) -> None:
        """Return when the last change is drawn, and what it led to is noted."""
        await self.page.evaluate(_SETTLED)

    async def noted(self) -> list[str]:
        """Give everything that a page must not do and this one did."""
        if not self.page.is_closed():
            await self.settled()
        unwelcome = [said for said in self.complaints if not any(re.search(one, said) for one in self.welcome)]
        return [f"left the bridge: {url}" for url in self.outside] + unwelcome + self.refused


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run a browser for the life of the context."""
    program = shutil.which("chromium") or "/usr/bin/chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser,
    url: str,
    path: str = "/",
    *,
    theme: str = "light",
    width: int = 1024,
    height: int | None = None,
    key: str | None = None,
    **options: Any,
) -> AsyncIterator[Visit]:
    """Open a page of a bridge, by a key where one is given, and with a browser's memory of its own; `options` are Playwright's.

    A test that ends well ends with nothing noted; of one that fails, a screenshot is left.
    """
    context = await browser.new_context(viewport=_size(width, height), color_scheme=_scheme(theme), **options)
    try:
        if key is not None:
            await _let_in(context, url, key)
        visit = await _watched(context, url, Look(theme, width))
        await visit.page.goto(url + path)
        try:
            yield visit
        except Exception as error:
            error.add_note(f"the page as it was: {await visit.snap('failed-' + _slug())}")
            error.add_note("\n".join(["noted so far:", *await visit.noted()]))
            raise

        if noted := await visit.noted():
            raise AssertionError("\n".join(["the visit ended well, but for what was noted:", *noted]))
    finally:
        await context.close()


async def _watched(context: BrowserContext, url: str, look: Look) -> Visit:
    await context.expose_binding("droverRefused", lambda _, said: visit.refused.append(said))
    await context.add_init_script(_REPORT)
    visit = Visit(await context.new_page(), url, look)

    def asked(address: str) -> None:
        if not address.startswith((f"{url}/", "data:", "blob:", "about:")):
            visit.outside.append(address)

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            visit.complaints.append(f"{message.type} at {message.location['url']}: {message.text}")

    context.on("request", lambda request: asked(request.url))
    context.on("console", said)
    context.on("weberror", lambda caught: visit.complaints.append(f"uncaught: {caught.error.stack or caught.error}"))
    return visit


async def _let_in(context: BrowserContext, url: str, key: str) -> None:
    """Exchange a key for the cookie of a session, as the page's own door does."""
    answer = await context.request.post(f"{url}/api/v1/session", data={"key": key})
    assert answer.status == 201, await answer.text()


def _left(name: str, picture: bytes) -> Path:
    SCREENS.mkdir(parents=True, exist_ok=True)
    path = SCREENS / f"{name}.png"
    path.write_bytes(picture)
    return path


def _size(width: int, height: int | None) -> Any:
    return {"width": width, "height": height or HEIGHTS.get(width, 800)}


def _scheme(theme: str) -> Any:
    assert theme in THEMES, f"{theme!r} is no theme: {THEMES}"
    return theme


def _slug() -> str:
    """Give the name of the running test, fit for a file."""
    return re.sub(
        r"[^\w.-]+", "-", os.environ.get("PYTEST_CURRENT_TEST", "page").rsplit("/", 1)[-1].removesuffix(" (call)")
    )

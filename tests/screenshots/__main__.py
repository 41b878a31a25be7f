"""Makes the README's pictures: a simulated fleet that has been asked things, and three views of it; `make screenshots` calls it.

The fleet is `drover up` in a directory of its own, on free ports. Whatever happens, all that was started is gone at the end.
"""

from __future__ import annotations

import asyncio
import base64
import io
import re
import sys
import tempfile
from pathlib import Path

import httpx
from PIL import Image
from playwright.async_api import Browser, expect

from tests.browser import Visit, chromium, opened
from tests.commands import running
from tests.e2e.web.houses import READY, known

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
BOARDS = {"attic-nano": "nano", "desk-orin": "orin", "hall-pi": "pi4", "kitchen-pi": "pi5", "lab-nx": "nx"}
FLEET = {
    "DROVER_HTTP_PORT": "0",
    "DROVER_NATS_PORT": "0",
    "DROVER_HTTP_KEYS": "off",
    "DROVER_DEVICES": ",".join(f"{name}={profile}" for name, profile in BOARDS.items()),
    "DROVER_SIM_TIME_FACTOR": "4",
    "DROVER_ACCEPT_S": "10",  # a busy machine must not make a device silent
    "DROVER_METRICS": "off",
    "DROVER_TARIFF_PER_KWH": "0.3",
    "OLLAMA_HOST": "http://127.0.0.1:9",  # the discard port: no Ollama is there, so boards are simulated
    "LOG_LEVEL": "WARNING",
}
WIDTH, HEIGHT = 1280, 800
COLOURS = 128
"""Of a picture: a third of the bytes, and nobody sees it on flat grounds."""

MOST_BYTES = 120_000
WAIT_S = 120.0

QUESTIONS = (
    ("Why is the sky blue?", "auto"),
    ("Write a haiku about a herd of small computers.", "auto:eco"),
    ("Explain a message queue with an everyday example.", "auto:fast"),
    ("Prove that the square root of two is irrational, step by step.", "auto"),
    ("What do bees eat in winter?", "auto:eco"),
    ("Refactor this loop into a comprehension: for x in xs: ys.append(f(x))", "auto"),
)
SHOWN = "In 15 words: why does my Python loop skip every second element?"
LONG = "Write 800 words about a herd of small computers."
BUSY = {"attic-nano": (2, "[5-7]"), "desk-orin": (2, "1."), "hall-pi": (1, "[5-7]"), "kitchen-pi": (3, "1.")}
"""The jobs of each board on the picture of the fleet, and how the watts begin that it draws then; what it has no slot for waits."""


async def main() -> int:
    """Make them all, and say where they are."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="drover-pictures-") as home:
        async with running("up", cwd=Path(home), **FLEET) as up, chromium() as browser:
            base = (await up.until(READY))[1]
            await known(base, devices=len(BOARDS))
            async with httpx.AsyncClient(base_url=base, timeout=WAIT_S, trust_env=False) as http:
                await asyncio.gather(*(ask(http, prompt, model) for prompt, model in QUESTIONS))
                job = await chat(browser, base)
                await route(browser, base, job)
                await fleet(browser, base, http)
    return told()


async def ask(http: httpx.AsyncClient, prompt: str, model: str) -> None:
    """Give the fleet something to do, so that there is something to see."""
    body = {"prompt": prompt, "model": model, "cache": "off"}
    (await http.post("/api/v1/chat", json=body)).raise_for_status()


async def chat(browser: Browser, base: str) -> str:
    """Ask on the page, and show what is told of the answer; gives the job's id."""
    async with opened(browser, base, width=WIDTH, height=HEIGHT) as visit:
        page = visit.page
        await page.get_by_label("Your message").fill(SHOWN)
        await page.get_by_label("Your message").press("Enter")
        badge = page.locator(".route").last
        await expect(badge).to_be_visible(timeout=WAIT_S * 1000)
        await badge.locator("summary").click()
        job = await badge.locator(".job code").text_content()
        # The details are taller than a window: the answer is what one comes for.
        await page.evaluate("scrollTo(0, 0)")
        await taken(visit, "chat")
    return job or ""


async def route(browser: Browser, base: str, job: str) -> None:
    """Show why that answer came from where it did."""
    async with opened(browser, base, f"/explain?job={job}", width=WIDTH, height=HEIGHT) as visit:
        await expect(visit.page.locator(".options li").first).to_be_visible()
        await taken(visit, "route")


async def fleet(browser: Browser, base: str, http: httpx.AsyncClient) -> None:
    """Show the boards at work."""
    async with (
        opened(browser, base, "/fleet", theme="dark", width=WIDTH, height=HEIGHT) as visit,
        asyncio.TaskGroup() as tasks,
    ):
        models = [f"auto@{name}" for name, (jobs, _) in BUSY.items() for _ in range(jobs)]
        asked = [tasks.create_task(ask(http, LONG, model)) for model in models]
        for name, (_, begins) in BUSY.items():
            drawn = re.compile(rf"^{name}, ready, {begins}(\.\d+)? W")
            await expect(visit.page.get_by_role("link", name=drawn)).to_be_visible(timeout=WAIT_S * 1000)
        await taken(visit, "fleet")
        for one in asked:
            one.cancel()


async def taken(visit: Visit, name: str) -> None:
    """Keep what is in the window, with few colours."""
    await expect(visit.page.locator("#standing")).to_have_attribute("data-state", "up")
    await visit.settled()
    session = await visit.page.context.new_cdp_session(visit.page)
    shot = await session.send("Page.captureScreenshot")
    image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURES / f"{name}.png", optimize=True)


def told() -> int:
    """Say which pictures there are; gives the exit status."""
    status = 0
    for picture in sorted(PICTURES.glob("*.png")):
        size = picture.stat().st_size
        fits = size <= MOST_BYTES
        status |= not fits
        sys.stdout.write(f"{picture}: {size} bytes{'' if fits else f', more than {MOST_BYTES}'}\n")
    return status


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

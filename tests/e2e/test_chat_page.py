"""The real chat page in headless Chromium, on a real bridge, with a scripted fleet on a real NATS server."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from common import errors, key_client
from common.key_requests import AddKey
from common.subjects import Subjects
from tests.bridge_process import BridgeProcess, bridge_process
from tests.integration.ledger.ledgers import ledger_process
from tests.nats_server import nats_server
from tests.scripted_fleet import ScriptedFleet, ScriptedJob, scripted_fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]
"""One browser and one bridge serve all of them; each has a page, and a browser's memory, of its own."""

CHROMIUM_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HANG_S = 20.0
expect.set_options(timeout=HANG_S * 1000)
PNG_DIRECTORY = os.environ.get("DROVER_SCREENSHOTS", "")
"""Where to leave screenshots, for whoever wants to look; nowhere by default."""


@dataclass(slots=True)
class Chat:
    """The page, what it talked to, and what it complained about."""

    page: Page
    fleet: ScriptedFleet
    bridge: BridgeProcess
    outside: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    async def ask(self, text: str) -> None:
        """Type a question and press Enter."""
        await self.page.get_by_label("Your message").fill(text)
        await self.page.get_by_label("Your message").press("Enter")

    async def answered(self) -> None:
        """Return when the newest answer has its route under it."""
        await expect(self.page.locator(".turn").last.locator(".route")).to_be_visible()

    async def snap(self, name: str) -> None:
        """Leave a screenshot, if somebody wants to look."""
        if PNG_DIRECTORY:
            await self.page.screenshot(path=Path(PNG_DIRECTORY) / f"{name}.png")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    program = shutil.which("chromium") or "/usr/bin/chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def served() -> AsyncIterator[tuple[ScriptedFleet, BridgeProcess]]:
    """A fleet of two devices, and a bridge that knows them."""
    async with nats_server() as nats, scripted_fleet(nats.url) as fleet, bridge_process(nats.url) as bridge:
        for device, models in {"nano": ("llama3.2:1b", "embedder:1b"), "orin": ("llama3.2:1b", "llama3.2:3b")}.items():
            await fleet.beat(device, models)
        await heard(bridge, devices=2)
        yield fleet, bridge


@asynccontextmanager
async def opened(browser: Browser, fleet: ScriptedFleet, bridge: BridgeProcess, **look: Any) -> AsyncIterator[Chat]:
    """The open page."""
    context = await browser.new_context(**look)
    try:
        chat = Chat(await context.new_page(), fleet, bridge)
        watch(chat)
        await chat.page.goto(bridge.url)
        await expect(chat.page.locator("#fleet-text")).to_have_text("2 devices ready")
        yield chat
    finally:
        await context.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[tuple[ScriptedFleet, BridgeProcess]]:
    async with served() as (fleet, bridge):
        yield fleet, bridge


@pytest_asyncio.fixture(loop_scope="module")
async def chat(
    browser: Browser, shared: tuple[ScriptedFleet, BridgeProcess], request: pytest.FixtureRequest
) -> AsyncIterator[Chat]:
    """A test may ask for a size or a colour scheme by indirect parameters."""
    fleet, bridge = shared
    fleet.forget()
    look = getattr(request, "param", {"viewport": {"width": 1100, "height": 850}})
    async with opened(browser, fleet, bridge, **look) as chat:
        yield chat


async def heard(bridge: BridgeProcess, *, devices: int) -> None:
    """Return when the bridge knows so many devices: a page that comes before is told that the fleet is not available."""
    async with asyncio.timeout(HANG_S), httpx.AsyncClient(base_url=bridge.url, timeout=HANG_S, trust_env=False) as http:
        while True:
            health = await http.get("/health")
            if health.status_code == 200 and len(health.json()["devices"]) == devices:
                return
            await asyncio.sleep(0.05)


def watch(chat: Chat) -> None:
    """Note every request that leaves the bridge, and every complaint of the browser.

    That the fleet does not answer within a second is no complaint about the page: the machine may be busy.
    """

    def requested(url: str) -> None:
        if not url.startswith((chat.bridge.url, "data:", "blob:")):
            chat.outside.append(url)

    chat.page.on("request", lambda request: requested(request.url))
    chat.page.on("pageerror", lambda error: chat.complaints.append(str(error)))

    def said(message: ConsoleMessage) -> None:
        unwell = message.location["url"] == f"{chat.bridge.url}/health" and "503" in message.text
        if message.type in ("error", "warning") and not unwell:
            chat.complaints.append(message.text)

    chat.page.on("console", said)


async def answer_from_orin(job: ScriptedJob) -> None:
    await job.ack()
    await job.route("orin", "llama3.2:3b", "hybrid 0.81")
    await job.tokens("The sky is ", "**blue**", ".")
    await job.end()


async def test_an_answer_grows_while_it_is_written(chat: Chat) -> None:
    """The first words are on the page while the device still writes the rest."""
    may_go_on = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.token("First words")
        await may_go_on.wait()
        await job.token(" and the last.")
        await job.end()

    chat.fleet.script = script
    await chat.ask("Go on")
    words = chat.page.locator(".words")
    await expect(words).to_have_text("First words")
    may_go_on.set()

    await expect(words).to_have_text("First words and the last.")


async def test_under_an_answer_stands_where_it_ran_and_why(chat: Chat) -> None:
    """Device, model, reason, time to first token, tokens per second, and that it was simulated."""
    chat.fleet.script = answer_from_orin
    await chat.ask("Why is the sky blue?")
    await chat.answered()
    await chat.snap("answer")
    route = chat.page.locator(".route")
    names = ("device", "model", "reason", "ttft", "tps", "simulated")
    shown = {name: await route.locator(f"[data-fact={name}]").inner_text() for name in names}
    expected = {
        "device": "Device: orin",
        "model": "Model: llama3.2:3b",
        "reason": "Why: hybrid 0.81",
        "ttft": "Time to first token: 0.31 s to first token",
        "tps": "Speed: 17.4 tok/s",
        "simulated": "Origin: simulated",
    }

    assert {name: " ".join(text.split()) for name, text in shown.items()} == expected


async def test_the_score_can_be_unfolded(chat: Chat) -> None:
    """One click shows each term with its weight, and the job's id."""
    chat.fleet.script = answer_from_orin
    await chat.ask("Why?")
    await chat.page.locator(".route summary").click()
    await chat.snap("explain")
    explained = chat.page.locator(".explain")

    await expect(explained).to_contain_text("0.88 \u00d7 0.40")
    await expect(explained).to_contain_text((await chat.fleet.jobs.get()).id)


async def test_stop_cancels_the_job(chat: Chat) -> None:
    """The fleet hears the cancel of this job; what was written stays, and the next question goes."""

    async def endless(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.token("Once upon a time")
        await job.cancelled.wait()

    chat.fleet.script = endless
    await chat.ask("Tell me a story")
    await expect(chat.page.locator(".words")).to_have_text("Once upon a time")
    await chat.page.get_by_role("button", name="Stop").click()
    job = await chat.fleet.jobs.get()
    async with asyncio.timeout(HANG_S):
        cancelled = await chat.fleet.cancels.get()
    await expect(chat.page.get_by_role("button", name="Send")).to_be_visible()
    chat.fleet.script = answer_from_orin
    await chat.ask("Something else")
    await chat.answered()

    assert (cancelled, await chat.page.locator(".words").all_inner_texts()) == (
        job.id,
        ["Once upon a time", "The sky is blue."],
    )


async def test_the_keyboard_is_enough(chat: Chat) -> None:
    """Enter sends, Shift+Enter breaks the line, Escape stops, and the focus stays where one types."""

    async def endless(job: ScriptedJob) -> None:
        await job.ack()
        await job.cancelled.wait()

    chat.fleet.script = endless
    await expect(chat.page.get_by_label("Your message")).to_be_focused()
    await chat.page.keyboard.type("one")
    await chat.page.keyboard.press("Shift+Enter")
    await chat.page.keyboard.type("two")
    await chat.page.keyboard.press("Enter")
    job = await chat.fleet.jobs.get()
    await chat.page.keyboard.press("Escape")
    async with asyncio.timeout(HANG_S):
        cancelled = await chat.fleet.cancels.get()
    await expect(chat.page.get_by_role("button", name="Send")).to_be_visible()
    await expect(chat.page.get_by_label("Your message")).to_be_focused()

    assert (job.request["messages"][0]["content"], cancelled) == ("one\ntwo", job.id)


async def test_the_waiting_line_tells_what_happens(chat: Chat) -> None:
    """Queued with its position and the wait, then loading with the estimate, then the text."""
    step = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.keep_alive("queue", 12.0, position=3)
        await step.wait()
        step.clear()
        await job.route("orin", "llama3.2:3b")
        await job.keep_alive("load", 7.0)
        await step.wait()
        await job.token("Here I am.")
        await job.end()

    chat.fleet.script = script
    await chat.ask("Hello?")
    line = chat.page.locator(".waiting")
    await expect(line).to_contain_text("Queued, position 3, about 12 s")
    step.set()
    await expect(line).to_contain_text("Loading llama3.2:3b on orin, about 7 s")
    await chat.snap("waiting")
    step.set()
    await chat.answered()

    await expect(line).to_have_count(0)


async def test_a_question_on_the_page_is_interactive(chat: Chat) -> None:
    """Somebody looks at the screen: it goes before what nobody watches."""
    await chat.ask("Hello?")
    job = await chat.fleet.jobs.get()
    await chat.answered()

    assert "interactive" == job.request["priority"]


@pytest.mark.parametrize("accepted", [True, False], ids=["after the acceptance", "at the door"])
async def test_an_error_is_shown_with_a_way_out(chat: Chat, accepted: bool) -> None:
    """The message and the wait are readable, and "Try again" asks the same question again."""

    async def failing(job: ScriptedJob) -> None:
        if accepted:
            await job.ack()
        await job.fail(errors.NoDevice("no device is ready: start one", retry_after_s=4))

    chat.fleet.script = failing
    await chat.ask("Anyone there?")
    error = chat.page.get_by_role("alert")
    await expect(error).to_contain_text("No device is ready: start one. The fleet suggests to wait 4 s.")
    await chat.snap(f"error-{accepted}")
    chat.fleet.script = answer_from_orin
    await chat.page.get_by_role("button", name="Try again").click()
    await chat.answered()
    asked = [(await chat.fleet.jobs.get()).request["messages"] for _ in range(2)]

    await expect(error).to_have_count(0)
    assert asked[0] == asked[1]


async def test_try_again_wants_a_new_answer(chat: Chat) -> None:
    """A question is asked as it is; "Try again" asks for an answer that was not given before."""

    async def failing(job: ScriptedJob) -> None:
        await job.fail(errors.NoDevice("no device is ready"))

    chat.fleet.script = failing
    await chat.ask("Hello?")
    again = chat.page.get_by_role("button", name="Try again")
    await expect(again).to_be_visible()
    chat.fleet.script = answer_from_orin
    await again.click()
    await chat.answered()
    asked = [(await chat.fleet.jobs.get()).request.get("cache") for _ in range(2)]

    assert asked == [None, "refresh"]


@pytest.mark.parametrize(
    ("age_s", "says"),
    [(34.2, "cached 34 s ago"), (600, "cached 10 min ago"), (7200, "cached 2 h ago"), (None, "cached")],
)
async def test_an_answer_from_the_cache_says_so(chat: Chat, age_s: float | None, says: str) -> None:
    """The line under it has the word, and how old the answer is; nobody has to know a colour."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.hit({"outcome": "hit", "kind": "exact", "age_s": age_s})
        await job.token("As I said.")
        await job.end()

    chat.fleet.script = script
    await chat.ask("Why?")
    await chat.answered()
    await chat.snap(f"cached-{says}")

    await expect(chat.page.locator("[data-fact=cached]")).to_have_text(f"Origin: {says}")
    assert chat.complaints == []


async def test_an_answer_of_a_device_is_not_called_cached(chat: Chat) -> None:
    """Also where the cache was asked."""

    async def script(job: ScriptedJob) -> None:
        job.cache = {"outcome": "miss", "why": "never asked before"}
        await answer_from_orin(job)

    chat.fleet.script = script
    await chat.ask("Why?")
    await chat.answered()

    await expect(chat.page.locator("[data-fact=cached]")).to_have_count(0)


async def test_a_bridge_that_is_gone_is_said_so(browser: Browser) -> None:
    """No endless waiting: the page says that the bridge can't be reached."""
    async with served() as (fleet, bridge), opened(browser, fleet, bridge) as chat:
        chat.bridge.process.kill()
        await chat.bridge.process.wait()
        await chat.ask("Hello?")

        await expect(chat.page.get_by_role("alert")).to_contain_text("The bridge can't be reached")


async def test_the_conversation_is_kept(chat: Chat) -> None:
    """The second question carries the first one and its answer; a new chat forgets them."""
    chat.fleet.script = answer_from_orin
    await chat.ask("Why is the sky blue?")
    await chat.answered()
    await chat.ask("And at dusk?")
    await chat.answered()
    await chat.page.get_by_role("button", name="New chat").click()
    await chat.ask("Hi")
    await chat.answered()
    asked = [[turn["content"] for turn in (await chat.fleet.jobs.get()).request["messages"]] for _ in range(3)]

    assert asked == [
        ["Why is the sky blue?"],
        ["Why is the sky blue?", "The sky is **blue**.", "And at dusk?"],
        ["Hi"],
    ]


async def test_a_new_chat_forgets_also_what_was_being_written(chat: Chat) -> None:
    """Its job is cancelled, and none of it is in the next question's conversation."""

    async def endless(job: ScriptedJob) -> None:
        await job.ack()
        await job.token("Once upon a time")
        await job.cancelled.wait()

    chat.fleet.script = endless
    await chat.ask("Tell me a story")
    await expect(chat.page.locator(".words")).to_have_text("Once upon a time")
    await chat.page.get_by_role("button", name="New chat").click()
    async with asyncio.timeout(HANG_S):
        await chat.fleet.cancels.get()
    await expect(chat.page.get_by_role("button", name="Send")).to_be_visible()
    chat.fleet.script = answer_from_orin
    await chat.ask("Hi")
    await chat.answered()
    asked = [(await chat.fleet.jobs.get()).request["messages"] for _ in range(2)]

    assert [turn["content"] for turn in asked[1]] == ["Hi"]


async def test_a_question_that_failed_does_not_haunt_the_next_one(chat: Chat) -> None:
    """Asking something else gives it up: neither its text nor its "Try again" stays in play."""

    async def failing(job: ScriptedJob) -> None:
        await job.fail(errors.NoDevice("no device is ready"))

    chat.fleet.script = failing
    await chat.ask("First")
    await expect(chat.page.get_by_role("button", name="Try again")).to_be_visible()
    chat.fleet.script = answer_from_orin
    await chat.ask("Second")
    await chat.answered()
    asked = [(await chat.fleet.jobs.get()).request["messages"] for _ in range(2)]

    await expect(chat.page.get_by_role("button", name="Try again")).to_have_count(0)
    assert [turn["content"] for turn in asked[1]] == ["Second"]


async def test_a_model_or_a_device_can_be_chosen(chat: Chat) -> None:
    """The picker lists what the heartbeats say can chat, and the job asks for what was picked."""
    picker = chat.page.get_by_label("Model")
    await picker.focus()
    await expect(picker.locator("option")).to_have_count(8)
    values = [await option.get_attribute("value") for option in await picker.locator("option").all()]
    await picker.select_option("auto@orin")
    await chat.ask("Hi")
    await chat.answered()
    request = (await chat.fleet.jobs.get()).request

    assert (values, request["model"], request["device"]) == (
        ["auto", "auto:fast", "auto:eco", "auto:local", "llama3.2:1b", "llama3.2:3b", "auto@nano", "auto@orin"],
        "auto",
        "orin",
    )


HOSTILE = """<script>window.hurt = 1</script>

<img src=x onerror="window.hurt = 2">

[click](javascript:window.hurt=3) ![track](https://evil.example/pixel.png) <svg onload="window.hurt=4">

<iframe src="https://evil.example"></iframe><style>body{display:none}</style>

| a |
|---|
| <b onclick="window.hurt=5">x</b> |

[fine](https://example.org "title")"""


async def test_an_answer_can_do_no_harm(chat: Chat) -> None:
    """Markup in an answer is shown as text: nothing runs, nothing is fetched, links lead to the web only."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        for start in range(0, len(HOSTILE), 7):
            await job.token(HOSTILE[start : start + 7])
        await job.end()

    chat.fleet.script = script
    await chat.ask("Be evil")
    await chat.answered()
    words = chat.page.locator(".words")
    hurt = await chat.page.evaluate("() => window.hurt ?? null")
    tags = await words.locator("script, img, svg, iframe, style, b, [onclick], [onerror]").count()
    links = [await link.get_attribute("href") for link in await words.locator("a[href]").all()]

    assert (hurt, tags, links, chat.outside, chat.complaints) == (None, 0, ["https://example.org"], [], [])


WIDE = (
    "| "
    + " | ".join(f"column{n}" for n in range(12))
    + " |\n|"
    + "---|" * 12
    + f"\n\n`{'x' * 300}`\n\n```\n{'y' * 300}\n```\n{'z' * 300}"
)
NARROW = {"viewport": {"width": 320, "height": 640}, "color_scheme": "dark"}


@pytest.mark.parametrize("chat", [NARROW], indirect=True)
async def test_a_narrow_screen_needs_no_sideways_scrolling(chat: Chat) -> None:
    """At 320 pixels wide tables, code and words stay inside, also with the score unfolded."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route("orin", "llama3.2:3b", "r" * 200)
        await job.token(WIDE)
        await job.end()

    chat.fleet.script = script
    await chat.ask("q" * 300)
    await chat.answered()
    await chat.page.locator(".route summary").click()
    await chat.snap("narrow")

    assert await chat.page.evaluate("() => document.documentElement.scrollWidth") == 320


@pytest.mark.parametrize("chat", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True)
async def test_the_page_follows_the_colour_scheme(chat: Chat, request: pytest.FixtureRequest) -> None:
    """Light ground for those who like it light, dark for the others."""
    scheme = request.node.callspec.params["chat"]["color_scheme"]
    ground = await chat.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    await chat.snap(f"hello-{scheme}")

    assert ground == {"light": "rgb(247, 245, 240)", "dark": "rgb(18, 22, 21)"}[scheme]


async def test_a_screen_reader_hears_whole_answers_only(chat: Chat) -> None:
    """The growing text is no live region; the finished answer is said in a polite one."""
    chat.fleet.script = answer_from_orin
    await chat.ask("Why?")
    await chat.answered()
    live = await chat.page.locator(".words").evaluate("(node) => node.closest('[aria-live]') === null")

    await expect(chat.page.get_by_role("status")).to_have_text("Answer from orin: The sky is blue.")
    assert live


async def test_the_page_talks_to_the_bridge_alone(chat: Chat) -> None:
    """A chat and its page ask nothing of any other host, and the browser has nothing to complain about."""
    chat.fleet.script = answer_from_orin
    await chat.ask("Why?")
    await chat.answered()

    assert (chat.outside, chat.complaints) == ([], [])


async def test_the_api_s_description_works_offline(chat: Chat) -> None:
    """`/docs` shows the chat route, asking nothing of any other host."""
    await chat.page.goto(f"{chat.bridge.url}/docs")
    await expect(chat.page.locator(".opblock-summary-path").first).to_contain_text("completions")
    await chat.snap("docs")

    assert (chat.outside, chat.complaints) == ([], [])


async def test_whoever_has_a_key_comes_in(browser: Browser, tmp_path: Path) -> None:
    """Where keys are needed the page asks for one, says why it is refused, and needs it once: the session is no script's."""
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(nats_server())
        await stack.enter_async_context(ledger_process(nats.url, f"sqlite:///{tmp_path / 'ledger.db'}", tmp_path))
        fleet = await stack.enter_async_context(scripted_fleet(nats.url))
        secret = await made_key(fleet)
        bridge = await stack.enter_async_context(bridge_process(nats.url, DROVER_LEDGER="on"))
        await fleet.beat()
        await heard(bridge, devices=1)
        context = await browser.new_context()
        stack.push_async_callback(context.close)
        chat = Chat(await context.new_page(), fleet, bridge)
        await chat.page.goto(bridge.url)
        await chat.page.get_by_label("Key", exact=True).fill("dr_nobody")
        await chat.page.get_by_role("button", name="Come in").click()
        await expect(chat.page.get_by_role("alert")).to_contain_text("no key of Drover's")
        await chat.snap("door")
        await chat.page.get_by_label("Key", exact=True).fill(secret)
        await chat.page.get_by_role("button", name="Come in").click()
        # Strangers are told no number: by it the page is the new one, and hears what is typed. The door is hidden before that, too.
        await expect(chat.page.locator("#fleet-text")).to_have_text("1 device ready")
        await expect(chat.page.locator("#door")).to_be_hidden()
        await chat.ask("hi")
        await chat.answered()

        assert secret not in await chat.page.evaluate("document.cookie + JSON.stringify(localStorage)")


async def made_key(fleet: ScriptedFleet) -> str:
    """Make a key as soon as the ledger answers; gives its secret."""
    async with asyncio.timeout(HANG_S * 3):
        while True:
            try:
                return (await key_client.add(fleet.bus, Subjects("llm.v1"), AddKey(name="page"))).secret
            except errors.FleetError:
                await asyncio.sleep(0.05)

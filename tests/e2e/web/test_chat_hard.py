"""The view that chats where it is hard: those who mean harm, a bridge that dies, very long answers, and every look of it."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from playwright.async_api import Browser, expect

from common import errors
from tests.bridge_process import BridgeProcess, bridge_process
from tests.browser import THEMES, opened
from tests.e2e.web.chats import Chat, answer_from_orin, endless, welcomed
from tests.e2e.web.houses import DEVICES, ScriptedHouse, known
from tests.e2e.web.payloads import XSS
from tests.nats_server import nats_server
from tests.scripted_fleet import ScriptedFleet, ScriptedJob, scripted_fleet

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SUSPECT = (
    "script, img, svg, iframe, style, object, embed, form, input, math, video, [onclick], [onerror], [onload], [style]"
)


async def test_what_others_write_can_do_no_harm(browser: Browser, scripted: ScriptedHouse) -> None:
    """Markup in answers, model names, reasons and errors is shown as text: nothing runs, nothing is fetched, links lead to the web
    only, and the content policy has nothing to refuse."""
    names = [one for one in XSS if len(one) <= 200]
    asked = itertools.count()

    async def script(job: ScriptedJob) -> None:
        number = next(asked)
        await job.ack()
        if number:
            await job.fail(errors.NoDevice("\n".join(XSS[:20])))
            return
        await job.route("orin", names[0], XSS[5])
        text = "\n\n".join([*XSS, "[fine](https://example.org 'title')"])
        for start in range(0, len(text), 97):
            await job.token(text[start : start + 97])
        await job.end()

    scripted.fleet.script = script
    await scripted.fleet.beat("nano", tuple(names))
    async with opened(browser, scripted.url) as visit:
        chat = Chat(welcomed(visit), scripted.fleet)
        await chat.ask("Be evil")
        await chat.answered()
        await chat.page.locator(".route summary").click()
        await chat.ask("Be worse")
        await expect(chat.page.get_by_role("alert")).to_contain_text("</script><script>")
        await expect(chat.page.get_by_label("Model").locator("option", has_text=names[0]).first).to_be_attached()
        found = {
            "hurt": await chat.page.evaluate("() => window.hurt ?? null"),
            "tags": await chat.page.locator(f":is(.words, .refusal, .fact, select) :is({SUSPECT})").count(),
            "links": [await one.get_attribute("href") for one in await chat.words.locator("a[href]").all()],
            "refused": visit.refused,
            "outside": visit.outside,
        }
        await visit.settled()

        await expect(chat.page.locator("[data-fact=model]").first).to_contain_text(names[0])
    assert {"hurt": None, "tags": 0, "links": ["https://example.org"], "refused": [], "outside": []} == found


async def test_a_bridge_that_dies_is_told_and_comes_back(browser: Browser, scripted: ScriptedHouse) -> None:
    """Killed in the middle of an answer: what was written stays, and it is said that it broke off. While it is away questions are
    answered so at once; when it is back the same page goes on. One that has said nothing for 40 s is given up. A question whose
    bridge was killed is found after a reload, and can be tried again; nobody has stopped it."""
    settings = {"DROVER_LEDGER": "on", "DROVER_HTTP_KEYS": "off"}
    scripted.fleet.script = endless
    async with bridge_process(scripted.nats.url, **settings) as first:
        await _heard(first, scripted.fleet)
        async with opened(browser, first.url) as visit:
            welcomed(visit).welcome.append("ERR_")
            chat = Chat(visit, scripted.fleet)
            await chat.ask("Tell me a story")
            await expect(chat.words).to_have_text("Once upon a time")
            first.process.kill()
            await first.process.wait()
            error = chat.page.get_by_role("alert")
            await expect(error).to_contain_text("The answer broke off")
            await expect(chat.words).to_have_text("Once upon a time")
            job = await chat.fleet.jobs.get()
            job.cancelled.set()  # nobody is left who would
            await chat.button("Try again").click()
            await expect(error).to_contain_text("The bridge can't be reached")
            chat.fleet.script = answer_from_orin
            async with bridge_process(scripted.nats.url, DROVER_HTTP_PORT=str(first.port), **settings) as second:
                await _heard(second, scripted.fleet)
                await chat.button("Try again").click()
                await chat.answered()

                await expect(chat.words).to_have_text("The sky is blue.")
                await expect(error).to_have_count(0)
                chat.fleet.script = endless
                await chat.page.clock.install()
                await chat.ask("And then?")
                await expect(chat.words.last).to_have_text("Once upon a time")
                await chat.page.clock.fast_forward(41_000)
                await expect(error).to_contain_text("The answer broke off")
                await chat.page.clock.resume()
                await chat.ask("At last?")
                await expect(chat.words.last).to_have_text("Once upon a time")
                await expect(chat.words).to_have_count(3)
                await chat.pending()
                second.process.kill()
                await second.process.wait()
                while not chat.fleet.jobs.empty():
                    chat.fleet.jobs.get_nowait().cancelled.set()
                await expect(error).to_have_count(2)
                await expect(error.last).to_contain_text("The answer broke off")
            async with bridge_process(scripted.nats.url, DROVER_HTTP_PORT=str(first.port), **settings) as third:
                await _heard(third, scripted.fleet)
                await chat.page.reload()
                await expect(chat.questions).to_have_text(["Tell me a story", "And then?", "At last?"])
                await expect(error.last).to_contain_text(
                    "It is still being written, or the bridge ended before it was."
                )
                await expect(error.first).to_contain_text("It ended before it was complete.")
                await expect(chat.page.get_by_text("Stopped.")).to_have_count(0)
                await expect(chat.button("Try again")).to_have_count(2)


async def test_long_talks_and_long_answers_touch_what_is_new_alone(chat: Chat) -> None:
    """With 200 messages above it, an answer of 50,000 tokens grows: no older turn is drawn anew, a block that is complete never is,
    what is typed meanwhile arrives, and whoever has scrolled up stays there."""
    goes_on = asyncio.Event()
    paragraph = "word " * 99 + "word"

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.tokens("# Begin\n\n", *[f"{number} {paragraph}\n\n" for number in range(250)])
        await job.stay(goes_on, "decode")
        await job.tokens("```\n", *[f"{number} {paragraph}\n" for number in range(250)], "```\n\nThe end.")
        await job.end()

    chat.fleet.script = script
    api = chat.page.context.request
    talk = (await (await api.post(f"{chat.visit.url}/api/v1/conversations", data={})).json())["id"]
    for _ in range(2):
        turns = [{"role": role, "content": f"{role} says **{n}**"} for n in range(50) for role in ("user", "assistant")]
        kept = await api.post(f"{chat.visit.url}/api/v1/conversations/{talk}/turns", data={"messages": turns})
        assert 201 == kept.status, await kept.text()
    await chat.page.goto(f"{chat.visit.url}/?c={talk}")
    await expect(chat.page.locator(".turn")).to_have_count(100)
    await chat.ask("Go on")
    newest = chat.page.locator(".turn").last
    await expect(newest.locator(".words")).to_contain_text(f"249 {paragraph}")
    await chat.page.evaluate(
        """() => {
          const last = document.querySelector(".turn:last-child");
          window.touched = 0;
          window.first = last.querySelector(".words p");
          const count = (records) => { window.touched += records.length; };
          const watch = new MutationObserver(count);
          for (const turn of document.querySelectorAll(".turn:not(:last-child)"))
            watch.observe(turn, { subtree: true, childList: true, characterData: true, attributes: true });
          for (const block of [...last.querySelectorAll(".words > *")].slice(0, -1))
            watch.observe(block, { subtree: true, childList: true, characterData: true });
          scrollTo(0, 0);
        }"""
    )
    await expect(chat.page.get_by_role("button", name="Newest text")).to_be_visible()
    goes_on.set()
    await chat.box.press_sequentially("typed while it is written")
    await expect(newest.locator(".words")).to_contain_text("The end.")
    told = await chat.page.evaluate("() => [window.touched, window.first.isConnected, scrollY]")
    await chat.answered()
    words = await newest.locator(".words").evaluate("(node) => node.textContent.split(/\\s+/).length")

    await expect(chat.box).to_have_value("typed while it is written")
    await chat.page.get_by_role("button", name="Newest text").click()
    await expect(chat.page.get_by_role("button", name="Newest text")).to_have_count(0)
    assert [0, True, 0] == told
    assert words > 50_000


WIDE = (
    "# A heading\n\n| "
    + " | ".join(f"column{n}" for n in range(12))
    + " |\n|"
    + "---|" * 12
    + f"\n\n`{'x' * 300}`\n\n```python\n{'y' * 300}\n```\n{'z' * 300}"
)


async def test_every_look_of_it_fits_and_can_be_used(chat: Chat) -> None:
    """With nothing said, with wide tables, code and words, and with a refusal: in both themes and three widths nothing sticks out
    and nothing is in anybody's way; by keyboard everything is reached. Code can be copied."""
    asked = itertools.count()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        if next(asked):
            await job.fail(errors.NoDevice("no device is ready: start one"))
            return
        await job.route("orin", "llama3.2:3b", "r" * 200)
        await job.token(WIDE)
        await job.end()

    chat.fleet.script = script
    visit = chat.visit
    await expect(chat.page.locator(".hint")).to_contain_text("16 images")
    faults = await visit.inspected("chat-hello")
    await chat.ask("q" * 300)
    await chat.answered()
    await chat.button("Copy").first.click()
    await expect(chat.button("Copied")).to_be_visible()
    copied = await chat.page.evaluate("() => navigator.clipboard.readText()")
    await chat.page.locator(".route summary").click()
    await chat.ask("Once more")
    await expect(chat.button("Try again")).to_be_visible()
    faults += await visit.inspected("chat")
    walk = await visit.walked()
    grounds = {}
    for theme in reversed(THEMES):
        await visit.seen_as(theme, 1024)
        grounds[theme] = await chat.page.evaluate("() => getComputedStyle(document.body).backgroundColor")

    assert {"light": "rgb(247, 245, 240)", "dark": "rgb(18, 22, 21)"} == grounds
    assert ([], [], "y" * 300) == (faults, walk.faults, copied.strip())


async def test_without_a_ledger_the_page_alone_remembers(browser: Browser) -> None:
    """It says that nothing is kept, and sends what was said before along."""
    async with nats_server() as nats, scripted_fleet(nats.url) as fleet, bridge_process(nats.url) as bridge:
        fleet.script = answer_from_orin
        await _heard(bridge, fleet)
        async with opened(browser, bridge.url) as visit:
            chat = Chat(welcomed(visit), fleet)
            await chat.ask("Why is the sky blue?")
            await chat.answered()
            await expect(chat.page.get_by_text("Nothing is kept")).to_be_visible()
            await chat.ask("And at dusk?")
            await chat.answered()
            await chat.said()

            assert ["Why is the sky blue?", "The sky is **blue**.", "And at dusk?"] == await chat.said()


async def _heard(bridge: BridgeProcess, fleet: ScriptedFleet) -> None:
    """Have a bridge that was started late hear of the devices."""
    for device, models in DEVICES.items():
        await fleet.beat(device, models)
    await known(bridge.url, devices=len(DEVICES))

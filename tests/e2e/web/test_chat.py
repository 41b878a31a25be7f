"""The view that chats, in headless Chromium: a real bridge and ledger, and a scripted fleet on a real NATS server."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Dialog, Locator, Route, expect

from common import errors
from common.energy import Energy
from common.messages import DeviceState
from tests.browser import HANG_S
from tests.e2e.web.chats import Chat, answer_from_orin, endless
from tests.integration.bridge.files.documents import written
from tests.integration.bridge.files.pictures import drawn
from tests.scripted_fleet import ScriptedJob

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_an_answer_grows_while_it_is_written(chat: Chat) -> None:
    """The first words are on the page while the device still writes the rest; the text is no live region, and says that it is
    busy until its end, which is told once. What is asked before that has to wait, and says so for as long."""
    may_go_on = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route("orin")
        await job.token("First words")
        await job.stay(may_go_on, "decode")
        await job.token(" and the last.")
        await job.end()

    chat.fleet.script = script
    await chat.ask("Go on")
    await expect(chat.words).to_have_text("First words")
    await chat.ask("More")
    early = chat.page.get_by_role("alert")
    await expect(early).to_have_text("Wait for the answer, or stop it.")
    busy = await chat.words.get_attribute("aria-busy")
    live = await chat.words.evaluate("(node) => node.closest('[aria-live]') !== null")
    may_go_on.set()
    await expect(chat.words).to_have_text("First words and the last.")
    await expect(chat.page.locator("#announce")).to_have_text("Answer from orin: First words and the last.")
    await expect(early).to_have_count(0)
    await expect(chat.box).to_have_value("More")

    assert ("true", False, None) == (busy, live, await chat.words.get_attribute("aria-busy"))


async def test_under_an_answer_stands_where_it_ran_and_why(chat: Chat) -> None:
    """Device, model, reason, time to first token, tokens per second, and that it was simulated; unfolded each term of the score
    with its weight, the job's id, and where to look further. An answer of a device is not called cached, also where the cache was
    asked. A thumb that nobody takes says so."""

    async def script(job: ScriptedJob) -> None:
        job.cache = {"outcome": "miss", "why": "never asked before"}
        await answer_from_orin(job)

    chat.fleet.script = script
    await chat.ask("Why is the sky blue?")
    await chat.answered()
    job = str((await chat.asked())["job"])
    route = chat.page.locator(".route")
    shown = await _facts(route)
    await route.locator("summary").click()
    await expect(route.locator(".explain")).to_contain_text("0.88 \u00d7 0.40")
    await expect(route.locator(".explain")).to_contain_text(job)
    links = [await link.get_attribute("href") for link in await route.locator("a").all()]

    assert shown == {
        "device": "Device: orin",
        "model": "Model: llama3.2:3b",
        "reason": "Why: hybrid 0.81",
        "ttft": "Time to first token: 0.31 s to first token",
        "tps": "Speed: 17.4 tok/s",
        "simulated": "Origin: simulated",
    }
    assert [f"/explain?job={job}", f"/activity?job={job}"] == links
    await chat.page.route("**/api/v1/feedback", lambda one: one.fulfill(status=503, json=AWAY))
    chat.visit.welcome.append(r"/api/v1/feedback: .* 503 ")
    await chat.button("Good answer").click()
    await expect(chat.page.locator(".turn").get_by_role("alert")).to_contain_text("No ledger answers.")
    await chat.page.unroute("**/api/v1/feedback")


REFUSED = {"error": {"message": "not so", "code": "bad_request", "param": None}}
AWAY = {"error": {"message": "no ledger answers", "type": "server_error", "param": None, "code": "ledger"}}

ACCOUNT: dict[str, object] = {
    "job": "j", "device": "orin", "model": "llama3.2:3b", "reason": "hybrid 0.81", "simulated": True,
    "attempts": [{"device": "orin", "model": "llama3.2:3b", "outcome": "ok", "s": 1.25}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 20}, "cost_usd": 0.0,
    "energy": {"joules": 3.5, "measured": True, "source": "ina3221"},
    "timings": {"queue_s": 0.2, "first_token_s": 0.31, "prefill_s": 0.1, "decode_s": 0.8, "decode_tps": 25.0, "total_s": 1.25},
}  # fmt: skip


async def test_what_an_answer_took_is_told_after_a_reload(chat: Chat) -> None:
    """The line under each is whole at once, without a question about its job; where no record of that is there, it says where the
    answer is from. What could not be read says so, nothing can be asked meanwhile, and no files go along. The thumb that was given
    is shown as given. What was said elsewhere meanwhile is there when the page is seen again."""
    for question in ("Why is the sky blue?", "And at dusk?"):
        await chat.ask(question)
        await chat.answered()
    looked_up = list[str]()
    chat.page.on("request", lambda request: looked_up.append(request.url) if "/api/v1/jobs/" in request.url else None)

    async def rated(route: Route) -> None:
        kept = await (await route.fetch()).json()
        # The ledger of a scripted fleet has no records, and so nothing that could be judged.
        kept["turns"][1] |= {"rating": "up", "account": ACCOUNT}
        await route.fulfill(json=kept)

    away = ("**/export?*", "**/api/v1/limits")
    for path in away:
        await chat.page.route(path, lambda one: one.fulfill(status=503, json=AWAY))
        chat.visit.welcome.append(rf"{path.strip('*?')}.* 503 ")
    await chat.page.reload()
    await expect(chat.page.get_by_role("alert")).to_have_count(2)
    await expect(chat.page.locator("input[type=file]")).to_be_disabled()
    await chat.ask("Too early")
    await expect(chat.page.locator(".composer").get_by_role("alert")).to_have_text("Wait until all is read.")
    await expect(chat.box).to_have_value("Too early")
    await chat.box.fill("")
    await chat.page.unroute(away[0])
    await chat.page.route(away[0], rated)
    await chat.button("Try again").last.click()
    await expect(chat.questions).to_have_count(2)
    await chat.page.unroute(away[1])
    # When the stream names the devices the limits are read anyway: then there is nothing left to try.
    await chat.button("Try again").evaluate_all("(left) => left.forEach((one) => one.click())")
    await expect(chat.page.locator("input[type=file]")).to_be_enabled()
    first, last = chat.page.locator(".route").first, chat.page.locator(".route").last
    await expect(first.locator("[data-fact=energy]")).to_have_text("Energy: 3.5 J measured")
    whole, bare = await _facts(first), await _facts(last)
    thumbs = [await one.get_attribute("aria-pressed") for one in await chat.page.locator(".thumb").all()]
    await first.locator("summary").click()
    await expect(first.locator(".attempts")).to_have_text("orin (llama3.2:3b): ok after 1.25 s")
    await chat.page.unroute(away[0])
    talk = chat.page.url.partition("?c=")[2]
    turns = [{"role": "user", "content": "Elsewhere"}, {"role": "assistant", "content": "Indeed."}]
    api = f"{chat.visit.url}/api/v1/conversations/{talk}/turns"
    kept = await chat.page.context.request.post(api, data={"messages": turns})
    await chat.page.evaluate("() => document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))")
    await expect(chat.questions.last).to_have_text("Elsewhere")

    assert (201, ["true", "false", "false", "false"], []) == (kept.status, thumbs, looked_up)
    assert {"device": "Device: nano", "model": "Model: llama3.2:1b"} == bare
    assert whole == {
        "device": "Device: orin",
        "model": "Model: llama3.2:3b",
        "reason": "Why: hybrid 0.81",
        "queue": "Queue: 0.20 s queued",
        "ttft": "Time to first token: 0.31 s to first token",
        "tps": "Speed: 25.0 tok/s",
        "energy": "Energy: 3.5 J measured",
        "cost": "Cost: free",
        "simulated": "Origin: simulated",
    }


async def _facts(route: Locator) -> dict[str, str]:
    """Read the line under an answer, fact by fact, also where it is out of sight and therefore not laid out."""
    return {
        str(await fact.get_attribute("data-fact")): " ".join((await fact.text_content() or "").split())
        for fact in await route.locator("[data-fact]").all()
    }


async def test_stop_cancels_the_job(chat: Chat) -> None:
    """The fleet hears the cancel of this job, by the button and by Escape, though not by that of an input method; what was written
    stays, also after a reload, and the next question is asked behind it; where nothing was, the question is back in its box. Enter
    sends, Shift+Enter breaks the line, and the focus stays where one types."""
    chat.fleet.script = endless
    await chat.box.focus()
    await chat.page.keyboard.type("one")
    await chat.page.keyboard.press("Shift+Enter")
    await chat.page.keyboard.type("two")
    await chat.page.keyboard.press("Enter")
    await expect(chat.words).to_have_text("Once upon a time")
    await chat.box.dispatch_event("keydown", {"key": "Escape", "isComposing": True, "bubbles": True})
    await expect(chat.button("Stop")).to_be_visible()
    await chat.page.keyboard.press("Escape")
    first = await chat.asked()
    async with asyncio.timeout(HANG_S):
        cancelled = [await chat.fleet.cancels.get()]
    await expect(chat.page.locator("#announce")).to_have_text("Stopped")
    await expect(chat.box).to_be_focused()
    await chat.ask("And another")
    await expect(chat.words).to_have_text(["Once upon a time"] * 2)
    await chat.button("Stop").click()
    second = await chat.asked()
    async with asyncio.timeout(HANG_S):
        cancelled.append(await chat.fleet.cancels.get())
    await expect(chat.box).to_be_focused()

    async def silent(job: ScriptedJob) -> None:
        await job.ack()
        await job.stay(job.cancelled)

    chat.fleet.script = silent
    await chat.ask("Something")
    third = await chat.asked()
    await chat.page.keyboard.press("Escape")
    await expect(chat.page.locator("#announce")).to_have_text("Your question is back in its box")
    await expect(chat.page.locator(".composer .note").first).to_have_text("Your question is back in its box")
    await expect(chat.box).to_have_value("Something")
    async with asyncio.timeout(HANG_S):
        cancelled.append(await chat.fleet.cancels.get())
    chat.fleet.script = answer_from_orin
    await chat.ask("Something else")
    await chat.answered()
    said = await chat.said()

    await chat.page.reload()
    await expect(chat.page.get_by_text("Stopped.", exact=True)).to_have_count(2)
    await expect(chat.page.get_by_role("alert")).to_have_count(0)
    badges = [await _facts(route) for route in await chat.page.locator(".route").all()]

    assert [{"device": "Device: nano", "model": "Model: llama3.2:1b"}] * 2 == badges[:2]
    assert [first["job"], second["job"], third["job"]] == cancelled
    assert ["one\ntwo", "Once upon a time", "And another", "Once upon a time", "Something else"] == said
    await expect(chat.words).to_have_text(
        ["Once upon a time", "Once upon a time", "The sky is blue."], use_inner_text=True
    )


async def test_the_waiting_line_tells_what_happens(chat: Chat) -> None:
    """Queued with its position and the wait, then loading with the estimate, then the text; a question of a page goes before what
    nobody watches. A device that is lost is named, and the answer goes on."""
    steps = [asyncio.Event() for _ in range(3)]

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.stay(steps[0], "queue", 12.0, position=3)
        await job.route("orin", "llama3.2:3b")
        await job.stay(steps[1], "load", 7.0)
        await job.token("Here I ")
        await job.route("nano", "llama3.2:3b", "orin is lost", attempt=2)
        await job.stay(steps[2], "prefill")
        await job.token("am.")
        await job.end()

    chat.fleet.script = script
    await chat.ask("Hello?")
    line = chat.page.locator(".waiting")
    await expect(line).to_contain_text("Queued, position 3, about 12 s")
    await expect(line).to_contain_text(re.compile(r"· ([2-9]|\d\d) s"))
    steps[0].set()
    await expect(line).to_contain_text("Loading llama3.2:3b on orin, about 7 s")
    steps[1].set()
    await expect(line).to_contain_text("orin is lost. nano reads your message")
    await expect(chat.words).to_have_text("Here I")
    steps[2].set()
    await chat.answered()

    await expect(chat.words).to_have_text("Here I am.")
    await expect(line).to_have_count(0)
    assert "interactive" == (await chat.asked())["priority"]


@pytest.mark.parametrize("accepted", [True, False], ids=["after the acceptance", "at the door"])
async def test_an_error_is_shown_with_a_way_out(chat: Chat, accepted: bool) -> None:
    """The message and the wait are readable, and "Try again" asks the same question again, for an answer that was not given
    before."""

    async def failing(job: ScriptedJob) -> None:
        if accepted:
            await job.ack()
        await job.fail(errors.NoDevice("no device is ready: start one", retry_after_s=4))

    chat.fleet.script = failing
    await chat.ask("Anyone there?")
    error = chat.page.get_by_role("alert")
    await expect(error).to_contain_text("No device is ready: start one. Try again in 4 s.")
    chat.fleet.script = answer_from_orin
    await chat.button("Try again").click()
    await chat.answered()
    first, second = await chat.asked(), await chat.asked()

    await expect(error).to_have_count(0)
    assert [None, "refresh"] == [one.get("cache") for one in (first, second)]
    assert first["messages"] == second["messages"]


async def test_a_question_that_failed_does_not_haunt_the_next_one(chat: Chat) -> None:
    """After a reload it stands there, with why it has no answer, and can be asked again; what the bridge has not taken yet is in
    the box. Asking something else gives it up: neither its text nor its "Try again" stays in play, and it can be gone back to."""

    async def failing(job: ScriptedJob) -> None:
        await job.fail(errors.NoDevice("no device is ready"))

    chat.fleet.script = failing
    await chat.page.route("**/api/v1/chat", lambda _: None)  # it stays on its way
    await chat.ask("Zeroth")
    await expect(chat.page.locator(".waiting")).to_be_visible()
    await chat.page.reload()
    await expect(chat.box).to_have_value("Zeroth")
    await chat.page.unroute("**/api/v1/chat")
    await chat.ask("First")
    await expect(chat.button("Try again")).to_be_visible()
    await chat.page.reload()
    await expect(chat.questions).to_have_text(["First"])
    await expect(chat.page.get_by_role("alert")).to_contain_text("No answer")
    await expect(chat.page.get_by_role("alert")).to_contain_text("No device is ready.")
    await expect(chat.page.get_by_role("alert").locator("code")).to_have_text("no_device")
    await expect(chat.box).to_have_value("")
    await chat.button("Try again").click()
    await expect(chat.page.locator(".waiting")).to_have_count(0)
    await expect(chat.button("Try again")).to_be_visible()
    chat.fleet.script = answer_from_orin
    await chat.ask("Second")
    await chat.answered()
    await chat.said()
    await chat.said()

    await expect(chat.button("Try again")).to_have_count(0)
    await expect(chat.questions).to_have_text(["Second"], use_inner_text=True)
    assert ["Second"] == await chat.said()
    await chat.page.reload()
    await expect(chat.page.locator(".branches")).to_contain_text("2/2")
    await chat.button("The one before").click()
    await expect(chat.questions).to_have_text(["First"])
    await chat.button("Try again").click()
    await chat.answered()
    await expect(chat.questions).to_have_text(["First"])
    await chat.page.reload()
    await expect(chat.page.locator(".branches")).to_contain_text("2/2")
    await expect(chat.words).to_have_text(["The sky is blue."])


async def test_an_answer_from_the_cache_says_so(chat: Chat) -> None:
    """The line under it has the word, and how old the answer is; nobody has to know a colour. That it took
    nothing was not measured."""
    ages = {34.2: "cached 34 s ago", 600: "cached 10 min ago", 7200: "cached 2 h ago", None: "cached"}
    for age_s, says in ages.items():

        async def script(job: ScriptedJob, age_s: float | None = age_s) -> None:
            await job.ack()
            await job.hit({"outcome": "hit", "kind": "exact", "age_s": age_s})
            await job.token("As I said.")
            await job.end(energy=Energy(measured=True))

        chat.fleet.script = script
        await chat.ask("Why?")
        await chat.answered()

        await expect(chat.page.locator("[data-fact=cached]").last).to_have_text(f"Origin: {says}")
        await expect(chat.page.locator("[data-fact=energy]").last).to_have_text("Energy: 0 J")


async def test_a_new_chat_forgets_what_was_said_and_lets_what_is_being_written_go_on(chat: Chat) -> None:
    """The second question carries the first one and its answer; a new chat neither, and its address names no conversation. The
    answer that was being written is complete where it was asked."""
    may_go_on = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.token("Once upon")
        await job.stay(may_go_on, "decode")
        await job.token(" a time.")
        await job.end()

    chat.fleet.script = answer_from_orin
    await chat.ask("Why is the sky blue?")
    await chat.answered()
    await chat.ask("And at dusk?")
    await chat.answered()
    chat.fleet.script = script
    await chat.ask("Tell me a story")
    await expect(chat.words.last).to_have_text("Once upon")
    old = chat.page.url
    await chat.begin_anew()
    await expect(chat.page).not_to_have_url(re.compile("c="))
    chat.fleet.script = answer_from_orin
    await chat.ask("Hi")
    await chat.answered()
    said = [await chat.said() for _ in range(4)]
    may_go_on.set()
    await expect(chat.page.locator("#announce")).to_have_text("Answer from nano: Once upon a time.")
    await chat.page.goto(old)
    await expect(chat.words.last).to_have_text("Once upon a time.")

    assert chat.fleet.cancels.empty()
    assert [["Why is the sky blue?"], ["Why is the sky blue?", "The sky is **blue**.", "And at dusk?"]] == said[:2]
    assert ["Hi"] == said[3]


async def test_a_model_or_a_device_can_be_chosen(chat: Chat) -> None:
    """The picker lists what the heartbeats say can chat, also what comes later or is back, and the job asks for what was picked."""
    picker = chat.page.get_by_label("Model")
    await expect(picker.locator("option")).to_have_count(8)
    values = [await option.get_attribute("value") for option in await picker.locator("option").all()]
    await picker.select_option("auto@orin")
    await chat.ask("Hi")
    await chat.answered()
    request = await chat.asked()
    await picker.select_option("auto")
    await chat.fleet.beat("nano", ("llama3.2:1b", "brand-new:1b"))
    await expect(picker.locator("option[value='brand-new:1b']")).to_have_count(1)
    for state, there in ((DeviceState.STOPPED, 0), (DeviceState.READY, 1)):
        await chat.fleet.beat("nano", ("llama3.2:1b", "brand-new:1b"), state=state)
        await expect(picker.locator("option[value='brand-new:1b']")).to_have_count(there)

    assert (values, request["model"], request["device"]) == (
        ["auto", "auto:fast", "auto:eco", "auto:local", "llama3.2:1b", "llama3.2:3b", "auto@nano", "auto@orin"],
        "auto",
        "orin",
    )


async def test_a_question_can_be_edited_and_asked_elsewhere(chat: Chat) -> None:
    """Each way that it was asked stands beside the others, also after a reload: what follows is that branch's own, and so is what
    was unfolded. Who finds words of another branch is led to that."""
    await chat.ask("Why is the sky blue?")
    await chat.answered()
    await chat.ask("And at dusk?")
    await chat.answered()
    await chat.button("Edit").first.click()
    await expect(chat.page.get_by_label("Your question")).to_be_focused()
    await chat.page.keyboard.press("Escape")
    await expect(chat.button("Edit").first).to_be_focused()
    await chat.button("Edit").first.click()
    await chat.page.get_by_label("Your question").fill("Why is grass green?")
    await chat.page.keyboard.press("Enter")
    await expect(chat.questions).to_have_text(["Why is grass green?"])
    await chat.answered()
    await chat.button("Ask elsewhere").click()
    barriers = await chat.visit.barriers()
    await chat.button("Ask orin").click()
    await expect(chat.box).to_be_focused()
    await expect(chat.page.locator(".branches")).to_contain_text("3/3")
    await chat.answered()
    said = [await chat.asked() for _ in range(4)]
    await chat.page.reload()
    await expect(chat.page.locator(".branches")).to_contain_text("3/3")
    await chat.page.locator(".route summary").click()
    await expect(chat.page.locator(".route[open]")).to_have_count(1)
    await chat.button("The one before").click()
    await expect(chat.page.locator(".branches")).to_contain_text("2/3")
    await expect(chat.page.locator(".route[open]")).to_have_count(0)
    await chat.button("The one before").click()
    await expect(chat.questions).to_have_text(["Why is the sky blue?", "And at dusk?"])
    await chat.ask("And at dawn?")
    await chat.answered()
    shown = await chat.said()
    await chat.page.get_by_role("link", name="Conversations", exact=True).click()
    await chat.page.get_by_label("Search").fill("grass")
    await chat.page.locator(".talks li", has_text="grass").first.get_by_role("link").first.click()
    await expect(chat.questions).to_have_text(["Why is grass green?"])

    assert [] == barriers
    assert [1, 3, 1, 1] == [len(one["messages"]) for one in said]
    assert (None, "orin") == (said[2].get("device"), said[3]["device"])
    assert ["Why is the sky blue?", "Hello there!", "And at dusk?", "Hello there!", "And at dawn?"] == shown


async def test_an_answer_goes_on_while_another_view_is_open(chat: Chat) -> None:
    """Coming back shows it, with what was typed meanwhile, which is sent when it is over, not before. Before a reload ends it the
    browser asks; then it broke off, and can be asked for again."""
    may_go_on = asyncio.Event()
    warned: list[str] = []

    async def leave(dialog: Dialog) -> None:
        warned.append(dialog.type)
        await dialog.accept()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.token("Once upon")
        await job.stay(may_go_on, "decode")
        await job.token(" a time.")
        await job.end()

    chat.fleet.script = script
    await chat.ask("Tell me a story")
    await expect(chat.words).to_have_text("Once upon")
    await chat.ask("and then")
    await expect(chat.page.get_by_role("alert")).to_have_text("Wait for the answer, or stop it.")
    await expect(chat.box).to_have_value("and then")
    await chat.page.get_by_role("link", name="Conversations", exact=True).click()
    await expect(chat.page.get_by_role("heading", name="Conversations", level=1)).to_be_visible()
    may_go_on.set()
    await chat.page.get_by_role("link", name="Chat", exact=True).click()
    await expect(chat.words).to_have_text("Once upon a time.")
    await expect(chat.box).to_have_value("and then")
    await expect(chat.page.get_by_role("alert")).to_have_count(0)
    await chat.answered()
    chat.fleet.script = endless
    await chat.box.press("Enter")
    await expect(chat.words.last).to_have_text("Once upon a time")
    await chat.box.fill("and")
    chat.page.on("dialog", leave)
    await chat.page.reload()
    await expect(chat.page.get_by_role("alert")).to_contain_text("The answer broke off")
    await expect(chat.box).to_have_value("and")
    await expect(chat.words).to_have_text(["Once upon a time.", "Once upon a time"])
    chat.fleet.script = answer_from_orin
    await chat.button("Try again").click()
    await chat.answered()
    await chat.page.reload()
    await expect(chat.words).to_have_text(["Once upon a time.", "The sky is blue."])
    chat.page.remove_listener("dialog", leave)

    assert ["beforeunload"] == warned


TWICE = """(picker) => {
  for (const name of ["one.pdf", "two.pdf"]) {
    const chosen = new DataTransfer();
    chosen.items.add(new File(["%PDF-"], name, { type: "application/pdf" }));
    picker.files = chosen.files;
    picker.dispatchEvent(new Event("change"));
  }
}"""
BIG = """(picker) => {
  const chosen = new DataTransfer();
  chosen.items.add(new File([new Uint8Array(16 << 20)], "big.png", { type: "image/png" }));
  picker.files = chosen.files;
  picker.dispatchEvent(new Event("change"));
}"""


async def test_files_are_refused_before_they_are_sent(chat: Chat) -> None:
    """What may come along is said beforehand; what may not is refused by name. What is chosen while a file is read loses none.
    Images have a preview, and can be taken out. A question looks the same after a reload, and asked in other words it still has its
    files."""
    picker = chat.page.locator("input[type=file]")
    await expect(chat.page.locator(".hint")).to_contain_text("JPEG, PNG, WEBP, GIF, PDF: 16 images and 4 PDFs")
    await expect(chat.page.locator(".hint")).to_contain_text(
        "an image up to 24 megapixels, of a PDF the first 50 pages"
    )
    await picker.set_input_files([{"name": "notes.docx", "mimeType": "application/msword", "buffer": b"x"}])
    await expect(chat.page.get_by_role("alert")).to_contain_text("notes.docx is none of these. JPEG")
    await picker.set_input_files([{"name": "blank.pdf", "mimeType": "application/pdf", "buffer": b""}])
    await expect(chat.page.get_by_role("alert")).to_have_text("blank.pdf is empty.")
    await picker.evaluate(BIG)
    await expect(chat.page.get_by_role("alert")).to_contain_text("big.png is too large")
    vast = drawn("PNG", (6000, 4001), "1")
    await picker.set_input_files([{"name": "vast.png", "mimeType": "image/png", "buffer": vast}])
    await expect(chat.page.get_by_role("alert")).to_contain_text("vast.png has too many pixels")
    await expect(chat.page.locator(".files")).to_have_count(0)
    await picker.evaluate(TWICE)
    for name in ("one.pdf", "two.pdf"):
        await chat.button(f"Remove {name}").click()
    many = [{"name": f"{n}.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-"} for n in range(5)]
    await picker.set_input_files(many)
    await expect(chat.page.get_by_role("alert")).to_contain_text("4.pdf is one too many")
    for number in range(4):
        await chat.button(f"Remove {number}.pdf").click()
    await picker.set_input_files(
        [
            {"name": "red.png", "mimeType": "image/png", "buffer": drawn("PNG")},
            {"name": "gone.png", "mimeType": "image/png", "buffer": drawn("PNG")},
            {"name": "bees.pdf", "mimeType": "application/pdf", "buffer": written("Bees sleep in winter.")},
        ]
    )
    await expect(chat.page.locator(".files img")).to_have_count(2)
    await chat.button("Remove gone.png").click()
    await expect(chat.box).to_be_focused()
    broken = {"name": "torn.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-"}
    await picker.set_input_files([broken])
    await expect(chat.page.locator(".files li")).to_have_count(3)
    await chat.ask("What is this?")
    await expect(chat.page.get_by_role("alert")).to_contain_text("it can't be read")
    await expect(chat.box).to_have_value("What is this?")
    await chat.button("Remove torn.pdf").click()
    await chat.ask("What is this?")
    await chat.answered()
    [sent] = (await chat.asked())["messages"]
    await expect(chat.questions.locator(".file")).to_have_text("bees.pdf PDF, 1 page")
    before = await chat.questions.inner_text()
    await chat.page.reload()
    await expect(chat.questions.locator("img")).to_have_count(1)
    # What has just come has no text for the eye until it is laid out.
    await expect(chat.questions).to_have_text(before, use_inner_text=True)
    after = await chat.questions.inner_text()
    await chat.button("Edit").click()
    await chat.page.get_by_label("Your question").fill("And this?")
    await chat.page.keyboard.press("Enter")
    await chat.answered()
    [other] = (await chat.asked())["messages"]
    await expect(chat.questions.locator(".file")).to_have_text("bees.pdf PDF, 1 page")

    assert before == after
    assert [1, 1] == [len(one["images"]) for one in (sent, other)]
    assert "The file 'bees.pdf' has 1 page(s):\n\nBees sleep in winter.\n\nWhat is this?" == sent["content"]
    assert "The file 'bees.pdf' has 1 page(s):\n\nBees sleep in winter.\n\nAnd this?" == other["content"]


async def test_answers_may_wait_until_they_are_complete(chat: Chat) -> None:
    """For those who are read to: until then the page says what is done, and no half of a sentence."""
    may_go_on = asyncio.Event()

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.route()
        await job.token("Half")
        await job.stay(may_go_on, "decode")
        await job.token(" and half")
        await job.end()

    chat.fleet.script = script
    await chat.page.get_by_label("Show answers when complete").check()
    await chat.ask("Why?")
    await expect(chat.page.locator(".waiting")).to_contain_text("nano writes")
    await expect(chat.words).to_be_hidden()
    may_go_on.set()
    await chat.answered()

    await expect(chat.words).to_have_text("Half and half")
    await chat.page.get_by_label("Show answers when complete").uncheck()


async def test_back_leads_to_the_conversation_before(chat: Chat) -> None:
    """From a new chat to what was open before that, and forward to the new one, also where it was left before the bridge had taken
    its question: that is there then, with its answer, and was asked once. A new chat with nothing in it is no step of its own."""
    taken = asyncio.Event()

    async def held(route: Route) -> None:
        await taken.wait()
        await route.continue_()

    chat.fleet.script = answer_from_orin
    await chat.ask("Why is the sky blue?")
    await chat.answered()
    first = chat.page.url
    await chat.begin_anew()
    await chat.button("New chat").click()
    await chat.page.go_back()
    await expect(chat.questions).to_have_text(["Why is the sky blue?"])
    await expect(chat.page).to_have_url(first)
    await chat.page.go_forward()
    await expect(chat.page.locator(".hello")).to_be_visible()
    await expect(chat.questions).to_have_count(0)
    await expect(chat.page).to_have_url(f"{chat.visit.url}/")
    await chat.page.route("**/api/v1/chat", held)
    await chat.ask("And at dusk?")
    await expect(chat.page.locator(".waiting")).to_be_visible()
    await chat.page.go_back()
    await expect(chat.questions).to_have_text(["Why is the sky blue?"])
    await expect(chat.page).to_have_url(first)
    await chat.page.evaluate("() => { document.querySelector('#announce').textContent = '' }")
    taken.set()
    await expect(chat.page.locator("#announce")).to_have_text(re.compile("Answer from orin"))
    await chat.page.unroute("**/api/v1/chat")
    await expect(chat.page).to_have_url(first)
    await chat.page.go_forward()
    await expect(chat.questions).to_have_text(["And at dusk?"])
    await expect(chat.words).to_have_text(["The sky is blue."])
    await expect(chat.page).to_have_url(re.compile("c="))

    assert first != chat.page.url
    assert [["Why is the sky blue?"], ["And at dusk?"]] == [await chat.said(), await chat.said()]
    assert chat.fleet.jobs.empty()


async def test_a_question_is_found_after_a_reload_right_behind_it(chat: Chat) -> None:
    """In a new chat, where the reload has begun before the address has its conversation: it is on the page, in that. Where the
    bridge has said nothing it is back in its box, which says why, before what was typed behind it and whatever else was answered
    meanwhile; and gone once its user has taken it out. It is never asked again by itself."""

    held: list[Route] = []

    async def leave(dialog: Dialog) -> None:
        await dialog.accept()

    async def hold(route: Route) -> None:
        held.append(route)

    chat.page.on("dialog", leave)
    chat.fleet.script = endless
    await chat.ask("Am I found?")
    await expect(chat.words).to_have_text("Once upon a time")
    await expect(chat.page).to_have_url(re.compile("c="))
    # What is read anew is the address as it was when the reload began, and none of its state.
    await chat.page.evaluate("() => history.replaceState(null, '', '/')")
    await chat.page.reload()
    await expect(chat.page.get_by_role("alert")).to_contain_text("The answer broke off")
    await expect(chat.questions).to_have_text(["Am I found?"])
    await expect(chat.box).to_have_value("")
    await chat.begin_anew()
    await chat.page.route("**/api/v1/chat", hold)
    chat.fleet.script = answer_from_orin
    await chat.ask("And she?")
    await expect(chat.page.locator(".waiting")).to_be_visible()
    await chat.begin_anew()
    await chat.ask("And I?")
    await expect(chat.page.locator(".waiting")).to_be_visible()
    await chat.box.fill("And more")
    await held[0].continue_()
    await expect(chat.page.locator("#announce")).to_have_text(re.compile("Answer from orin"))
    await chat.page.reload()
    await expect(chat.page.locator(".composer .note").first).to_have_text(
        "Your question is back in its box: the page was read anew before it was taken"
    )
    await expect(chat.box).to_have_value("And I?\n\nAnd more")
    await chat.page.unroute("**/api/v1/chat")
    await chat.page.route("**/api/v1/chat", lambda route: route.fulfill(status=422, json=REFUSED), times=1)
    await chat.box.press("Enter")
    await expect(chat.page.get_by_role("alert")).to_contain_text("Not so.")
    await expect(chat.box).to_have_value("And I?\n\nAnd more")
    await chat.box.fill("")
    await chat.page.reload()
    await expect(chat.page.locator(".hello")).to_be_visible()
    await expect(chat.box).to_have_value("")
    chat.page.remove_listener("dialog", leave)

    assert [["Am I found?"], ["And she?"]] == [await chat.said(), await chat.said()]
    assert chat.fleet.jobs.empty()

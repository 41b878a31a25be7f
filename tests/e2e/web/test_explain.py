"""The view of routing: where a question would go, by which weights, and why a job went where it went."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.browser import opened
from tests.e2e.web.houses import House

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SCORES = """() => [...document.querySelectorAll(".options li")].map((one) => ({
  score: Number(one.querySelector("dd").textContent),
  parts: [...one.querySelectorAll("div:has(> dt .part:is(.tokens, .topic, .health)) dd")].map((part) => Number(part.textContent)),
  bar: [...one.querySelectorAll(".score-bar i")].map((part) => parseFloat(part.style.width)),
  marks: [...one.querySelectorAll(".mark")].map((mark) => mark.textContent),
}))"""


BEST = {"device": "nano", "model": "qwen2.5:0.5b", "score": 0.5, "terms": {}, "parts": {}, "predicted": {}}
NOBODYS = {"job": "waited", "strategy": "perf", "weights": {}, "features": {}, "chosen": None, "options": [BEST]}
"""A job that was cancelled while it waited."""


async def _weighed(page: Page, key: str) -> dict[str, Any]:
    """Press a key on the first slider, and give the weights that the bridge is asked with."""
    async with page.expect_request(lambda one: "weights" in (one.post_data or "")) as asked:
        await page.get_by_role("slider", name="w1·C (fit)").press(key)
    return dict((await asked.value).post_data_json["weights"])


async def _typed(page: Page, field: Locator, *pieces: str) -> None:
    """Type in place of what is there; each piece is answered before the next, and nothing of it is lost."""
    await field.press("ControlOrMeta+a")
    for piece in pieces:
        async with page.expect_response("**/api/v1/route/explain"):
            await page.keyboard.type(piece)
    await expect(
        page.get_by_role("heading", name="chosen").or_(page.get_by_role("heading", name="cache"))
    ).to_be_visible()
    await expect(field).to_have_value("".join(pieces))


async def test_a_dry_run_shows_what_scores_are_made_of(browser: Browser, house: House) -> None:
    """The options come by their score, each with three parts that are told in text, in its bar and in the table, and add up; the
    formula has the weights, and who is out has a reason. The page holds in every look, and by keyboard."""
    async with opened(browser, house.url, "/explain") as visit:
        page = visit.page
        await expect(page.locator(".options li").first.locator(".mark").first).to_have_text("chosen")
        told = await page.evaluate(SCORES)
        await expect(
            page.get_by_text("S = w1·C + w2·Sim + w3·H = 0.40·C (fit) + 0.20·Sim (topic) + 0.40·H (health)")
        ).to_be_visible()
        await expect(page.get_by_text("Nothing is run")).to_be_visible()
        out = page.get_by_role("region", name="Devices that are out")
        await expect(out.get_by_role("row").filter(has_text="it does not chat").first).to_contain_text("capability")
        await page.get_by_text("Options as a table").click()
        rows = page.get_by_role("region", name="Options").get_by_role("row")
        await expect(rows).to_have_count(len(told) + 1)
        faults, walk = await visit.inspected("explain"), await visit.walked()

    assert (faults, walk.faults) == ([], [])
    assert [one["score"] for one in told] == sorted((one["score"] for one in told), reverse=True)
    assert {"simulated" in one["marks"] for one in told} == {True}
    for one in told:
        assert sum(one["parts"]) == pytest.approx(one["score"], abs=2e-3)
        assert one["bar"] == pytest.approx([100 * part for part in one["parts"]], abs=0.1)


async def test_weights_are_tried_out_and_a_past_job_is_told(browser: Browser, house: House) -> None:
    """A slider asks the bridge with three weights that are 1 together, options say where they stood before, and `Reset` goes back.
    What is typed, a question or a weight, stays while answers come in. They stand in the address, the question does not, and a
    reload leaves both. Where the cache would answer the headline says so. A job is chosen from the newest, stands in the
    address with its reason, one that no device had says so, and one that nobody knows is refused in words."""
    async with opened(browser, house.url, "/explain?strategy=hybrid") as visit:
        page = visit.page
        await expect(page.get_by_role("status")).to_contain_text("would be chosen")
        all_of_it = await _weighed(page, "End")
        none_of_it = await _weighed(page, "Home")
        await expect(page.get_by_role("spinbutton", name="w2·Sim (topic)")).to_have_value("0.50")
        await page.get_by_role("slider", name="w2·Sim (topic)").press("End")
        await expect(page.get_by_text("0.00·C (fit) + 1.00·Sim (topic) + 0.00·H (health)")).to_be_visible()
        await expect(page.locator(".options .mark", has_text="↑ was ").first).to_be_visible()
        by_topic = await page.evaluate(SCORES)
        tried = page.url
        await page.get_by_role("button", name="Reset").click()
        await _typed(page, page.get_by_role("spinbutton", name="w2·Sim (topic)"), "0.3", "5")
        await page.get_by_label("Question").focus()
        await expect(page.get_by_role("spinbutton", name="w2·Sim (topic)")).to_have_value("0.35")
        await expect(page).to_have_url(re.compile(r"tokens=0\.\d{1,3}&topic=0\.35&health=0\.\d{1,3}$"))
        await _typed(page, page.get_by_label("Question"), "Is ", "this ", "private?")
        await page.get_by_role("spinbutton", name="w2·Sim (topic)").fill("2")
        await expect(page).to_have_url(re.compile("tokens=0&topic=1"))
        await page.reload()
        await expect(page.get_by_role("spinbutton", name="w2·Sim (topic)")).to_have_value("1.00")
        await expect(page.get_by_label("Question")).to_have_value("Is this private?")
        reloaded = page.url
        await page.get_by_role("button", name="Reset").click()
        await expect(page.get_by_role("spinbutton", name="w1·C (fit)")).to_have_value("0.40")
        await expect(page).to_have_url(f"{house.url}/explain?strategy=hybrid")

        await house.ask("Who keeps this?", max_tokens=None)
        again = await house.ask("Who keeps this?", max_tokens=None)
        await _typed(page, page.get_by_label("Question"), "Who keeps this?")
        await expect(page.locator("h2").first).to_contain_text("The cache would answer; without it ")

        job = page.get_by_label("Past job")
        await job.fill(again["x_drover"]["job"])
        await job.press("Enter")
        await expect(page.locator("h2").first).to_have_text("The cache answered")
        await job.fill(str(await page.locator("datalist option").first.get_attribute("value")))
        await job.press("Enter")
        await expect(page.get_by_role("heading", name="was chosen")).to_be_visible()
        await expect(page.locator(".options li .mark", has_text="chosen")).to_have_count(1)
        await expect(page.locator("dt", has_text="Why").first).to_be_visible()
        address = page.url
        await page.route("**/api/v1/route/waited", lambda route: route.fulfill(json=NOBODYS))
        await job.fill("waited")
        await job.press("Enter")
        await expect(page.get_by_role("heading", level=2).first).to_have_text(
            "No device had it; the best was nano with qwen2.5:0.5b"
        )
        visit.welcome.append(r"/route/nobody\b.* 404 ")
        await job.fill("nobody")
        await job.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("No dispatcher knows the job nobody")
        refused = await visit.barriers()

    assert all_of_it == {"tokens": 1, "topic": 0, "health": 0}
    assert none_of_it == {"tokens": 0, "topic": 0.5, "health": 0.5}
    assert [one["score"] for one in by_topic] == pytest.approx([one["parts"][1] for one in by_topic], abs=2e-3)
    assert tried == reloaded == f"{house.url}/explain?strategy=hybrid&tokens=0&topic=1&health=0"
    assert "job=" in address
    assert refused == []

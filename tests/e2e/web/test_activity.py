"""The view of what the fleet is asked: a live table, what may be done with a job, and one job's whole way."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.async_api import Browser, Route, expect

from common.keys import Scope
from tests.browser import STILL, barriers, opened
from tests.e2e.web.houses import GUARD_S, House

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


SOME = {
    "jobs": [{"job": "new", "state": "done", "received_unix_s": 1e9, "model": "m", "usage": {}}],
    "more": True,
    "next": "1",
}
"""There are more."""

WAITING = 'event: queue\ndata: {"waiting":0,"durable":{"waiting":3,"oldest_unix_s":1e9}}\n\n'
"""The stream tells of jobs that no dispatcher has taken."""

NOBODY = {"error": {"message": "no dispatcher is there to cancel it", "code": "no_dispatcher"}}

ROW = "document.activeElement.closest('tr')?.rowIndex"


async def test_jobs_are_found_read_and_copied(browser: Browser, house: House) -> None:
    """A text is looked for by its words, in any order. Filters and order stand in the address; a job opens with its clocks,
    attempts, route and record, as a page that Back leaves, and gives the focus back; columns stay hidden after a reload. It
    fits every window, and all of it is reached by keyboard."""
    job = (await house.ask("Which sheep is black?", model="auto@orin"))["x_drover"]["job"]
    await kept(house, job)
    async with opened(browser, house.url, f"/activity?device=orin&q={job}") as visit:
        page = visit.page
        row = page.locator("main tbody tr")
        await expect(row).to_have_count(1)
        await page.get_by_label("Text").fill(f" Tiny {job} orin")
        await expect(row).to_have_count(1)
        await page.get_by_label("Text").fill(f"{job} no such word")
        await expect(row).to_have_count(0)
        await page.get_by_label("Text").fill(job)
        await expect(row).to_have_count(1)
        told = " ".join((await row.inner_text()).split())
        await row.get_by_role("link").press("Enter")
        sheet = page.get_by_role("dialog")
        await expect(sheet.locator(".clocks li").last).to_contain_text("Total")
        trace = await sheet.inner_text()
        address, why = page.url, await sheet.get_by_role("link").get_attribute("href")
        await sheet.get_by_text("As text").click()
        await sheet.get_by_role("button", name="Copy").click()
        await expect(page.locator("#announce")).to_contain_text("cop", ignore_case=True)
        record = await sheet.locator("pre").inner_text()
        faults = await barriers(page)
        await page.keyboard.press("Escape")
        back = await page.evaluate("document.activeElement.getAttribute('href')")
        # Escape hides it at once; the address goes back a moment later, and only then is there a way forward.
        await expect(page).to_have_url(re.compile(rf"/activity\?device=orin&q={job}$"))
        await expect(sheet).to_have_count(0)
        await page.go_forward()
        await expect(sheet).to_be_visible()
        await page.go_back()
        await expect(sheet).to_have_count(0)
        await page.get_by_label("Text").fill("")
        await page.get_by_label("State").select_option("done")
        await page.get_by_role("button", name="Total").click()
        await page.get_by_text("Columns").click()
        await page.get_by_label("Why").uncheck()
        faults += await visit.inspected("activity")
        walk = await visit.walked()
        await page.reload()
        await expect(row.first).to_be_visible()
        heads = await page.locator("thead th").all_inner_texts()
        devices = set(await row.locator("td:nth-child(4)").all_inner_texts())

    for fact in (r"done tinyllama\S+ orin pinned", r"\b12\b", r" J (measured|estimated) simulated"):
        assert re.search(fact, told)
    for fact in ("Clocks", "Prefill", "First token", "Decode", "Attempts", "simulated"):
        assert fact in trace
    assert f'"job": "{job}"' in record
    assert address.endswith(f"job={job}")
    assert (why, back) == (f"/explain?job={job}", f"?device=orin&q={job}&job={job}")
    assert page.url.endswith("/activity?device=orin&state=done&sort=-total_s")
    assert heads[:5] == ["Time", "State", "Model", "Device", "Queue"]
    assert devices == {"orin"}
    assert (faults, walk.faults) == ([], [])


async def test_what_waits_is_seen_and_can_be_cancelled(browser: Browser, house: House) -> None:
    """One job runs on a device that does not get on with it, another one waits for its slot: both are there at once, with what
    they do and the time that passes. Both can be cancelled; the outcome is announced, and the focus stays in the row. What is new
    meanwhile moves nothing while one reads."""
    async with opened(browser, house.url, "/activity?device=pi5", width=1280) as visit, asyncio.TaskGroup() as tasks:
        visit.welcome.append("503")
        page = visit.page
        rows = page.locator("main tbody tr")
        await expect(rows.first).to_be_visible()
        before = await rows.count()
        seen = asyncio.Event()
        cancels: list[str] = []

        async def answer(route: Route) -> None:
            cancels.append(route.request.url)
            if len(cancels) == 1:
                await seen.wait()
            if len(cancels) == 2:
                await route.fulfill(status=503, json=NOBODY)
            else:
                await route.continue_()

        # Long before the key: one that is pressed at once overtakes it in a page that is busy.
        await page.route("**/api/v1/jobs/*", answer)
        async with house.hung("pi5"):
            runs = tasks.create_task(asked(house, "Is anybody there?"))
            await expect(rows.first).to_contain_text("running")
            waits = tasks.create_task(asked(house, "And who else?"))
            await expect(rows.first).to_contain_text("queued, number 1")
            told = await rows.nth(1).inner_text()
            await rows.first.get_by_role("button").focus()
            beyond = await page.locator(".table").evaluate("(frame) => frame.scrollWidth - frame.clientWidth")
            heads = await page.locator("thead th").all_inner_texts()
            await visit.snap("activity-waits")
            async with page.expect_request(lambda one: one.method == "DELETE"):
                await page.keyboard.press("Enter")
            await rows.nth(1).get_by_role("button").press("Enter")
            await expect(rows.nth(1).get_by_role("alert")).to_contain_text("No dispatcher is there")
            await rows.nth(1).get_by_role("button").press("Enter")
            await expect(page.locator("#announce")).to_contain_text("is cancelled")
            await expect(rows.nth(1)).to_contain_text("cancelled")
            await expect(rows.nth(1).get_by_text("\N{EN DASH}").first).to_be_visible()
            focus = [await page.evaluate(ROW)]
            seen.set()
            await expect(rows.first).to_contain_text("cancelled")
            focus.append(await page.evaluate(ROW))
            codes = [await waits, await runs]
        await house.ask("And which one is white?", model="auto@pi5")
        await expect(page.get_by_role("button", name="1 new")).to_be_visible()
        held = await rows.count()
        await page.get_by_role("button", name="1 new").click()
        await expect(rows).to_have_count(before + 3)

    assert re.search(r"running, (load|prefill)", told)
    assert re.search(r"\d m?s\b", told)
    assert codes == ["cancelled", "cancelled"]
    assert (focus, held) == ([2, 2], before + 2)
    assert heads == ["Time", "State", "Model", "Device", "Why", "Queue", "First token", "Total", "Tokens out", "Energy"]
    assert beyond == 0


async def test_a_key_sees_its_own_jobs(browser: Browser, house: House) -> None:
    """Others' jobs are not there; of durable ones that no dispatcher has taken it is told how many wait. A text that no job has may
    be in one that was not read, and it says so; where the ledger's answer is late the view says what it waits for, and when it
    is refused, why."""
    async with opened(browser, await house.keyed(), "/activity", key=await house.key(Scope.CHAT)) as visit:
        visit.welcome.append("503")
        page = visit.page
        await expect(page.locator(".empty")).to_contain_text("No job fits")
        await page.route("**/api/v1/jobs?*", lambda route: route.fulfill(json=SOME), times=1)
        await page.add_init_script("delete globalThis.SharedWorker")
        told = {"body": WAITING, "content_type": "text/event-stream"}
        await page.route("**/ui/events", lambda route: route.fulfill(**told))
        await page.reload()
        await expect(
            page.get_by_text("3 durable jobs wait in the work queue, the oldest since 2001-09-0")
        ).to_be_visible()
        # Not before: a second after that stream has broken off the bridge tells that none waits.
        await page.unroute("**/ui/events")
        await page.get_by_label("Text").fill("old")
        await expect(page.locator(".empty")).to_contain_text("No job of the newest 1 fits")
        await expect(page.get_by_role("button", name="Older jobs")).to_be_visible()
        refusal = {
            "error": {"message": "no ledger answers: start one with `drover ledger`", "code": "ledger_unavailable"}
        }
        seen = asyncio.Event()

        async def late(route: Route) -> None:
            await seen.wait()
            await route.fulfill(status=503, json=refusal)

        await page.route("**/api/v1/jobs?*", late)
        await page.get_by_label("In the last").select_option("hour")
        await expect(page.get_by_text("The ledger or a dispatcher takes long")).to_be_visible()
        seen.set()
        await expect(page.get_by_role("alert")).to_contain_text("No ledger answers: start one with `drover ledger`.")
        await expect(page.locator("#lost")).to_be_hidden()
        faults = await barriers(page)

    assert faults == []


async def test_older_jobs_come_below(browser: Browser, house: House) -> None:
    """At once, though what is being read stays where it is; they are there for whoever comes back, and none is said to be new."""

    async def told(route: Route) -> None:
        limit = min(120, int(parse_qs(urlsplit(route.request.url).query)["limit"][0]))
        jobs = [SOME["jobs"][0] | {"job": f"j{number}", "received_unix_s": 1e9 - number} for number in range(limit)]
        await route.fulfill(json={"jobs": jobs, "more": limit < 120, "next": None})

    async with opened(browser, house.url, STILL) as visit:
        page = visit.page
        await page.route("**/api/v1/jobs?*", told)
        await page.goto(f"{house.url}/activity?model=m")
        rows, new = page.locator(".jobs tbody tr"), page.get_by_role("button", name=re.compile(r"\d+ new"))
        await expect(rows).to_have_count(50)
        await page.get_by_role("button", name="Older jobs").click()
        await expect(rows).to_have_count(120)
        await expect(page.get_by_role("button", name="Older jobs")).to_have_count(0)
        await expect(new).to_have_count(0)
        await page.get_by_role("link", name="Fleet").click()
        await expect(page.get_by_role("heading", name="Fleet", level=1)).to_be_visible()
        await page.go_back()
        await expect(rows).to_have_count(120)
        await expect(new).to_have_count(0)


async def asked(house: House, prompt: str) -> str:
    """Ask what is not answered; give the code of the refusal."""
    body: dict[str, Any] = {"model": "auto@pi5", "messages": [{"role": "user", "content": prompt}]}
    async with httpx.AsyncClient(base_url=house.url, timeout=GUARD_S, trust_env=False) as http:
        return str((await http.post("/v1/chat/completions", json=body)).json()["error"]["code"])


async def kept(house: House, job: str) -> None:
    """Return when the ledger has a job."""
    async with (
        asyncio.timeout(GUARD_S),
        httpx.AsyncClient(base_url=house.url, timeout=GUARD_S, trust_env=False) as http,
    ):
        while (await http.get(f"/api/v1/jobs/{job}")).status_code != 200:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.05)

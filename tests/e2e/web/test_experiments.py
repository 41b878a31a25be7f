"""The view of experiments: what the lab has left, side by side, and what people say of answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from dispatcher.experiments.manifest import ENDING, Arm, Figure, Kind, Line, Metric, Plot
from tests.browser import barriers, opened
from tests.e2e.web.houses import House
from tests.experiments import WHOLE, left

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

RICH = replace(
    WHOLE,
    caveats=("The devices are simulated.", "Joules are <b>estimated</b>."),
    metrics=(
        Metric(name="success", what="questions that got an answer", better="high"),
        Metric(name="seconds", what="median time", unit="s", better="low"),
        Metric(name="unknown", what="what nobody has measured"),
    ),
    arms=(
        Arm(
            name="hybrid",
            n=4,
            figures={"success": Figure(value=1.0), "seconds": Figure(value=1.0, low=0.5, high=2.0, spread=0.25)},
        ),
        Arm(name="token:500", n=4, figures={"seconds": Figure(value=4.0, low=3.0, high=4.0, spread=1234.5)}),
    ),
    plots=(
        Plot(
            title="Latency",
            x="seconds",
            y="answered, %",
            shape="step",
            log_x=True,
            lines=(
                Line(name="hybrid", points=((0.5, 50.0), (2.0, 100.0))),
                Line(name="token:500", points=((3.0, 50.0), (8.0, 100.0))),
            ),
        ),
        Plot(title="Both", x="s", y="J", shape="points", lines=(Line(name="hybrid", points=((1.0, 3.0), (2.0, 0.0))),)),
        Plot(
            title="Who answered",
            x="strategy",
            y="answers, %",
            shape="shares",
            bars=("hybrid", "token:500"),
            lines=(Line(name="nano", points=((0.0, 25.0), (1.0, 75.0))),),
        ),
    ),
)


VOTES = {
    "by": "device",
    "votes": 3,
    "thumbs": 0,
    "contenders": [
        {"key": "nano", "win_share": 0.0, "win_share_low": 0.0, "win_share_high": 0.56},
        {"key": "orin", "win_share": 1.0, "win_share_low": 0.44, "win_share_high": 1.0},
    ],
}

OUTSIDE = """() => [...document.querySelectorAll(".points path")].filter((path) => {
  const [point, frame, half] = [path.getBoundingClientRect(), path.closest("svg").getBoundingClientRect(), 5];
  return point.left - half < frame.left || point.right + half > frame.right
    || point.top - half < frame.top || point.bottom + half > frame.bottom;
}).map((path) => path.getAttribute("d"))"""
"""Points that go beyond the frame of their plot."""


async def test_runs_are_shown_side_by_side(browser: Browser, house: House, tmp_path: Path) -> None:
    """The list leads to a run by an address: its caveats, each figure with its interval in words and as a dot on a scale, its plots
    as points and as tables, and its rows as files. A manifest that can't be read says why; what was not measured is left out."""
    _leave(house.results)
    async with opened(browser, house.url, "/experiments") as visit:
        page = visit.page
        runs = page.get_by_role("region", name="Runs")
        await expect(runs.get_by_role("link")).to_have_count(2)
        await expect(page.get_by_role("radio", name="Model")).to_be_checked()
        listed, broken = await runs.inner_text(), await page.locator("p.wraps").inner_text()
        faults, walk = await visit.inspected("experiments"), await visit.walked()

        await runs.get_by_role("link", name="Bench of mixed").click()
        await expect(page.get_by_role("heading", name="Latency")).to_be_visible()
        cards = await page.locator(".grid .card").all_inner_texts()
        dots = await page.locator(".dot-line").evaluate_all("(all) => all.map((one) => one.getAttribute('style'))")
        lines = await page.locator(".drawn path").evaluate_all("(all) => all.map((one) => one.getAttribute('d'))")
        ticks = await page.locator(".drawn .ticks").nth(1).inner_text()
        outside = await page.evaluate(OUTSIDE)
        names = await page.locator(".arms dt").evaluate_all(
            "(all) => all.map((one) => one.getClientRects().length && one.offsetHeight < 30)"
        )
        faults += await visit.inspected("experiments-run")
        shares = await page.get_by_role("region", name="Who answered").locator("tr").all_inner_texts()
        await page.get_by_role("button", name="Table of Latency").press("Enter")
        rows = await page.get_by_role("region", name="Latency").locator("tbody tr").all_inner_texts()
        told = await page.locator("#view").inner_text()
        faults += await barriers(page)
        async with page.expect_download() as taken:
            await page.get_by_role("link", name="JSONL").click()
        await (await taken.value).save_as(tmp_path / "rows.jsonl")
        address = page.url
        await page.get_by_role("link", name="All runs").click()
        await expect(runs).to_be_visible()

    assert "Bench of mixed\tbench\tsimulated" in listed
    assert "hybrid, token:500" in listed
    assert broken.startswith("bad.manifest.json can't be read. kind:")
    assert [one.split("\n")[0] for one in cards] == ["questions that got an answer", "median time, s"]
    assert "1 (0.5 to 2) ± 0.25" in cards[1]
    assert cards[1].split()[-5:] == ["0", "1", "2", "3", "4"]
    assert dots == [
        "--low: 100; --at: 100; --high: 100;",
        "--low: 12.5; --at: 25; --high: 50;",
        "--low: 75; --at: 100; --high: 100;",
    ]
    assert [lines[0], lines[2]] == ["M0 50h0H50V0", "M0 0h0M100 100h0"]
    assert ticks.split() == ["0.5", "1", "2", "4", "8"]
    assert (outside, names) == ([], [True, True, True])
    assert shares == ["answers, %, by strategy\thybrid\ttoken:500", "nano\t25\t75"]
    assert rows[0] == "hybrid\t0.5\t50"
    assert all(one in told for one in ("Joules are <b>estimated</b>.", "aarch64", "4 rows:"))
    assert not any(one in told for one in ("what nobody has measured", "undefined", "NaN"))
    assert (tmp_path / "rows.jsonl").read_text() == '{"n":1,"text":"one"}\n'
    assert "/experiments?run=" in address
    assert (faults, walk.faults) == ([], [])


async def test_an_empty_folder_says_what_fills_it(browser: Browser, house: House) -> None:
    """The command that measures is named, and where votes come from; their intervals begin below each other. A run
    that is gone is refused in words."""
    for path in house.results.glob("*"):
        path.unlink()
    async with opened(browser, house.url, "/experiments?by=device") as visit:
        visit.welcome.append("404")
        page = visit.page
        await page.route(
            "**/api/v1/votes?*",
            lambda route: route.fulfill(json={"by": "device", "contenders": [], "votes": 0, "thumbs": 0}),
        )
        await page.reload()
        await expect(page.locator(".empty").first).to_contain_text("drover bench --query-set mixed")
        await expect(page.locator(".empty").last).to_contain_text("Nobody has voted")
        await expect(page.get_by_role("radio", name="Device")).to_be_checked()
        faults = await barriers(page)
        await visit.snap("experiments-empty")
        await page.route("**/api/v1/votes?*", lambda route: route.fulfill(json=VOTES))
        await page.reload()
        lines = page.get_by_role("region", name="Votes").locator(".dot-line")
        await expect(lines).to_have_count(2)
        begin = await lines.evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().left)")
        await expect(page.get_by_text("Votes: 3, thumbs: 0.")).to_be_visible()
        await page.goto(f"{house.url}/experiments?run=gone")
        await expect(page.get_by_role("alert")).to_contain_text("There is no experiment 'gone'")

    assert faults == []
    assert begin[0] == begin[1]


def _leave(results: Path) -> None:
    left(results, "rich", RICH)
    left(results, "speed", replace(WHOLE, kind=Kind.SPEED, title="Speed", simulated=None, rows=None, plots=()))
    (results / f"bad{ENDING}").write_text('{"kind": "benchmark"}')

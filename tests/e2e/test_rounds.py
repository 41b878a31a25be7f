"""Cascade, classifying and feedback in a fleet of real processes, over simulated devices."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from common.client import Drover
from tests.e2e.test_fleet import fleet

DOUBTFUL = "Tell me possibly and approximately, in 120 words."
"""Simulated answers are about the longest words of a question: this one's hedge in every sentence."""

PLAIN = "Tell me about rivers, in 30 words."
HARD = "Prove the theorem and derive the complexity of this distributed algorithm: 1 + 1 = 2."


@pytest.mark.slow
async def test_a_fleet_checks_classifies_and_learns(tmp_path: Path) -> None:
    """A doubtful weak answer goes up and a plain one is kept; a hard question is classified before it is routed; a thumb over HTTP
    is counted and explained."""
    async with (
        fleet(tmp_path, DROVER_DEVICES="pi5,orin", DROVER_CLASSIFIER_S="20", DROVER_CACHE="off") as house,
        Drover.connect(house.nats) as drover,
        httpx.AsyncClient(base_url=house.http, timeout=60.0, trust_env=False) as http,
    ):
        kept = await drover.ask(PLAIN, strategy="cascade")
        stream = drover.chat(DOUBTFUL, strategy="cascade")
        shown = "".join([str(chunk) async for chunk in stream])
        judged = await drover.ask(HARD, strategy="llm")
        again = await drover.ask(HARD, strategy="llm")
        said = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
        chat = await http.post("/v1/chat/completions", json=said, headers={"x-drover-job": "e2e-1"})
        rated = await http.post("/v1/feedback", json={"job": "e2e-1", "rating": "up", "reason": "short"})
        refused = await http.post("/v1/feedback", json={"job": "e2e-1", "rating": "sideways"})
        unknown = await http.post("/v1/feedback", json={"job": "nobody", "rating": "up"})
        explained = (await http.post("/v1/route/explain", json=said)).json()

    gone_up = stream.answer
    assert gone_up is not None
    assert gone_up.route["cascade"]["escalated"] is True
    assert ("strong", gone_up.device) == (
        gone_up.route["cascade"]["given"],
        gone_up.route["cascade"]["strong"]["device"],
    )
    assert (1, 1) == (shown.count("[simulated "), gone_up.text.count("[simulated "))
    assert "unsure tokens" not in kept.route["cascade"]["faults"]
    assert "hedges" in gone_up.route["cascade"]["faults"]
    assert ("weak", False) == (kept.route["cascade"]["given"], kept.route["cascade"]["escalated"])
    verdicts = [one.route["features"]["classified"] for one in (judged, again)]
    assert [(verdicts[0]["difficulty"], False), (verdicts[0]["difficulty"], True)] == [
        (one["difficulty"], one["kept"]) for one in verdicts
    ]
    assert verdicts[0]["difficulty"] > 0.5
    assert (200, 200, True) == (chat.status_code, rated.status_code, rated.json()["counted"])
    assert (400, 404) == (refused.status_code, unknown.status_code)
    assert 1 == explained["feedback"]["outcomes"]

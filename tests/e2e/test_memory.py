"""A conversation on a whole fleet of real processes: its second turn goes where its beginning lies in memory."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.commands import running

READY = r"drover is up: (http://127\.0\.0\.1:\d+)  \((nats://127\.0\.0\.1:\d+)\)"
LONG = "Tell me of the bees, their hives and their honey, and of all that they do in a year. " * 40


async def test_a_conversation_goes_on_where_it_began(tmp_path: Path) -> None:
    """Three devices alike; four turns, each told all before it, and all on the device of the first."""
    knobs = {
        "DROVER_HTTP_PORT": "0",
        "DROVER_NATS_PORT": "0",
        "DROVER_SIM_TIME_FACTOR": "30",
        "DROVER_ACCEPT_S": "10",
        "OLLAMA_HOST": "http://127.0.0.1:9",
        "DROVER_RESTART": "false",
    }
    async with running("up", cwd=tmp_path, **knobs) as up:
        found = await up.until(READY)
        async with httpx.AsyncClient(base_url=found[1], timeout=90.0, trust_env=False) as http:
            talk, devices, told = "new", [], []
            for question in (LONG, "And in winter?", "And in spring?", "And then?"):
                body = {"prompt": question, "conversation_id": talk, "options": {"max_tokens": 24}}
                answer = await http.post("/api/v1/chat", json=body)
                assert 200 == answer.status_code, answer.text
                talk = answer.headers["x-drover-conversation"]
                devices.append(answer.headers["x-drover-device"])
                told.append(answer.json()["x_drover"]["conversation"]["told"])

    assert ([1, 3, 5, 7], 1) == (told, len(set(devices)))

"""README's Python, run as it stands there."""

from __future__ import annotations

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from tests.commands import GUARD_S, clean_environment, end
from tests.nats_server import nats_server
from tests.scripted_fleet import scripted_fleet

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


async def test_the_first_snippet_prints_an_answer_a_line(tmp_path: Path) -> None:
    """Two questions, two lines."""
    snippets: list[str] = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    async with nats_server() as server, scripted_fleet(server.url):
        code = snippets[0].replace("nats://127.0.0.1:4222", server.url)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", code), cwd=tmp_path, env=clean_environment(), stdout=PIPE, stderr=PIPE
        )
        try:
            async with asyncio.timeout(GUARD_S):
                out, err = await process.communicate()
        finally:
            await end(process)

    assert (out.decode().splitlines(), err.decode()) == (["Hello there!", "Hello there!"], "")

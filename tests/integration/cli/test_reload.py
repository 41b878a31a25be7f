"""Settings are read again by a real fleet: by all processes or by none, and each knob that is said to be live takes effect."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from common import codec, reload_orders
from common.bus.nats import NatsBus, NatsOptions, connect_nats
from common.errors import NoResponders
from common.reload_orders import Round
from common.subjects import Subjects
from tests.agent_process import Device
from tests.commands import DROVER, GUARD_S, clean_environment, drover, end
from tests.nats_server import nats_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUBJECTS = Subjects()
BASE = "DROVER_SLOTS=2\nDROVER_QUEUE_LIMIT=50\nDROVER_HTTP_HEADER_HOLD_S=5\n"


@dataclass(frozen=True, slots=True)
class Fleet:
    """A dispatcher, a bridge and an agent that echoes, all in one directory, and so with one `.env`."""

    directory: Path
    bus: NatsBus
    nats_url: str
    bridge_url: str
    device: Device
    processes: dict[str, Process]

    def write(self, text: str) -> None:
        """Make the settings be the usual ones and these."""
        (self.directory / ".env").write_text(BASE + text)

    async def reload(self, text: str) -> Round:
        self.write(text)
        return await reload_orders.reload(self.bus, SUBJECTS, within_s=GUARD_S)

    async def runs_on(self, kind: str, knob: str) -> str:
        """Ask a process for one of its knobs."""
        found = await reload_orders.running(self.bus, SUBJECTS, within_s=GUARD_S)
        [one] = [one for one in found.answers if one.kind == kind]
        [value] = {value for _, name, value in one.knobs if name == knob}
        return value

    def log(self, kind: str) -> list[dict[str, object]]:
        """Read what a process has logged."""
        text = (self.directory / f"{kind}.log").read_text()
        return [codec.decode(line.encode()) for line in text.splitlines() if line.startswith("{")]

    def said(self, kind: str, event: str) -> list[dict[str, object]]:
        """Give the lines of one event."""
        return [line for line in self.log(kind) if line.get("event") == event]

    async def logged(self, kind: str, event: str, count: int = 1) -> list[dict[str, object]]:
        """Wait until a process has logged it so often."""
        async with asyncio.timeout(GUARD_S):
            while len(found := self.said(kind, event)) < count:  # noqa: ASYNC110  # a file raises no event
                await asyncio.sleep(0.02)
        return found


COMMANDS: dict[str, tuple[str, ...]] = {
    "dispatcher": (*DROVER, "dispatcher"),
    "bridge": (*DROVER, "bridge"),
    "agent": (sys.executable, "-P", "-m", "agents"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Sessions of their own, as services have: a hang-up is then no terminal's."""
    directory = tmp_path_factory.mktemp("fleet")
    (directory / ".env").write_text(BASE)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(nats_server())
        environment = clean_environment(
            NATS_URL=server.url,
            DROVER_HTTP_PORT="0",
            DROVER_LEDGER="off",
            DROVER_DURABLE="off",
            DROVER_DEVICE="nano",
            DROVER_BACKEND="echo",
            DROVER_POWER="model",
            DROVER_DISPATCHER_ID="disp",
            LOG_FORMAT="json",
        )
        processes = {}
        for kind, command in COMMANDS.items():
            with (directory / f"{kind}.log").open("wb") as log:
                processes[kind] = await asyncio.create_subprocess_exec(
                    *command,
                    cwd=directory,
                    env=environment,
                    stdin=DEVNULL,
                    stdout=PIPE if kind == "bridge" else log,
                    stderr=log,
                    start_new_session=True,
                )
            stack.push_async_callback(end, processes[kind])
        bus = await stack.enter_async_context(connect_nats(NatsOptions(urls=(server.url,), name="drover-test")))
        device = Device(bus, "nano")
        await bus.subscribe(SUBJECTS.heartbeat("nano"), device.hear)
        out = processes["bridge"].stdout
        assert out is not None
        async with asyncio.timeout(GUARD_S):
            said = re.search(r"http://\S+", (await out.readline()).decode())
        assert said is not None
        await _all_there(bus)
        yield Fleet(directory, bus, server.url, said[0], device, processes)


async def _all_there(bus: NatsBus) -> None:
    async with asyncio.timeout(GUARD_S):
        while True:
            try:
                found = await reload_orders.running(bus, SUBJECTS, within_s=GUARD_S)
            except NoResponders:
                continue
            if {one.kind for one in found.answers} == COMMANDS.keys():
                return


def told(found: Round) -> set[tuple[str, str, str, str, bool]]:
    return {
        (one.kind, change.knob, change.old, change.new, change.live) for one in found.answers for change in one.changes
    }


async def _queue_limit(fleet: Fleet) -> object:
    answer = await fleet.bus.request("$SRV.STATS.llm-dispatcher", b"", timeout_s=GUARD_S)
    return codec.decode(answer.data)["endpoints"][0]["data"]["queue_limit"]


async def test_each_process_takes_what_is_its_own(fleet: Fleet) -> None:
    """Queue limit, slots and topics are seen from outside; all three processes tell what changed."""
    found = await fleet.reload(
        "DROVER_QUEUE_LIMIT=7\nDROVER_SLOTS=3\nDROVER_TOPICS=code\nDROVER_WEIGHT_TOPIC=0.9\nDROVER_HTTP_HEADER_HOLD_S=1\n"
    )
    beat = await fleet.device.until(lambda beat: beat.slots == 3, ever=True)

    assert {
        ("dispatcher", "DROVER_QUEUE_LIMIT", "50", "7", True),
        ("dispatcher", "DROVER_WEIGHT_TOPIC", "0.2", "0.9", True),
        ("agent", "DROVER_SLOTS", "2", "3", True),
        ("agent", "DROVER_TOPICS", "", "code", True),
        ("bridge", "DROVER_HTTP_HEADER_HOLD_S", "5.0", "1.0", True),
    } == told(found)
    assert (True, 7, ("code",)) == (found.applied, await _queue_limit(fleet), beat.topics)
    assert "1.0" == await fleet.runs_on("bridge", "DROVER_HTTP_HEADER_HOLD_S")


async def test_one_wrong_knob_and_nobody_changes_anything(fleet: Fleet) -> None:
    """Not even the process whose own settings are right; the command says who found what."""
    await fleet.reload("DROVER_SLOTS=4\n")
    fleet.write("DROVER_SLOTS=5\nDROVER_STRATEGY=psychic\nDROVER_HTTP_ALLOWED_HOSTS=wrong.example\n")
    ended = await drover("reload", cwd=fleet.directory, NATS_URL=fleet.nats_url)

    assert (1, True) == (ended.status, "dispatcher disp: wrong: DROVER_STRATEGY='psychic'" in ended.out)
    assert "nothing was changed" in ended.err
    assert ("4", "") == (
        await fleet.runs_on("agent", "DROVER_SLOTS"),
        await fleet.runs_on("bridge", "DROVER_HTTP_ALLOWED_HOSTS"),
    )


async def test_what_needs_a_restart_is_said_and_left_alone(fleet: Fleet) -> None:
    """The rest is applied."""
    await fleet.reload("")
    fleet.write("DROVER_CACHE_ENTRIES=123\nDROVER_CACHE_TTL_S=60\n")
    ended = await drover("reload", cwd=fleet.directory, NATS_URL=fleet.nats_url)

    assert 0 == ended.status
    assert "DROVER_CACHE_ENTRIES: 10000 → 123, needs a restart of this process: NOT applied" in ended.out
    assert "DROVER_CACHE_TTL_S: 3600.0 → 60.0\n" in ended.out
    assert ("10000", "60.0") == (
        await fleet.runs_on("dispatcher", "DROVER_CACHE_ENTRIES"),
        await fleet.runs_on("dispatcher", "DROVER_CACHE_TTL_S"),
    )


async def test_the_bridge_answers_for_a_host_that_was_added(fleet: Fleet) -> None:
    """And for pages of another site, and no more for bodies that are too large now."""
    await fleet.reload("")
    async with httpx.AsyncClient(base_url=fleet.bridge_url) as client:

        async def statuses() -> tuple[int, str | None, int]:
            host = await client.get("/v1/models", headers={"Host": "chat.example"})
            site = await client.get("/v1/models", headers={"Origin": "https://page.example"})
            body = await client.post("/v1/embeddings", json={"input": "y" * 2000})
            return host.status_code, site.headers.get("access-control-allow-origin"), body.status_code

        before = await statuses()
        await fleet.reload(
            "DROVER_HTTP_ALLOWED_HOSTS=chat.example\nDROVER_HTTP_CORS_ORIGINS=https://page.example\n"
            "DROVER_HTTP_MAX_BODY_BYTES=1024\n"
        )
        after = await statuses()

    assert (400, None) == before[:2]
    assert (200, "https://page.example", 413) == after
    assert before[2] != 413


async def test_a_hangup_reloads_one_process_alone(fleet: Fleet) -> None:
    """Below no terminal it means this, and neither stops the process nor tells the others."""
    await fleet.reload("")
    count = len(fleet.said("dispatcher", "settings.reloaded"))
    fleet.write("DROVER_QUEUE_LIMIT=11\nDROVER_SLOTS=6\n")
    os.kill(fleet.processes["dispatcher"].pid, signal.SIGHUP)
    logged = await fleet.logged("dispatcher", "settings.reloaded", count + 1)

    assert {"DROVER_QUEUE_LIMIT": "11"} == logged[-1]["changed"]
    assert (11, "2") == (await _queue_limit(fleet), await fleet.runs_on("agent", "DROVER_SLOTS"))


async def test_a_hangup_with_wrong_settings_is_refused(fleet: Fleet) -> None:
    """The log says which knob, and the process runs on as it did."""
    await fleet.reload("")
    fleet.write("DROVER_QUEUE_LIMIT=-1\n")
    os.kill(fleet.processes["dispatcher"].pid, signal.SIGHUP)
    [refused] = await fleet.logged("dispatcher", "settings.refused")

    assert "DROVER_QUEUE_LIMIT='-1'" in str(refused["faults"])
    assert 50 == await _queue_limit(fleet)


async def test_another_level_counts_for_loggers_that_have_written_already(fleet: Fleet) -> None:
    """What was put together for the old level is put together anew."""
    await fleet.reload("")
    await fleet.reload("LOG_LEVEL=ERROR\n")
    before = len(fleet.said("dispatcher", "settings.reloaded"))
    await fleet.reload("LOG_LEVEL=ERROR\nDROVER_QUEUE_LIMIT=12\n")  # told as information: not written
    await fleet.reload("LOG_LEVEL=INFO\n")
    await fleet.logged("dispatcher", "settings.reloaded", before + 1)

    assert before + 1 == len(fleet.said("dispatcher", "settings.reloaded"))

"""`drover up` as people run it: real processes on free ports, from the first line to the last process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from common import reload_orders
from common.bus.nats import NatsOptions, connect_nats
from common.subjects import Subjects
from dispatcher.cli.expected import known_to
from dispatcher.cli.http_door import has_keys
from dispatcher.cli.state import StateDir
from tests.commands import DROVER, GUARD_S, Running, drover, gone, running
from tests.listening import Listener
from tests.nats_server import free_port, nats_server
from tests.simulated import simulator
from tests.terminal import on_terminal

READY = r"drover is up: (http://127\.0\.0\.1:\d+)  \((nats://127\.0\.0\.1:\d+)\)"
NOWHERE = "http://127.0.0.1:9"
"""The discard port: no Ollama is there."""


def knobs(**more: str) -> dict[str, str]:
    return {
        "DROVER_HTTP_PORT": "0",
        "DROVER_NATS_PORT": "0",
        "DROVER_SIM_TIME_FACTOR": "50",
        "DROVER_ACCEPT_S": "20",  # where one device is all there is, a busy machine must not make it silent
        "DROVER_DEVICES": "nano",
        "OLLAMA_HOST": NOWHERE,
        "DROVER_LEDGER": "off",  # one test has it: a process less in all others
        "DROVER_METRICS": "off",  # the usual port may be another test's
        **more,
    }


@asynccontextmanager
async def fleet(cwd: Path, **more: str) -> AsyncIterator[Running]:
    """A fleet that is up."""
    async with running("up", cwd=cwd, **knobs(**more)) as up:
        await up.until(READY)
        yield up


@dataclass(frozen=True, slots=True)
class Lasting:
    """A fleet for several tests, each of which leaves it as it found it; they run in one event loop."""

    up: Running
    cwd: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lasting]:
    cwd = tmp_path_factory.mktemp("lasting")
    async with fleet(cwd) as up:
        yield Lasting(up, cwd)


@contextmanager
def listener() -> Iterator[int]:
    """A port that is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


async def test_a_fleet_comes_up_and_answers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Two processes a device and four more; `drover ask` finds them without being told; Ctrl-C ends all, with status 0. The job
    is in the ledger then, also when it was asked a moment before. Wanted for other machines and without a key, it is there for this
    one alone, and says so: it takes a ledger that runs to make the first key."""
    (tmp_path / ".drover").mkdir()
    (tmp_path / ".drover" / "up.lock").write_text("999999")  # left behind by a fleet that was killed
    async with fleet(tmp_path, DROVER_DEVICES="nano,kitchen=pi5", DROVER_LEDGER="on", DROVER_HTTP_HOST="0.0.0.0") as up:
        url, nats_url = (await up.until(READY)).groups()
        alone = (await up.until(r"there is no key, so the bridge listens on (\S+) alone, and not on 0\.0\.0\.0"))[1]
        async with connect_nats(NatsOptions(urls=(nats_url,), name="drover-test")) as bus:
            keyed = await has_keys(bus, Subjects())
        children = up.children()
        answer = await drover("ask", "--json", "Say hello.", cwd=tmp_path)
        up.signal(signal.SIGINT)
        status = await up.ended()
        await gone(*children)

    log = (tmp_path / ".drover" / "log" / "bridge.log").read_text()
    assert ("127.0.0.1", [url], False) == (alone, re.findall(r"bridge listening on (\S+)", log), keyed)
    told = json.loads(answer.out)
    assert (status, len(children), told["text"] != "", told["device"] in {"nano", "kitchen"}) == (0, 8, True, True)
    with closing(sqlite3.connect(tmp_path / ".drover" / "ledger.db")) as ledger:
        kept = ledger.execute("SELECT state, device FROM jobs").fetchall()
    assert [("done", told["device"])] == kept
    assert sorted(path.name for path in (tmp_path / ".drover").iterdir()) == [
        "ledger.db",
        "ledger.db.lock",
        "log",
        "nats",
        "nats-server.conf",
        "up.lock",
    ]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "OPENAI_API_KEY is not set"),
        ({"OPENAI_API_KEY": "sk-0123456789", "DROVER_CLOUD_BUDGET_USD": "1"}, "no price for gpt-small"),
    ],
)
async def test_a_cloud_agent_that_can_t_work_is_told_before_the_start(
    tmp_path: Path, more: dict[str, str], words: str
) -> None:
    """With the way out, and without anything having been started."""
    end = await drover("up", cwd=tmp_path, **knobs(DROVER_CLOUD_MODELS="gpt-small", **more))

    assert (end.status, words in end.err, "unset DROVER_CLOUD_MODELS" in end.err) == (1, True, True)
    assert list((tmp_path / ".drover" / "log").iterdir()) == []


@pytest.mark.asyncio(loop_scope="module")
async def test_the_bridge_answers_where_the_ready_line_says(lasting: Lasting) -> None:
    """Ready means ready: the health check passes at once."""
    url = (await lasting.up.until(READY))[1]
    health = await asyncio.to_thread(_health, url)

    assert health["status"] == "ok"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_reload_tells_what_drover_up_reads_at_its_start_and_what_nobody_reads(lasting: Lasting) -> None:
    """The misspelt line with the nearest right name, as `drover config check` has it."""
    (lasting.cwd / ".env").write_text("DROVER_RESTART=false\nDROVER_QUEUE_LIMTI=5\n")
    try:
        end = await drover("reload", "--check", cwd=lasting.cwd)
    finally:
        (lasting.cwd / ".env").unlink()

    assert (0, "") == (end.status, end.err)
    assert [
        "up: DROVER_RESTART: true → false, needs a restart of this process: NOT applied",
        "warning: DROVER_QUEUE_LIMTI (.env line 2) is read by nobody: did you mean DROVER_QUEUE_LIMIT?",
    ] == end.out.splitlines()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_process_that_is_frozen_keeps_all_from_changing_and_is_named(lasting: Lasting) -> None:
    """It can't even say that it is there; awake again it answers."""
    [agent], state = lasting.up.named(r"-m agents$"), StateDir(lasting.cwd / ".drover")
    url = (await lasting.up.until(READY))[2]
    back = Listener()
    async with connect_nats(NatsOptions(urls=(url,), name="drover-test")) as bus:
        known = await known_to(bus, state)
        agent.suspend()
        try:
            frozen = await known_to(bus, state)
            found = await reload_orders.reload(bus, Subjects(), within_s=1.0, missing=frozen.missing)
        finally:
            agent.resume()
        await bus.subscribe(Subjects().heartbeat("nano"), back)
        await back.until(1)
        async with asyncio.timeout(GUARD_S):
            while (await reload_orders.running(bus, Subjects(), missing=known.missing)).silent:
                pass

    assert (True, False) == (found.refused, found.applied)
    assert f"agent-nano (process {agent.pid}), which is frozen (wake it: kill -CONT {agent.pid})" in found.silent


@pytest.mark.asyncio(loop_scope="module")
async def test_two_fleets_do_not_share_a_directory(lasting: Lasting) -> None:
    """The second one says who has it, and the first one is not disturbed."""
    end = await drover("up", cwd=lasting.cwd, **knobs())
    answer = await drover("ask", "Say hello.", cwd=lasting.cwd)

    assert (
        end.status,
        f"(process {lasting.up.process.pid})" in end.err,
        "DROVER_STATE_DIR" in end.err,
        answer.status,
    ) == (1, True, True, 0)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "who",
    [r"-m agents$", r"-m agents\.simulator ", r"-m dispatcher bridge$", r"-m dispatcher dispatcher$", r"--config "],
)
async def test_a_process_that_is_killed_comes_back(lasting: Lasting, who: str) -> None:
    """SIGKILL on any one of them is told, it is started again, and the fleet answers as before."""
    up = lasting.up
    [victim] = up.named(who)
    said = len(up.lines)
    victim.kill()
    await up.until(r"died: killed by SIGKILL, starts again in 0.5 s", after=said)
    await _until(lambda: [victim.pid] != [child.pid for child in up.named(who)] != [])
    answer = await _persistently("ask", "Say hello.", cwd=lasting.cwd)

    assert "simulated nano" in answer


async def test_an_open_door_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    """Not by a bridge that takes the whole fleet with it."""
    end = await drover("up", cwd=tmp_path, **knobs(DROVER_HTTP_HOST="0.0.0.0", DROVER_HTTP_KEYS="off"))

    assert (1, "", True) == (end.status, end.out, "DROVER_HTTP_ALLOW_REMOTE=true" in end.err)
    assert not (tmp_path / ".drover").exists()


async def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """Even kill -9 on the supervisor leaves no process, and the next `drover up` comes up in the same directory."""
    async with fleet(tmp_path) as up:
        children = up.children()
        up.signal(signal.SIGKILL)
        await up.ended()
        await gone(*children)
    async with fleet(tmp_path) as again:
        assert len(again.children()) == 5


async def test_a_second_ctrl_c_kills(tmp_path: Path) -> None:
    """An agent that hangs holds up the first Ctrl-C, not the second."""
    async with fleet(tmp_path) as up:
        children = up.children()
        [agent] = up.named(r"-m agents$")
        agent.suspend()
        up.signal(signal.SIGINT)
        await up.until("drover is stopping")
        up.signal(signal.SIGINT)
        status = await up.ended()
        await gone(*children)

    assert status == 128 + signal.SIGINT


@pytest.mark.parametrize(
    ("knob", "purpose"), [("DROVER_HTTP_PORT", "the bridge"), ("DROVER_NATS_PORT", "the NATS server")]
)
async def test_a_taken_port_is_named_with_its_owner_and_the_way_out(tmp_path: Path, knob: str, purpose: str) -> None:
    """One line, status 1, and nothing was started."""
    with listener() as port:
        end = await drover("up", cwd=tmp_path, **knobs(**{knob: str(port)}))

    assert (
        end.status,
        end.err.startswith(f"drover: port {port} ({purpose}) is taken by ") and f"(process {os.getpid()})" in end.err,
        f"{knob}=" in end.err,
        len(end.err.splitlines()),
    ) == (1, True, True, 1)


async def test_a_taken_nats_port_offers_to_use_what_is_there(tmp_path: Path) -> None:
    """Most often it is a NATS server."""
    with listener() as port:
        end = await drover("up", cwd=tmp_path, **knobs(DROVER_NATS_PORT=str(port)))

    assert f"NATS_URL=nats://127.0.0.1:{port} make up" in end.err


async def test_a_server_that_runs_already_is_used(tmp_path: Path) -> None:
    """With NATS_URL no NATS server is started, and that is said, without the password."""
    async with nats_server(config_extra='authorization { user: "u", password: "hidden-word" }') as server:
        url = server.url.replace("//", "//u:hidden-word@")
        async with fleet(tmp_path, NATS_URL=url) as up:
            told = await up.until(r"using the NATS server at (\S+) \(NATS_URL\)")
            answer = await drover("ask", "Say hello.", cwd=tmp_path, NATS_URL=url)

            assert (server.url, 4, True, False) == (
                told[1],
                len(up.children()),
                "simulated nano" in answer.out,
                "hidden-word" in up.text,
            )


async def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """NATS_URL that leads nowhere ends it, after the wait that was asked for."""
    port = free_port()
    end = await drover(
        "up", cwd=tmp_path, **knobs(NATS_URL=f"nats://127.0.0.1:{port}", DROVER_NATS_CONNECT_WAIT_S="0.3")
    )

    assert (end.status, f"127.0.0.1:{port}" in end.err) == (1, True)


async def test_a_missing_nats_server_names_the_command_that_installs_it(tmp_path: Path) -> None:
    """Before anything is started."""
    end = await drover("up", cwd=tmp_path, **knobs(DROVER_NATS_SERVER=str(tmp_path / "nats-server")))

    assert (end.status, "sudo apt-get install nats-server" in end.err) == (1, True)


async def test_an_unknown_device_lists_the_known_ones(tmp_path: Path) -> None:
    """The simulator's own words reach the reader, and everything is taken down again. Nothing is started again when `drover up`
    ends for it: that is what it says."""
    async with running("up", cwd=tmp_path, **knobs(DROVER_DEVICES="nano,toaster")) as up:
        told = await up.until(r"simulator-toaster died: .*")
        status = await up.ended()

    assert (status, re.search(r"'toaster' is no profile; choose one of .*nano.*pi5", up.text) is not None) == (1, True)
    assert (
        told[0],
        "starts again" in up.text,
    ) == ("simulator-toaster died: exit status 2, so drover up ends: mend that and start it again", False)


async def test_settings_of_what_it_starts_are_refused_before_anything_is_started(tmp_path: Path) -> None:
    """Not by a dispatcher that keeps dying."""
    end = await drover("up", cwd=tmp_path, **knobs(DROVER_SUSPECT_AFTER="9"))

    assert (end.status, "DROVER_SUSPECT_AFTER=9 is more than DROVER_DEAD_AFTER=5" in end.err, end.out) == (1, True, "")


@pytest.mark.parametrize(("form", "expected"), [("", False), ("json", True)])
async def test_logs_are_json_only_when_asked_for(tmp_path: Path, form: str, expected: bool) -> None:
    """Beside the plain lines of `drover up` stand plain logs, its own and quoted ones, though no terminal is there."""
    async with fleet(tmp_path, LOG_FORMAT=form) as up:
        [server], [dispatcher] = up.named(r"--config "), up.named(r"-m dispatcher dispatcher$")
        server.kill()
        await up.until(r"^[^|]*bus\.lost")
        dispatcher.kill()
        await up.until(r"^  \| .*(bus|durable|dispatcher)\.[a-z]+")  # its last words, whichever they were

    logs = [line for line in up.lines if re.search(r"\b(bus|durable|dispatcher)\.[a-z]+\b.*(level|area|=)", line)]
    assert ({expected}, False) == ({'{"' in line for line in logs}, "\x1b" in up.text)


async def test_what_can_be_tried_fits_a_narrow_terminal(tmp_path: Path) -> None:
    """At 80 columns no hint is broken by the terminal, and the two lines of the curl command can be pasted."""
    metrics = f"127.0.0.1:{free_port()}"
    async with on_terminal(*DROVER, "up", cwd=tmp_path, columns=80, **knobs(DROVER_METRICS=metrics)) as terminal:
        hints = (await terminal.until(r"jobs: none yet\s*\n(  ask it: .*?Ctrl-C stops everything)"))[1]
        url = (await terminal.until(READY))[1]

    assert [
        '  ask it:  make ask PROMPT="Why is the sky blue?"',
        f"  or open  {url} in a browser",
        f"  or:      curl {url}/v1/chat/completions \\",
        """    -d '{"model":"auto","messages":[{"role":"user","content":"hi"}]}'""",
        "  keys:    nobody is asked for one (DROVER_HTTP_KEYS, DROVER_LEDGER)",
        f"  metrics: http://{metrics}/metrics",
        "  logs:    .drover/log",
        "  Ctrl-C stops everything",
    ] == [line.rstrip() for line in hints.splitlines()]


async def test_wrong_settings_are_listed_together(tmp_path: Path) -> None:
    """Each with its name and value."""
    end = await drover("up", cwd=tmp_path, **knobs(DROVER_NATS_PORT="many", DROVER_SIM_TIME_FACTOR="-1"))

    assert (
        end.status,
        "DROVER_NATS_PORT='many'" in end.err,
        "DROVER_SIM_TIME_FACTOR='-1'" in end.err,
    ) == (1, True, True)


async def test_an_ollama_that_answers_is_used_with_one_agent(tmp_path: Path) -> None:
    """No simulated device then: NATS, dispatcher, bridge and one agent, named as the environment says."""
    async with (
        simulator("pi5", time_factor=50) as ollama,
        fleet(tmp_path, OLLAMA_HOST=ollama.url, DROVER_DEVICE="desk") as up,
    ):
        await up.until(r"using Ollama \S+ at " + re.escape(ollama.url))
        answer = await drover("ask", "--json", "Say hello.", cwd=tmp_path)

        assert (len(up.children()), json.loads(answer.out)["device"]) == (4, "desk")


async def test_a_terminal_shows_a_table_and_gets_its_cursor_back(tmp_path: Path) -> None:
    """Live on a terminal: devices with their state; after Ctrl-C the cursor is visible again."""
    async with on_terminal(*DROVER, "up", cwd=tmp_path, **knobs()) as terminal:
        await terminal.until("drover is up(?=.*nano)(?=.*ready)(?=.*simulated)")
        terminal.type(b"\x03")
        await terminal.ended()
        await terminal.until("drover is down")
    screen = terminal.drawn

    assert (
        "ready" in screen and "nano" in screen and "simulated" in screen,
        screen.rfind("\x1b[?25h") > screen.rfind("\x1b[?25l"),
        "drover is down" in screen,
    ) == (True, True, True)


def _health(url: str) -> dict[str, str]:
    """Ask once; again only if the dispatcher alone was missed, to which the bridge gives a second: the machine may be busy."""
    for _ in range(10):
        try:
            response = urllib.request.urlopen(f"{url}/health", timeout=GUARD_S)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            body: dict[str, str] = json.loads(response.read())
        if body["dispatcher"]:
            return body
    return body


async def _until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(GUARD_S):
        while not check():  # noqa: ASYNC110  # the process table raises no event
            await asyncio.sleep(0.05)


async def _persistently(*arguments: str, cwd: Path) -> str:
    """Ask until there is an answer: who was killed needs a moment to be back."""
    async with asyncio.timeout(GUARD_S):
        while (end := await drover(*arguments, cwd=cwd)).status != 0:
            pass
    return end.out

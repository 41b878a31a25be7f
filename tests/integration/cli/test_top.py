"""`drover top`, `jobs` and `energy` as real processes over a real server: keys, signals, a lost bus, pipes, and no ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from common import codec
from common.bus import Bus, Delivery
from common.bus.nats import NatsOptions, connect_nats
from common.errors import BusError
from common.subjects import Subjects
from tests.commands import DROVER, GUARD_S, Finished, drover
from tests.nats_server import NatsServer, nats_server
from tests.terminal import Terminal, on_terminal

SUBJECTS = Subjects()
BEAT_S = 0.1
OTHER_SCREEN, BACK = "\x1b[?1049h", "\x1b[?1049l"
JOB = {
    "record": "01J0000000000000000000000A",
    "job": "j1",
    "tenant": "acme",
    "state": "done",
    "received_unix_s": 1e9,
    "total_s": 2.5,
    "device": "orin",
    "model": "m",
    "usage": {"prompt_tokens": 3, "completion_tokens": 9},
    "energy": {"joules": 40.0, "measured": False},
}
ROW = {
    "key": "orin",
    "jobs": 3,
    "completion_tokens": 10,
    "joules": 20.0,
    "lost_joules": 7.0,
    "cancelled_joules": 3.0,
    "joules_per_token": 2.0,
    "measured_share": 1.0,
}


@pytest.fixture
async def server() -> AsyncIterator[NatsServer]:
    async with nats_server() as running:
        yield running


@asynccontextmanager
async def fleet(server: NatsServer, heat: list[float] | None = None) -> AsyncIterator[Bus]:
    """Beat for two devices, one of which is hot and slow, until the context ends; also across a restart of the server. The other
    has the last of the temperatures in `heat`."""

    async def beat(bus: Bus) -> None:
        seq = 0
        while True:
            seq += 1
            orin = {"watts": 9.5, "watts_measured": True, "temperature_c": heat[-1] if heat else 40.0}
            for device, more in (("orin", orin), ("pi5", {"throttling": ["heat"]})):
                body = {"device": device, "boot": "b", "seq": seq, "interval_s": 60.0, **more}
                try:
                    await bus.publish(SUBJECTS.heartbeat(device), codec.encode(body))
                except BusError:
                    pass  # the server is away
            await asyncio.sleep(BEAT_S)

    async with (
        connect_nats(NatsOptions(urls=(server.url,), name="fleet")) as bus,
        asyncio.TaskGroup() as tasks,
    ):
        beating = tasks.create_task(beat(bus))
        try:
            yield bus
        finally:
            beating.cancel()


@asynccontextmanager
async def ledger(bus: Bus, verb: str, answers: Sequence[dict[str, Any]]) -> AsyncIterator[list[dict[str, Any]]]:
    """Answer what the ledger is asked, one answer after the other; gives the questions."""
    asked: list[dict[str, Any]] = []
    async with asyncio.TaskGroup() as tasks:

        def answer(delivery: Delivery) -> None:
            asked.append(codec.decode(delivery.data))
            body = answers[min(len(asked), len(answers)) - 1]
            tasks.create_task(bus.publish(delivery.reply, codec.encode(body)))

        subscription = await bus.subscribe(SUBJECTS.ledger(verb), answer)
        await bus.flush()
        yield asked
        await subscription.unsubscribe()


async def listened(*arguments: str, cwd: Path, server: NatsServer, heard: Callable[[str], bool]) -> Finished:
    """Run a command that listens for a while; again and for longer when a busy machine was too late for it to hear all."""
    for_s = 0.5
    while True:
        end = await drover(*arguments, "--for", str(for_s), cwd=cwd, NATS_URL=server.url)
        if heard(end.out) or for_s > GUARD_S / 4:
            return end
        for_s *= 2


def both(out: str) -> bool:
    """Whether both devices were heard."""
    return "orin" in out and "pi5" in out


def as_it_was(terminal: Terminal) -> bool:
    """Whether a terminal shows what is typed, is back on its own screen, and has its cursor."""
    screens = terminal.drawn.count(OTHER_SCREEN), terminal.drawn.count(BACK)
    cursor = terminal.drawn[terminal.drawn.rindex("\x1b[?25l") :]
    return terminal.echoes and (1, 1) == screens and "\x1b[?25h" in cursor


@asynccontextmanager
async def watching(server: NatsServer, folder: Path) -> AsyncIterator[Terminal]:
    """Run it below a shell, which tells the status and stays, so that the terminal can be looked at afterwards."""
    shell = 'trap : INT; "$@"; echo "ended with $?"; read line'
    command = ("sh", "-c", shell, "sh", *DROVER, "top", "--every", "0.2")
    async with on_terminal(*command, cwd=folder, NATS_URL=server.url, DROVER_NATS_CONNECT_WAIT_S="20") as terminal:
        yield terminal


@pytest.mark.parametrize("ending", ["Ctrl-C", "SIGTERM"])
async def test_however_it_ends_the_terminal_is_as_it_was(server: NatsServer, tmp_path: Path, ending: str) -> None:
    """The other screen is left, the cursor is back, what is typed is shown again; the status tells how it ended. How it is after a
    `q`, the next test sees."""
    async with fleet(server), watching(server, tmp_path) as terminal:
        await terminal.until(r"pi5 +throttled.*slow: heat.*orin +ready +0/1 +9\.5")
        while_drawn = terminal.echoes
        if ending == "SIGTERM":
            [drawing] = psutil.Process(terminal.process.pid).children()
            drawing.terminate()
        else:
            terminal.type(b"\x03")
        status = await terminal.until(r"ended with (\d+)")
        after = as_it_was(terminal)

    assert {"Ctrl-C": "130", "SIGTERM": "143"}[ending] == status[1]
    assert (False, True) == (while_drawn, after)


async def test_a_lost_bus_is_told_and_found_again(server: NatsServer, tmp_path: Path) -> None:
    """The screen stays, says for how long there is no connection, and goes on when the server is back; `q` gives the terminal back
    as it was."""
    heat = [40.0]
    async with fleet(server, heat), watching(server, tmp_path) as terminal:
        await terminal.until(r"orin +ready +0/1 +9\.5 +40")
        await server.kill()
        await terminal.until(r"connection to nats://127\.0\.0\.1:\d+ lost \d+ s ago: trying again")
        await server.restart()
        heat.append(77.0)
        await terminal.until(r"drover top(?:(?!trying again|drover top).)* 9\.5 +77(?:(?!drover top).)*q quits")
        terminal.type(b"q")
        status = await terminal.until(r"ended with (\d+)")
        after = as_it_was(terminal)

    assert ("0", True) == (status[1], after)


async def test_a_pipe_gets_it_once(server: NatsServer, tmp_path: Path) -> None:
    """Without a terminal it is printed once, whole, with neither colours nor keys."""
    async with fleet(server):
        end = await listened("top", cwd=tmp_path, server=server, heard=both)

    assert (0, "") == (end.status, end.err)
    assert (True, True, False, False) == (
        "9.5 W +1 unknown" in end.out, "slow: heat" in end.out, "\x1b" in end.out, "q quits" in end.out,
    )  # fmt: skip


async def test_programs_get_json(server: NatsServer, tmp_path: Path) -> None:
    """All that is known, with null for what nobody knows; an empty fleet is an answer, too. The ledger sums today by day: of
    tenants there may be more than it tells at once."""

    def all_of_it(out: str) -> bool:
        return both(out) and json.loads(out)["today"] is not None

    nobody = await drover("top", "--json", "--for", "0.2", cwd=tmp_path, NATS_URL=server.url)
    async with fleet(server) as bus, ledger(bus, "energy", [{"rows": [ROW, {**ROW, "key": "pi5"}]}]) as asked:
        end = await listened("top", "--json", cwd=tmp_path, server=server, heard=all_of_it)
    told, empty = json.loads(end.out), json.loads(nobody.out)

    assert ["orin", "pi5"] == [device["name"] for device in told["devices"]]
    assert (9.5, 1, [], 40.0) == (told["watts"], told["unmetered"], told["jobs"], told["today"]["joules"])
    assert {"day"} == {one["by"] for one in asked}
    assert ([], None, None) == (empty["devices"], empty["watts"], empty["today"])


async def test_nobody_there_is_told_with_the_way_out(server: NatsServer, tmp_path: Path) -> None:
    """As `drover devices` tells it."""
    end = await drover("top", "--once", "--for", "0.2", cwd=tmp_path, NATS_URL=server.url)

    assert (1, "") == (end.status, end.out)
    assert "no device has sent a heartbeat in 0.2 s: start one with drover-agent" in end.err


async def test_devices_tell_watts_and_what_is_wrong(server: NatsServer, tmp_path: Path) -> None:
    """As a table with a line for each warning, and as JSON with what follows from the heartbeats."""
    async with fleet(server):
        table = await listened("devices", cwd=tmp_path, server=server, heard=both)
        told = await listened("devices", "--json", cwd=tmp_path, server=server, heard=both)
    seen = {one["device"]: one for one in json.loads(told.out)}

    assert (True, True) == ("│   9.5 │" in table.out, "pi5: slow: heat" in table.out)
    assert ("throttled", "ready", 9.5) == (seen["pi5"]["seen"], seen["orin"]["seen"], seen["orin"]["watts"])
    assert all(one["silent_s"] >= 0 and one["on_gpu"] is None for one in seen.values())


@pytest.mark.parametrize("verb", ["jobs", "energy"])
async def test_no_ledger_is_told_with_the_way_out(server: NatsServer, tmp_path: Path, verb: str) -> None:
    """At once, and how to start one."""
    end = await drover(verb, cwd=tmp_path, NATS_URL=server.url)

    assert (1, "") == (end.status, end.out)
    assert "no ledger answers: `drover up` starts one" in end.err


async def test_jobs_are_asked_for_page_by_page(server: NatsServer, tmp_path: Path) -> None:
    """What the options say is what the ledger is asked, and the next page begins where the first one ended."""
    pages = [{"jobs": [JOB], "next": "here"}, {"jobs": [JOB]}]
    options = ("--tenant", "acme", "--state", "done", "--limit", "2", "--since", "2026-11-20")
    async with (
        connect_nats(NatsOptions(urls=(server.url,), name="ledger")) as bus,
        ledger(bus, "jobs", pages) as asked,
    ):
        end = await drover("jobs", "--json", *options, cwd=tmp_path, NATS_URL=server.url)

    assert (0, [JOB, JOB]) == (end.status, json.loads(end.out))
    assert [("acme", "done", 2, None), ("acme", "done", 1, "here")] == [
        (one["tenant"], one["state"], one["limit"], one.get("before")) for one in asked
    ]


async def test_energy_is_a_table_json_and_a_plot(server: NatsServer, tmp_path: Path) -> None:
    """The sums of the ledger as people read them, as programs do, and as a picture."""
    pytest.importorskip("matplotlib", reason="of the extra lab")
    async with (
        connect_nats(NatsOptions(urls=(server.url,), name="ledger")) as bus,
        ledger(bus, "energy", [{"rows": [ROW], "more": True}]) as asked,
    ):
        options = ("--by", "model", "--since", "24h")
        (tmp_path / "out").mkdir()
        table = await drover("energy", *options, "--plot", "out/e.png", cwd=tmp_path, NATS_URL=server.url)
        told = await drover("energy", "--json", cwd=tmp_path, NATS_URL=server.url)

    said = "drover: these are 1 of more groups: --limit shows more, --since fewer\ndrover: drawn to out/e.png\n"
    assert (0, said) == (table.status, table.err)
    assert (True, "orin") == ("20.0 J" in table.out, json.loads(told.out)[0]["key"])
    assert (True, True) == ("7.00 J" in table.out, "3.00 J" in table.out)
    assert (7.0, 3.0) == tuple(json.loads(told.out)[0][name] for name in ("lost_joules", "cancelled_joules"))
    assert b"\x89PNG" == (tmp_path / "out/e.png").read_bytes()[:4]
    assert ["model", "device"] == [one["by"] for one in asked]

"""`drover cache` and what `drover ask` tells of a hit: real processes and a real server, with scripted dispatchers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import DROVER, Finished, drover
from tests.nats_server import NatsServer, free_port, nats_server
from tests.scripted_cache import ENTRY, SILENT, Answers, Order, cache_keeper, stats
from tests.scripted_fleet import ScriptedJob, scripted_fleet
from tests.terminal import on_terminal

HOSTILE = "say [bold]hi[/bold]\x1b[2J\x07 \u202eevil\nand more"
"""Markup of ours, an order to the terminal, a bell, and a sign that turns the line around."""

SHOWN = ("[bold]hi[/bold]", r"\x1b[2J\x07", r"\u202eevil")
"""The same as it may be drawn, in pieces that a narrow column breaks between."""

RECEIPT = {"job": "j0", "total_s": 3.2, "energy_j": 14.1, "usage": {"completion_tokens": 212}, "simulated": True}
GONE = {"error": {"code": "unknown_job", "message": "no entry and no job is called that"}}


@pytest.fixture
async def server() -> AsyncIterator[NatsServer]:
    async with nats_server() as running:
        yield running


def kept(dispatcher: str, *entries: dict[str, Any], store: str = "memory", **more: Any) -> dict[str, Any]:
    return {"dispatcher": dispatcher, "store": store, "entries": [{**ENTRY, **entry} for entry in entries], **more}


async def asked(
    server: NatsServer, cwd: Path, *arguments: str, columns: str = "80", **keepers: Answers
) -> tuple[Finished, list[Order]]:
    """Run `drover cache` before dispatchers that answer so; gives its end, and what the first of them heard."""
    heard: list[Order] = []
    if not keepers:
        return await drover("cache", *arguments, cwd=cwd, NATS_URL=server.url, COLUMNS=columns), heard
    (name, answers), *others = keepers.items()
    async with cache_keeper(server.url, name, answers) as mine:
        end, _ = await asked(server, cwd, *arguments, columns=columns, **dict(others))
    return end, mine


async def test_stats_of_all_dispatchers(server: NatsServer, tmp_path: Path) -> None:
    """A line for each dispatcher, and their sum; why there was no hit stands below."""
    end, heard = await asked(
        server, tmp_path, "stats", d1={"stats": stats("d1")}, d2={"stats": stats("d2", mode="semantic")}
    )
    lines = end.out.splitlines()
    rows = [line.strip("│").split("│")[0].strip() for line in lines if line.startswith("│")]

    assert (end.status, end.err, rows, heard) == (0, "", ["d1", "d2", "all"], [Order("stats", None, {})])
    assert ["refused: tools 8", "not kept: too long 2", "made room: 2, expired: 0, reported wrong: 2"] == lines[-4:-1]


async def test_stats_as_json(server: NatsServer, tmp_path: Path) -> None:
    """A script gets what each dispatcher said, as it said it."""
    end, heard = await asked(server, tmp_path, "stats", "--json", "--tenant", "alice", d1={"stats": stats("d1")})

    assert (end.status, json.loads(end.out)) == (0, {"dispatchers": [stats("d1")], "silent": []})
    assert heard == [Order("stats", "alice", {})]


async def test_who_did_not_answer(server: NatsServer, tmp_path: Path) -> None:
    """What the others said is shown, the silent one is named, and the exit status says that it was not all."""
    end, _ = await asked(
        server, tmp_path, "purge", d1={"purge": {"dispatcher": "d1", "removed": 1}}, d2={"purge": b" "}
    )
    garbled = (end.status, end.out, "can't be read" in end.err)
    async with cache_keeper(server.url, "d3", {"stats": SILENT}):
        end, _ = await asked(server, tmp_path, "stats", d1={"stats": stats("d1")})

    assert garbled == (1, "1 entry forgotten\n", True)
    assert (end.status, "d1" in end.out, end.err) == (
        1,
        True,
        "drover: d3 did not answer: what is told is without it\n",
    )


@pytest.mark.parametrize("verb", [("stats",), ("show",), ("purge",), ("report-bad", "0123456")])
async def test_without_a_dispatcher(server: NatsServer, tmp_path: Path, verb: tuple[str, ...]) -> None:
    """Every verb says that none runs, and how to start one."""
    end, _ = await asked(server, tmp_path, *verb)

    assert (end.status, end.out) == (1, "")
    assert end.err == "drover: no dispatcher runs: start one (`drover dispatcher`), or `make up`\n"


async def test_without_a_server(tmp_path: Path) -> None:
    """As the neighbours: one line, and status 1."""
    end = await drover(
        "cache", "stats", cwd=tmp_path, NATS_URL=f"nats://127.0.0.1:{free_port()}", DROVER_NATS_CONNECT_WAIT_S="0.2"
    )

    assert (end.status, end.out, end.err.startswith("drover: "), len(end.err.splitlines())) == (1, "", True, 1)


async def test_the_list_of_entries(server: NatsServer, tmp_path: Path) -> None:
    """Of two processes with stores of their own both entries are listed, of a Redis that two share each once."""
    entry = kept("d1", {"question": "Why?"}, {"id": "f" * 16, "question": "How?"}, store="redis")
    shared, heard = await asked(server, tmp_path, "show", "--limit", "7", d1={"show": entry}, d2={"show": entry})
    apart, _ = await asked(server, tmp_path, "show", "--json", d1={"show": kept("d1", {})}, d2={"show": kept("d2", {})})

    assert (shared.status, shared.out.count("Why?"), shared.out.count("f" * 16)) == (0, 1, 1)
    assert heard == [Order("show", None, {"limit": 7})]
    assert [entry["dispatcher"] for entry in json.loads(apart.out)["entries"]] == ["d1", "d2"]


async def test_no_entries(server: NatsServer, tmp_path: Path) -> None:
    """An empty cache is no error."""
    end, _ = await asked(server, tmp_path, "show", d1={"show": kept("d1")})

    assert (end.status, end.out) == (0, "no entries\n")


async def test_one_entry_whole(server: NatsServer, tmp_path: Path) -> None:
    """An id, or its beginning, shows question and answer, who gave it and what that took."""
    answer = kept("d1", {}, text="Because of Rayleigh.\nReally.", receipt=RECEIPT)
    end, heard = await asked(server, tmp_path, "show", "0123", d1={"show": answer}, d2={"show": kept("d2")})
    as_json, _ = await asked(server, tmp_path, "show", "0123", "--json", d1={"show": answer})

    assert (end.status, heard) == (0, [Order("show", None, {"id": "0123"})])
    assert end.out.endswith("\n\nBecause of Rayleigh.\nReally.\n")
    assert "took      3.2 s, 212 tokens, about 14.1 J, simulated" in [line.rstrip() for line in end.out.splitlines()]
    assert json.loads(as_json.out)["entries"][0]["text"] == "Because of Rayleigh.\nReally."


async def test_several_entries_of_one_beginning(server: NatsServer, tmp_path: Path) -> None:
    """They are listed, so that more characters can be given."""
    end, _ = await asked(server, tmp_path, "show", "0123", d1={"show": kept("d1", {}, {"id": "0123" + "f" * 12})})

    assert (end.status, "0123456789abcdef" in end.out, "0123ffffffffffff" in end.out) == (0, True, True)


@pytest.mark.parametrize(
    ("which", "says"),
    [("beef", "no entry has an id that begins with beef"), ("no id", "'no id' is no id"), ("", "'' is no id")],
)
async def test_no_such_entry(server: NatsServer, tmp_path: Path, which: str, says: str) -> None:
    """The line says what was looked for, and the status that it is not there."""
    end, _ = await asked(server, tmp_path, "show", which, d1={"show": kept("d1")})

    assert (end.status, end.out, says in end.err) == (1, "", True)


@pytest.mark.parametrize("whole", [False, True])
async def test_what_people_asked_steers_no_terminal(server: NatsServer, tmp_path: Path, whole: bool) -> None:
    """Control characters are written out and markup is text, in the list and in an entry, in question, names and answer."""
    entry = {"question": HOSTILE, "model": "m[red]\x1b[1m", "device": "a\x1b]0;x\x07", "tenant": "t\x1b[3m"}
    answer = kept("d\x1b[4m", entry, **({"text": HOSTILE} if whole else {}))
    arguments = ["show", "0123"] if whole else ["show"]
    end, _ = await asked(server, tmp_path, *arguments, columns="200", d1={"show": answer})

    assert (end.status, [char for char in end.out if not char.isprintable() and char != "\n"]) == (0, [])
    assert [] == [piece for piece in SHOWN if piece not in end.out]


async def test_purge_of_a_tenant(server: NatsServer, tmp_path: Path) -> None:
    """Without a terminal nobody is asked; the count stands on one line."""
    answer = {"dispatcher": "d1", "store": "redis", "removed": 3}
    end, heard = await asked(
        server, tmp_path, "purge", "--tenant", "alice", d1={"purge": answer}, d2={"purge": {**answer, "removed": 0}}
    )
    as_json, _ = await asked(server, tmp_path, "purge", "--json", "--yes", d1={"purge": answer})

    assert (end.status, end.out, heard) == (0, "3 entries forgotten\n", [Order("purge", "alice", {})])
    assert json.loads(as_json.out) == {"removed": 3, "silent": []}


async def test_purge_that_fails(server: NatsServer, tmp_path: Path) -> None:
    """When a dispatcher can't reach its Redis, what went elsewhere is told, and that it was not all."""
    away = {"error": {"code": "cache", "message": "Redis is away"}}
    end, _ = await asked(
        server, tmp_path, "purge", d1={"purge": {"dispatcher": "d1", "removed": 2}}, d2={"purge": away}
    )

    assert (end.status, end.out, end.err) == (
        1,
        "2 entries forgotten\n",
        "drover: a dispatcher could not: Redis is away\n",
    )


@pytest.mark.parametrize(
    ("says", "status", "orders"),
    [("n\r", 1, 0), ("\r", 1, 0), ("y\r", 0, 1), (None, 0, 1)],
)
async def test_purge_asks_on_a_terminal(
    server: NatsServer, tmp_path: Path, says: str | None, status: int, orders: int
) -> None:
    """Only a yes goes on; `--yes` is one. Nothing is asked of the fleet before."""
    extra = ("--yes",) if says is None else ()
    answers: Answers = {"purge": {"dispatcher": "d1", "store": "memory", "removed": 2}}
    async with (
        cache_keeper(server.url, "d1", answers) as heard,
        on_terminal(
            *DROVER, "cache", "purge", *extra, cwd=tmp_path, NATS_URL=server.url, DROVER_NATS_CONNECT_WAIT_S="20"
        ) as terminal,
    ):
        if says is not None:
            await terminal.until(r"forget all kept answers of all tenants\? \[y/N\]")
            terminal.type(says.encode())
        await terminal.until("nothing was forgotten|2 entries forgotten")

        assert (await terminal.ended(), len(heard)) == (status, orders)


async def test_purge_ended_by_ctrl_c(server: NatsServer, tmp_path: Path) -> None:
    """At the question too it ends as every verb does."""
    async with on_terminal(*DROVER, "cache", "purge", "--tenant", "bob", cwd=tmp_path, NATS_URL=server.url) as terminal:
        await terminal.until("forget all kept answers of the tenant bob")
        terminal.type(b"\x03")

        assert await terminal.ended() == 130


async def test_a_wrong_answer_is_reported(server: NatsServer, tmp_path: Path) -> None:
    """What went with it is told once, whoever removed it; a dispatcher that does not know it is no trouble."""
    removed = {"dispatcher": "d1", "store": "redis", "removed": ["0123456789abcdef", "f" * 16]}
    end, heard = await asked(
        server, tmp_path, "report-bad", "0123456", "--tenant", "a", d1={"report": removed}, d2={"report": GONE}
    )
    as_json, _ = await asked(server, tmp_path, "report-bad", "j7job-id", "--json", d1={"report": removed})

    assert (end.status, end.out, end.err) == (0, f"0123456789abcdef removed\n{'f' * 16} removed\n", "")
    assert heard == [Order("report", "a", {"id": "0123456"})]
    assert json.loads(as_json.out) == {"removed": removed["removed"], "silent": []}


async def test_a_report_of_what_is_gone(server: NatsServer, tmp_path: Path) -> None:
    """The report counts, though its entry went before."""
    end, _ = await asked(server, tmp_path, "report-bad", "0123456", d1={"report": {"dispatcher": "d1", "removed": []}})

    assert (end.status, end.out) == (0, "")
    assert end.err == "drover: the report is counted; its entry was gone already\n"


@pytest.mark.parametrize(
    ("which", "says"), [("01234", "is too short"), ("0123456", "no entry and no job is called that")]
)
async def test_a_report_of_nothing(server: NatsServer, tmp_path: Path, which: str, says: str) -> None:
    """An id that is too short, or that nobody knows, is an error."""
    end, _ = await asked(server, tmp_path, "report-bad", which, d1={"report": GONE}, d2={"report": GONE})

    assert (end.status, end.out, says in end.err) == (1, "", True)


@pytest.mark.parametrize(
    "arguments",
    [("show", "--limit", "0"), ("show", "--limit", "1001"), ("report-bad",), ("purge", "--all"), ("forget",)],
)
async def test_wrong_usage(server: NatsServer, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Status 2, and nobody is asked."""
    end, heard = await asked(server, tmp_path, *arguments, d1={})

    assert (end.status, heard) == (2, [])


async def test_a_tenant_that_is_no_name(server: NatsServer, tmp_path: Path) -> None:
    """It would be a part of a subject: nobody is asked."""
    end, heard = await asked(server, tmp_path, "stats", "--tenant", "a.b", d1={"stats": stats("d1")})

    assert (end.status, "'a.b' is not a name" in end.err, heard) == (1, True, [])


HIT: dict[str, Any] = {
    "outcome": "hit",
    "kind": "exact",
    "saved": {"s": 3.2, "tokens": 212, "energy_j": 14.1, "energy_estimated": True},
}


async def test_ask_sends_what_is_wished_and_tells_a_hit(server: NatsServer, tmp_path: Path) -> None:
    """Cache and user go with the question; the last line says that the answer was given before, and what that saved."""

    async def script(job: ScriptedJob) -> None:
        await job.ack()
        await job.hit(HIT)
        await job.token("As I said.")
        await job.end()

    async with scripted_fleet(server.url) as fleet:
        fleet.script = script
        command = (*DROVER, "ask", "Hi", "--cache", "semantic", "--user", "alice")
        async with on_terminal(*command, cwd=tmp_path, NATS_URL=server.url, columns=300) as terminal:
            line = await terminal.until("cache · llama3.2:3b · exact: answered 34 s ago by pi5-1 · [^\n]*")
        job = await fleet.jobs.get()

    assert ("semantic", "alice") == (job.request["cache"], job.request["user"])
    assert line[0].endswith("saved 3.2 s, 212 tokens, about 14.1 J · simulated")
    assert "tokens/s" not in line[0]


@pytest.mark.parametrize(
    ("option", "value", "status"), [("--cache", "on", 2), ("--user", "", 1), ("--user", "x" * 257, 1)]
)
async def test_ask_for_what_can_not_be(
    server: NatsServer, tmp_path: Path, option: str, value: str, status: int
) -> None:
    """A wrong word and a user without a name, or with too long a one, are refused before anything is sent."""
    end = await drover("ask", "Hi", option, value, cwd=tmp_path, NATS_URL=server.url)

    assert (end.status, end.out, option.strip("-") in end.err) == (status, "", True)

"""`drover ask`, `devices` and `cancel` against a dispatcher whose answers the test writes."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shutil
import signal
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.errors import Interrupted, NoDevice, UnknownModel
from tests.commands import DROVER, GUARD_S, clean_environment, drover, started
from tests.nats_server import NatsServer, free_port, nats_server
from tests.scripted_fleet import ScriptedFleet, ScriptedJob, greet, scripted_fleet

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def server() -> AsyncIterator[NatsServer]:
    async with nats_server() as running:
        yield running


@pytest.fixture
async def fleet(server: NatsServer) -> AsyncIterator[ScriptedFleet]:
    async with scripted_fleet(server.url) as joined:
        yield joined


async def refuse(job: ScriptedJob) -> None:
    await job.ack()
    await job.fail(UnknownModel("no device has the model gpt-17; the fleet has llama3.2:1b"))


async def hang(job: ScriptedJob) -> None:
    await job.ack()
    await job.route()
    await job.token("Once upon")
    await job.cancelled.wait()


def contents(job: ScriptedJob) -> list[str]:
    return [message["content"] for message in job.request["messages"]]


async def break_off(job: ScriptedJob) -> None:
    await job.ack()
    await job.route()
    await job.token("Once upon")
    await job.fail(UnknownModel("it is gone"))


async def test_an_error_amid_the_text_stands_on_a_line_of_its_own(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path
) -> None:
    """The text so far ends with a line break."""
    fleet.script = break_off
    end = await drover("ask", "Hi", cwd=tmp_path, NATS_URL=server.url)

    assert (end.status, end.out, end.err) == (1, "Once upon\n", "drover: it is gone\n")


async def test_a_question_is_asked_for_the_tenant_that_is_named(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path
) -> None:
    """Its subject carries the tenant."""
    heard: list[str] = []
    await fleet.bus.subscribe("llm.v1.chat.*", lambda delivery: heard.append(delivery.subject))
    await fleet.bus.flush()
    end = await drover("ask", "Hi", "--tenant", "kitchen", cwd=tmp_path, NATS_URL=server.url)

    assert (end.status, heard) == (0, ["llm.v1.chat.kitchen"])


async def test_the_answer_goes_to_standard_output_and_nothing_else(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path
) -> None:
    """The text and a line break; the footer is for terminals only."""
    end = await drover("ask", "Hi", cwd=tmp_path, NATS_URL=server.url)

    assert (end.status, end.out, end.err) == (0, "Hello there!\n", "")


@pytest.mark.parametrize("option", ["--no-stream", "--stream"])
async def test_streaming_changes_when_not_what(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path, option: str
) -> None:
    """The same text at the end."""
    assert (await drover("ask", option, "Hi", cwd=tmp_path, NATS_URL=server.url)).out == "Hello there!\n"


async def test_the_options_reach_the_dispatcher(server: NatsServer, fleet: ScriptedFleet, tmp_path: Path) -> None:
    """Model, device, system prompt, sampling and time-out travel with the request."""
    options = ["--model", "m", "--device", "nano", "--system", "Be brief.", "--max-tokens", "5", "--temperature", "0.5"]
    await drover("ask", *options, "--timeout", "9", "Hi", cwd=tmp_path, NATS_URL=server.url)
    job = await fleet.jobs.get()
    chosen = {key: job.request[key] for key in ("model", "device", "timeout_s")}
    sampling = {key: job.request["options"][key] for key in ("max_tokens", "temperature")}

    assert (contents(job), chosen, sampling) == (
        ["Be brief.", "Hi"],
        {"model": "m", "device": "nano", "timeout_s": 9.0},
        {"max_tokens": 5, "temperature": 0.5},
    )


async def test_json_is_one_object_with_the_route(server: NatsServer, fleet: ScriptedFleet, tmp_path: Path) -> None:
    """For scripts."""
    told = json.loads((await drover("ask", "--json", "Hi", cwd=tmp_path, NATS_URL=server.url)).out)

    assert (
        told["text"],
        told["device"],
        told["route"]["score"],
        told["usage"]["total_tokens"],
    ) == ("Hello there!", "nano", 0.81, 10)


async def test_the_prompt_may_come_from_standard_input(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path
) -> None:
    """`-` reads all of it."""
    await drover("ask", "-", cwd=tmp_path, stdin="two\nlines", NATS_URL=server.url)

    assert contents(await fleet.jobs.get()) == ["two\nlines"]


async def test_a_prompt_that_is_not_utf8_is_one_clear_line(tmp_path: Path) -> None:
    """Bytes of another encoding, by pipe or as an argument: where they stand and what to do, before anything is connected."""
    piped = await drover("ask", "-", cwd=tmp_path, stdin=b"Gr\xfc\xdfe\n")
    given = await drover("ask", os.fsdecode(b"Hi\xff"), cwd=tmp_path)
    way_out = "convert it, for example with iconv -f latin1 -t utf-8\n"

    assert (
        (1, f"drover: standard input is not UTF-8 (line 1, byte 3: 0xfc): {way_out}"),
        (1, f"drover: the prompt is not UTF-8 (line 1, byte 3: 0xff): {way_out}"),
    ) == ((piped.status, piped.err), (given.status, given.err))


async def test_the_speed_is_the_same_in_json_and_in_csv(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path
) -> None:
    """What the device's engine measured, though the dispatcher's clock says 3 / (1.25 - 0.31) = 3.2."""
    source = questions(tmp_path / "q.jsonl", {"prompt": "Hi"})
    told = json.loads((await drover("ask", "--json", "Hi", cwd=tmp_path, NATS_URL=server.url)).out)
    end = await drover("ask", "--file", str(source), "-o", "out.csv", cwd=tmp_path, NATS_URL=server.url)
    [row] = records(tmp_path / "out.csv")

    assert (17.4, "17.400", True) == (told["tokens_per_s"], row["tokens_per_s"], "17.4 │" in end.err)


async def test_a_typed_error_is_one_line_and_status_1(server: NatsServer, fleet: ScriptedFleet, tmp_path: Path) -> None:
    """The dispatcher's own words, no traceback."""
    fleet.script = refuse
    end = await drover("ask", "--model", "gpt-17", "Hi", cwd=tmp_path, NATS_URL=server.url)

    assert (
        end.status,
        end.out,
        end.err,
    ) == (1, "", "drover: no device has the model gpt-17; the fleet has llama3.2:1b\n")


async def test_without_a_dispatcher_it_says_so(server: NatsServer, tmp_path: Path) -> None:
    """NATS answers for it: nobody listens."""
    end = await drover("ask", "Hi", cwd=tmp_path, NATS_URL=server.url)

    assert (
        end.status,
        end.err,
    ) == (1, "drover: no dispatcher listens on the bus: start one with `drover dispatcher` or `make up`\n")


async def test_without_a_server_it_says_where_it_looked(tmp_path: Path) -> None:
    """The port comes from DROVER_NATS_PORT when NATS_URL is not set."""
    port = free_port()
    end = await drover("ask", "Hi", cwd=tmp_path, DROVER_NATS_PORT=str(port), DROVER_NATS_CONNECT_WAIT_S="0.5")

    assert (end.status, len(end.err.splitlines()), f"nats://127.0.0.1:{port}" in end.err) == (1, 1, True)


@pytest.mark.parametrize(
    "arguments", [[], ["Hi", "--file", "x.csv"], ["--max-tokens", "0", "Hi"], ["--nonsense"], ["Hi", "there"]]
)
async def test_wrong_usage_is_status_2(tmp_path: Path, arguments: list[str]) -> None:
    """Before anything is connected."""
    assert (await drover("ask", *arguments, cwd=tmp_path)).status == 2


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_ctrl_c_cancels_the_job(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """The device must not go on writing for nobody; no traceback either."""
    fleet.script = hang
    environment = clean_environment(NATS_URL=server.url)
    async with (
        started(*DROVER, "ask", "Hi", cwd=tmp_path, env=environment, stdout=PIPE, stderr=PIPE) as process,
        asyncio.timeout(GUARD_S),
    ):
        assert process.stdout is not None
        assert await process.stdout.readexactly(9) == b"Once upon"
        os.kill(process.pid, number)
        cancelled = await fleet.cancels.get()
        _, err = await process.communicate()
    job = await fleet.jobs.get()

    assert (job.id, status, b"") == (cancelled, process.returncode, err)


async def test_the_end_of_a_pipe_is_no_traceback(server: NatsServer, fleet: ScriptedFleet, tmp_path: Path) -> None:
    """`drover ask … | head -c 3`: the reader goes, the job is cancelled, and nobody complains."""

    async def chatter(job: ScriptedJob) -> None:
        await job.ack()
        while not job.cancelled.is_set():
            await job.token("word " * 1000)
            await asyncio.sleep(0.005)  # without a pause NATS drops a reader that a busy machine holds up

    fleet.script = chatter
    command = " ".join([*DROVER, "ask Hi | head -c 3; exit ${PIPESTATUS[0]}"])
    environment = clean_environment(NATS_URL=server.url)
    async with (
        started("bash", "-c", command, cwd=tmp_path, env=environment, stdout=PIPE, stderr=PIPE) as process,
        asyncio.timeout(GUARD_S),
    ):
        out, err = await process.communicate()
        await fleet.cancels.get()

    assert (out, err, process.returncode) == (b"wor", b"", 1)


TRICKY = """It's "quoted", costs $5 & `more`; $(not run) \\ and #1 100% $$ done"""


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
async def test_make_ask_sends_the_prompt_as_it_was_typed(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path
) -> None:
    """Quotes, dollars and back-ticks mean nothing to make or to the shell."""
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "drover"
    wrapper.write_text(f'#!/bin/sh\nexec {" ".join(DROVER)} "$@"\n')
    wrapper.chmod(0o755)
    command = ("make", "--no-print-directory", "-C", str(ROOT), "-o", "setup", "ask")
    environment = clean_environment(NATS_URL=server.url)
    async with (
        started(
            *command, f"BIN={tmp_path}/bin", f"PROMPT={TRICKY}", env=environment, stdout=PIPE, stderr=PIPE
        ) as process,
        asyncio.timeout(GUARD_S),
    ):
        out, err = await process.communicate()

    assert (out, err, contents(await fleet.jobs.get())) == (b"Hello there!\n", b"", [TRICKY])


def questions(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def records(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


async def test_a_file_of_conversations_becomes_a_row_per_turn(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path
) -> None:
    """In the order of the file, with where and how fast, whatever was done first."""
    source = questions(
        tmp_path / "q.jsonl",
        {"question_id": 81, "category": "writing", "turns": ["Write.", "Rewrite."]},
        {"prompt": "Hi"},
    )
    end = await drover("ask", "--file", str(source), "-o", "out.csv", cwd=tmp_path, NATS_URL=server.url)
    rows = records(tmp_path / "out.csv")

    assert (0, [("81", "1"), ("81", "2"), ("2", "1")], {("writing", "nano", "1.250"), ("", "nano", "1.250")}) == (
        end.status,
        [(row["id"], row["turn"]) for row in rows],
        {(row["category"], row["device"], row["total_s"]) for row in rows},
    )


async def test_a_later_turn_carries_the_earlier_answer(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path
) -> None:
    """The second request holds question, answer, question."""
    source = questions(tmp_path / "q.jsonl", {"turns": ["Write.", "Rewrite."]})
    await drover("ask", "--file", str(source), "-o", "out.csv", "--system", "S", cwd=tmp_path, NATS_URL=server.url)
    first, second = await fleet.jobs.get(), await fleet.jobs.get()

    assert (contents(first), contents(second)) == (["S", "Write."], ["S", "Write.", "Hello there!", "Rewrite."])


async def test_no_more_conversations_run_at_once_than_allowed(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path
) -> None:
    """With --concurrency 2 of five, never three."""
    running, most, both = 0, 0, asyncio.Event()

    async def counted(job: ScriptedJob) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            both.set()
        async with asyncio.timeout(GUARD_S):
            await both.wait()
        await greet(job)
        running -= 1

    fleet.script = counted
    source = questions(tmp_path / "q.jsonl", *({"prompt": str(number)} for number in range(5)))
    end = await drover("ask", "--file", str(source), "-c", "2", "-o", "-", cwd=tmp_path, NATS_URL=server.url)

    assert (end.status, most, len(end.out.splitlines())) == (0, 2, 6)


async def test_an_answer_that_broke_off_is_asked_for_again(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path
) -> None:
    """Nobody has read the first half, so the whole is asked for anew, and the row tells it."""
    tries = 0

    async def breaks_once(job: ScriptedJob) -> None:
        nonlocal tries
        tries += 1
        if tries > 1:
            return await greet(job)
        await job.ack()
        await job.token("Half of")
        return await job.fail(Interrupted())

    fleet.script = breaks_once
    source = questions(tmp_path / "q.jsonl", {"prompt": "Hi"})
    end = await drover("ask", "--file", str(source), "-o", "out.csv", cwd=tmp_path, NATS_URL=server.url)
    [row] = records(tmp_path / "out.csv")

    assert (end.status, row["text"], row["asked"], row["error"]) == (0, "Hello there!", "2", "")


async def test_a_failure_is_told_in_row_table_and_status(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path
) -> None:
    """What can't be mended is not tried again, and what hangs on it is not asked."""

    async def only_the_second_conversation(job: ScriptedJob) -> None:
        await (greet if "Hi" in contents(job) else refuse)(job)

    fleet.script = only_the_second_conversation
    source = questions(tmp_path / "q.jsonl", {"id": "a", "turns": ["One.", "Two."]}, {"id": "b", "prompt": "Hi"})
    end = await drover("ask", "--file", str(source), "-o", "out.csv", cwd=tmp_path, NATS_URL=server.url)
    errors = [(row["id"], row["asked"], row["error"].partition(":")[0]) for row in records(tmp_path / "out.csv")]

    assert (
        end.status,
        errors,
        "1 of 3 answered" in end.err,
    ) == (1, [("a", "1", "unknown_model"), ("a", "0", "unknown_model"), ("b", "1", "")], True)


async def test_retries_come_to_an_end(server: NatsServer, fleet: ScriptedFleet, tmp_path: Path) -> None:
    """--retries 1 asks twice."""

    async def never(job: ScriptedJob) -> None:
        await job.ack()
        await job.fail(NoDevice(retry_after_s=0.01))

    fleet.script = never
    source = questions(tmp_path / "q.jsonl", {"prompt": "Hi"})
    end = await drover("ask", "--file", str(source), "--retries", "1", "-o", "-", cwd=tmp_path, NATS_URL=server.url)

    assert (end.status, fleet.jobs.qsize()) == (1, 2)


async def test_without_an_output_the_rows_go_to_results(
    server: NatsServer, fleet: ScriptedFleet, tmp_path: Path
) -> None:
    """A name of its own for each run, and the run says it."""
    source = questions(tmp_path / "q.jsonl", {"prompt": "Hi"})
    end = await drover("ask", "--file", str(source), cwd=tmp_path, NATS_URL=server.url)
    [written] = (tmp_path / "results").iterdir()

    assert (written.name.startswith("q-"), f"1 rows in results/{written.name}" in end.err) == (True, True)


async def test_ctrl_c_keeps_what_was_answered(server: NatsServer, fleet: ScriptedFleet, tmp_path: Path) -> None:
    """The finished rows are written, the running job is cancelled."""

    async def second_hangs(job: ScriptedJob) -> None:
        await (greet if "a" in contents(job) else hang)(job)

    fleet.script = second_hangs
    source = questions(tmp_path / "q.jsonl", {"prompt": "a"}, {"prompt": "b"})
    command = (*DROVER, "ask", "--file", str(source), "-c", "1", "-o", "out.csv")
    environment = clean_environment(NATS_URL=server.url)
    async with (
        started(*command, cwd=tmp_path, env=environment, stderr=PIPE) as process,
        asyncio.timeout(GUARD_S),
    ):
        await fleet.jobs.get()
        await fleet.jobs.get()
        process.send_signal(signal.SIGINT)
        await fleet.cancels.get()
        _, err = await process.communicate()

    assert (
        process.returncode,
        [row["text"] for row in records(tmp_path / "out.csv")],
        b"Traceback" in err,
    ) == (130, ["Hello there!"], False)


async def test_a_bad_file_is_named_with_its_line(tmp_path: Path) -> None:
    """Before anything is connected."""
    (tmp_path / "q.jsonl").write_text('{"prompt": "a"}\n{')
    end = await drover("ask", "--file", "q.jsonl", cwd=tmp_path)

    assert (end.status, end.err.startswith("drover: q.jsonl line 2: not JSON")) == (1, True)


async def test_devices_shows_who_sends_heartbeats(server: NatsServer, fleet: ScriptedFleet, tmp_path: Path) -> None:
    """As a table, or the whole heartbeats as JSON."""
    async with asyncio.TaskGroup() as tasks:
        stop = asyncio.Event()

        async def beating() -> None:
            while not stop.is_set():
                await fleet.beat("nano")
                await asyncio.sleep(0.1)

        tasks.create_task(beating())
        # Longer than a busy machine's pauses, and both at once.
        asked = [
            tasks.create_task(drover("devices", *form, "--for", "3", cwd=tmp_path, NATS_URL=server.url))
            for form in ((), ("--json",))
        ]
        table, told = await asked[0], json.loads((await asked[1]).out)
        stop.set()

    assert (
        "nano" in table.out and "ready" in table.out and "llama3.2:1b" in table.out,
        [beat["device"] for beat in told],
        [model["name"] for model in told[0]["models"]],
    ) == (True, ["nano"], ["llama3.2:1b"])


async def test_devices_without_any_is_status_1(server: NatsServer, tmp_path: Path) -> None:
    """An empty fleet is no success for a script."""
    end = await drover("devices", "--for", "0.2", cwd=tmp_path, NATS_URL=server.url)

    assert (end.status, "no device has sent a heartbeat in 0.2 s" in end.err) == (1, True)


async def test_cancel_of_an_unknown_job_is_status_1(server: NatsServer, tmp_path: Path) -> None:
    """Nobody knows it: it is over, or the id is wrong."""
    end = await drover("cancel", "01ABC", cwd=tmp_path, NATS_URL=server.url)

    assert (end.status, end.err) == (1, "drover: no dispatcher knows the job 01ABC: it is over, or the id is wrong\n")


async def test_version_names_the_distribution(tmp_path: Path) -> None:
    """For bug reports."""
    assert (await drover("version", cwd=tmp_path)).out.startswith("drover 0.")

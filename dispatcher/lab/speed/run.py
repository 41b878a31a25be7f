"""`drover lab speed`: rounds of baseline and fleet in turn, medians of the ratios, one table and one JSON file."""

from __future__ import annotations

import asyncio
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from common import codec
from common.codec import Encoding
from common.messages import Priority
from common.subjects import Subjects
from dispatcher.experiments.writing import beside, write_manifest, write_rows
from dispatcher.lab import http
from dispatcher.lab.speed import answers, cached, likeness, raw, routing
from dispatcher.lab.speed.door import measure, pages
from dispatcher.lab.speed.door.stage import Door, door
from dispatcher.lab.speed.raw import Client
from dispatcher.lab.speed.source import CHUNK, CHUNKS, SOURCE_MODEL, SOURCE_SUBJECT
from dispatcher.lab.speed.stage import Stage, stage
from dispatcher.lab.speed.telling import manifest

PROMPT = "x " * 96
"""With the rest of the request some 256 bytes: a short question."""

IN_FLIGHT = 64
STREAMS = 50
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: rounds, seconds per throughput figure, requests per latency figure."""

    rounds: int = 5
    seconds: float = 3.0
    sequential: int = 1000
    stream_rounds: int = 4
    http_requests: int = 1500
    kept: int = 2000
    """Answers in a store while it is measured."""

    door: measure.Plan = field(default_factory=measure.Plan)


QUICK = Plan(rounds=1, seconds=1.0, sequential=200, stream_rounds=1, http_requests=200, kept=300, door=measure.QUICK)


def speed(plan: Plan, output: Path | None, say: Say) -> dict[str, Any]:
    """Measure, print, write; gives what the JSON file holds."""
    result = asyncio.run(_measure(plan, say))
    if output is not None:
        write(result, output)
    return result


def write(result: Mapping[str, Any], output: Path) -> None:
    """Write the figures as JSON, a line for each round, and the manifest."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(codec.encode_pretty(dict(result)) + "\n")
    rows = write_rows(output.with_name(f"{output.stem}-rounds.csv"), result["rounds"])
    write_manifest(beside(output), manifest(result, rows=rows, now_unix_s=time.time()))


async def _measure(plan: Plan, say: Say) -> dict[str, Any]:
    rounds = []
    say("open pages")
    looked_on = await pages.opened(plan.rounds, plan.door.pages_s, plan.door.jobs)
    async with door() as bridge, stage() as where, raw.client(where.nats_url) as client:
        say("memory, and clients that wait")
        once = await measure.once(bridge, plan.door)
        for number in range(1, plan.rounds + 1):
            say(f"round {number} of {plan.rounds}")
            rounds.append({**once, **looked_on[number - 1], **await _round(plan, where, client, bridge)})
    figures = {name: _spread([one[name] for one in rounds]) for name in rounds[0]}
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "drover": version("drover"),
        "machine": {"python": platform.python_version(), "cpus": psutil.cpu_count(), "arch": platform.machine()},
        "plan": {"rounds": plan.rounds, "in_flight": IN_FLIGHT, "seconds": plan.seconds},
        "figures": figures,
        "expected": measure.verdicts({name: one["median"] for name, one in figures.items()}),
        "rounds": rounds,
    }


async def _round(plan: Plan, where: Stage, client: Client, bridge: Door) -> dict[str, float]:
    """Measure everything once, the baseline beside what it is the baseline of."""
    chat = Subjects().work("chat", "bench")
    body = codec.encode({"prompt": PROMPT, "model": "echo", "cache": "off"}, Encoding.MSGPACK)
    bare = await raw.throughput(client, raw.ECHO_SUBJECT, body, in_flight=IN_FLIGHT, seconds=plan.seconds)
    relay = await raw.throughput(client, raw.RELAY_SUBJECT, body, in_flight=IN_FLIGHT, seconds=plan.seconds)
    before = _cpu_s(where.dispatcher_pid), _cpu_s(where.agent_pid)
    jobs = await raw.throughput(client, chat, body, in_flight=IN_FLIGHT, seconds=plan.seconds)
    after = _cpu_s(where.dispatcher_pid), _cpu_s(where.agent_pid)
    all_jobs = jobs * plan.seconds
    hits = await _hits(plan, where, client)
    bare_s = await raw.latencies(client, raw.ECHO_SUBJECT, body, count=plan.sequential)
    relay_s = await raw.latencies(client, raw.RELAY_SUBJECT, body, count=plan.sequential)
    job_s = await raw.latencies(client, chat, body, count=plan.sequential)
    bare_chunks = await _chunks(client, SOURCE_SUBJECT, b"{}", plan)
    ask = codec.encode({"prompt": "x", "model": SOURCE_MODEL, "stream": True, "cache": "off"}, Encoding.MSGPACK)
    relayed = await _chunks(client, chat, ask, plan)
    durable = await _durable(plan, where, client, body)
    return {
        **durable,
        **hits,
        **await asyncio.to_thread(routing.measured),
        **await asyncio.to_thread(cached.measured),
        **await asyncio.to_thread(answers.figures, 1, plan.kept),
        **await asyncio.to_thread(likeness.measured),
        "hit_ratio": hits["hits_per_s"] / bare,
        "hits_to_jobs": hits["hits_per_s"] / jobs,
        "hit_p50_ratio": hits["hit_p50_ms"] / _quantile(bare_s, 50),
        "hit_p95_ratio": hits["hit_p95_ms"] / _quantile(bare_s, 95),
        "durable_ratio": durable["durable_jobs_per_s"] / bare,
        "raw_requests_per_s": bare,
        "bare_relay_per_s": relay,
        "jobs_per_s": jobs,
        "throughput_ratio": jobs / bare,
        "throughput_ratio_to_relay": jobs / relay,
        "raw_p50_ms": _quantile(bare_s, 50),
        "raw_p95_ms": _quantile(bare_s, 95),
        "raw_p99_ms": _quantile(bare_s, 99),
        "bare_relay_p50_ms": _quantile(relay_s, 50),
        "job_p50_ms": _quantile(job_s, 50),
        "job_p99_ms": _quantile(job_s, 99),
        "p50_ratio": _quantile(job_s, 50) / _quantile(bare_s, 50),
        "dispatcher_cpu_ms_per_job": (after[0] - before[0]) * 1000 / all_jobs,
        "agent_cpu_ms_per_job": (after[1] - before[1]) * 1000 / all_jobs,
        "direct_chunks_per_s": bare_chunks,
        "relayed_chunks_per_s": relayed,
        "relay_ratio": relayed / bare_chunks,
        **await _bridge(plan, where),
        **await _door(plan, bridge, bare_chunks, bare_s),
    }


async def _hits(plan: Plan, where: Stage, client: Client) -> dict[str, float]:
    """Give what the very same request takes when its answer is kept."""
    chat = Subjects().work("chat", "bench")
    body = codec.encode({"prompt": PROMPT, "model": "echo"}, Encoding.MSGPACK)
    await raw.batch(client, chat, body, count=1, in_flight=1)
    before, before_s = await _ran(client), _cpu_s(where.dispatcher_pid)
    per_s = await raw.throughput(client, chat, body, in_flight=IN_FLIGHT, seconds=plan.seconds)
    cpu_s = _cpu_s(where.dispatcher_pid) - before_s
    taken_s = await raw.latencies(client, chat, body, count=plan.sequential)
    if (ran := await _ran(client) - before) > 0:
        raise RuntimeError(f"{ran} jobs were run whose answer was kept")
    return {
        "hits_per_s": per_s,
        "hit_dispatcher_cpu_ms": cpu_s * 1000 / (per_s * plan.seconds),
        "hit_p50_ms": _quantile(taken_s, 50),
        "hit_p95_ms": _quantile(taken_s, 95),
    }


async def _ran(client: Client) -> int:
    """Say how many jobs that may have a cache found nothing in it, so far."""
    told = await client.request(Subjects().cache("stats"), b"{}", timeout=raw.REPLY_WAIT_S)
    return int(codec.decode(told.data)["counts"]["miss"])


async def _durable(plan: Plan, where: Stage, client: Client, body: bytes) -> dict[str, float]:
    """Give jobs per second through queue, dispatcher, agent and stored result, and what a job costs the dispatcher."""
    subjects = Subjects()
    before_s = _cpu_s(where.dispatcher_pid)
    jobs = await raw.durable(
        client,
        subjects.jobs("bench", Priority.NORMAL),
        subjects.result("bench", "x").removesuffix(".x"),
        body,
        in_flight=IN_FLIGHT,
        seconds=plan.seconds,
    )
    cpu_s = _cpu_s(where.dispatcher_pid) - before_s
    return {"durable_jobs_per_s": jobs, "durable_dispatcher_cpu_ms_per_job": cpu_s * 1000 / (jobs * plan.seconds)}


async def _chunks(client: Client, subject: str, payload: bytes, plan: Plan) -> float:
    """Give chunks of text per second; a dispatcher may join chunks that arrived together, so bytes are counted."""
    taken_s, received = await raw.streams(client, subject, payload, in_flight=STREAMS, rounds=plan.stream_rounds)
    wanted = STREAMS * plan.stream_rounds * CHUNKS * len(CHUNK)
    if received < wanted:
        raise RuntimeError(f"{subject} lost text: {received} of {wanted} bytes came")
    return received / len(CHUNK) / taken_s


async def _bridge(plan: Plan, where: Stage) -> dict[str, float]:
    """Give the bridge's own CPU time per request, and the whole path's, for answers in one piece and streamed."""
    figures: dict[str, float] = {}
    for name, stream in (("http", False), ("http_stream", True)):
        asked = [{"role": "user", "content": PROMPT}]
        body = codec.encode({"model": "echo", "stream": stream, "messages": asked, "cache": "off"})
        pids = (where.bridge_pid, where.dispatcher_pid, where.agent_pid)
        before = [_cpu_s(pid) for pid in pids]
        await _post_all(where.http_port, body, plan.http_requests)
        spent = [(_cpu_s(pid) - start) * 1000 / plan.http_requests for pid, start in zip(pids, before, strict=True)]
        figures |= {f"{name}_bridge_cpu_ms": spent[0], f"{name}_all_cpu_ms": sum(spent)}
    return figures


async def _door(plan: Plan, bridge: Door, bare_chunks: float, bare_s: list[float]) -> dict[str, float]:
    """Give what the bridge takes, with its ratios to bare streams and requests of this round."""
    found = await measure.each_round(bridge, plan.door)
    return {
        **found,
        "door_chunks_ratio": found["door_chunks_per_s"] / bare_chunks,
        "door_ttft_1_p50_added_ratio": found["door_ttft_1_p50_added_ms"] / _quantile(bare_s, 50),
    }


async def _post_all(port: int, body: bytes, count: int) -> None:
    async def some(number: int) -> None:
        connection = await http.connect("127.0.0.1", port)
        for _ in range(number):
            await connection.post("/v1/chat/completions", body)
        await connection.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(some(count // 8))


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _quantile(seconds: list[float], percent: int) -> float:
    return statistics.quantiles(seconds, n=100)[percent - 1] * 1000


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}

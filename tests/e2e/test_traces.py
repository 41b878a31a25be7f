"""A fleet of real processes that sends its traces to a collector: one trace a job, from HTTP to the device."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.commands import GUARD_S, running
from tests.otlp_receiver import Receiver, Seen, otlp_receiver

SECRET, WHOSE = "Xylophonquartett", "Quittenbaum"
CHAT: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": f"What is a {SECRET}?"}]}
WHOLE = {"POST /v1/chat/completions", "chat job", "route", "wait for a slot", "attempt nano"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True, slots=True)
class House:
    """A fleet, its collector, and where its processes write their logs."""

    url: str
    receiver: Receiver
    logs: Path

    async def ask(self, traceparent: str | None = None, **more: Any) -> httpx.Response:
        headers = {} if traceparent is None else {"traceparent": traceparent}
        async with httpx.AsyncClient(trust_env=False, timeout=GUARD_S) as http:
            return await http.post(f"{self.url}/v1/chat/completions", json={**CHAT, **more}, headers=headers)

    async def trace(self, job: str) -> dict[str, Seen]:
        """Give the spans of a job's trace by name, when the last of them has come; the model's call is `call`."""

        def those(spans: list[Seen]) -> dict[str, Seen]:
            traces = {span.trace for span in spans if span.attributes.get("drover.job") == job}
            return {_role(span): span for span in spans if span.trace in traces}

        spans = await self.receiver.until(lambda spans: WHOLE | {"call"} <= those(spans).keys())
        return those(spans)


def _role(span: Seen) -> str:
    return "call" if span.service == "drover-agent" else span.name


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    cwd = tmp_path_factory.mktemp("house")
    async with otlp_receiver() as receiver:
        knobs = {
            "DROVER_HTTP_PORT": "0",
            "DROVER_NATS_PORT": "0",
            "DROVER_METRICS": "off",
            "DROVER_LEDGER": "off",  # a process less
            "DROVER_SIM_TIME_FACTOR": "50",
            "DROVER_ACCEPT_S": "20",  # a busy machine must not make the only device silent
            "DROVER_DEVICES": "nano",
            "OLLAMA_HOST": "http://127.0.0.1:9",  # the discard port: no Ollama is there
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "DROVER_CACHE": "off",  # each job is to reach the device
            "NO_PROXY": "127.0.0.1",
        }
        async with running("up", cwd=cwd, **knobs) as up:
            url = (await up.until(r"drover is up: (http://\S+)"))[1]
            yield House(url, receiver, cwd / ".drover" / "log")


def job_of(answer: httpx.Response) -> str:
    assert 200 == answer.status_code, answer.text
    return answer.headers["x-drover-job"]


async def test_one_trace_follows_a_job_from_http_to_the_device(house: House) -> None:
    """Below the span that the client named, each in its turn: the request, the job, the attempt, the model's call."""
    theirs, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    spans = await house.trace(job_of(await house.ask(f"00-{theirs}-{parent}-01")))
    http, job, attempt = spans["POST /v1/chat/completions"], spans["chat job"], spans["attempt nano"]

    assert {theirs} == {span.trace for span in spans.values()}
    assert (parent, http.id, job.id, job.id, job.id, attempt.id) == (
        http.parent,
        job.parent,
        spans["route"].parent,
        spans["wait for a slot"].parent,
        attempt.parent,
        spans["call"].parent,
    )
    assert ("SERVER", "CONSUMER", "CLIENT", "CLIENT") == (http.kind, job.kind, attempt.kind, spans["call"].kind)
    assert ("drover-bridge", "drover-dispatcher", "drover-agent") == (http.service, job.service, spans["call"].service)


async def test_the_models_call_speaks_the_language_of_gen_ai(house: House) -> None:
    """Names and attributes of OpenTelemetry's conventions, with the tokens that the answer counts."""
    answer = await house.ask(max_tokens=20)
    call = (await house.trace(job_of(answer)))["call"]
    usage, model = answer.json()["usage"], answer.json()["model"]
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.model": model,
        "gen_ai.request.max_tokens": 20,
        "gen_ai.request.stream": True,
        "gen_ai.response.model": model,
        "gen_ai.response.finish_reasons": (answer.json()["choices"][0]["finish_reason"],),
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
        "server.address": "127.0.0.1",
    }

    assert f"chat {model}" == call.name
    assert expected == {name: call.attributes.get(name) for name in expected}
    assert "first token" in call.events
    assert call.attributes["gen_ai.response.time_to_first_chunk"] > 0


async def test_a_span_tells_status_and_route(house: House) -> None:
    """And how the job went."""
    spans = await house.trace(job_of(await house.ask()))
    http, job = spans["POST /v1/chat/completions"].attributes, spans["chat job"].attributes

    assert ("POST", "/v1/chat/completions", 200) == (
        http["http.request.method"],
        http["http.route"],
        http["http.response.status_code"],
    )
    assert ("done", "nano", 1) == (job["drover.state"], job["drover.device"], job["drover.attempts"])
    assert not any(span.failed for span in spans.values())


@pytest.mark.parametrize(
    "traceparent",
    [
        "nonsense",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        "ff-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-" + "a" * 5000,
    ],
)
async def test_a_malformed_traceparent_is_ignored(house: House, traceparent: str) -> None:
    """The job is answered, in a trace of its own."""
    spans = await house.trace(job_of(await house.ask(traceparent)))

    assert "" == spans["POST /v1/chat/completions"].parent
    assert 1 == len({span.trace for span in spans.values()})
    assert spans["call"].trace not in traceparent


async def test_a_durable_job_stays_in_its_trace(house: House) -> None:
    """Through the queue, to whichever dispatcher takes it."""
    async with httpx.AsyncClient(trust_env=False, timeout=GUARD_S) as http:
        put = await http.post(f"{house.url}/v1/jobs", json=CHAT)
    assert 202 == put.status_code, put.text
    job = put.json()["id"]

    def those(spans: list[Seen]) -> list[Seen]:
        return [span for span in spans if span.attributes.get("drover.job") == job]

    spans = await house.receiver.until(lambda spans: {"chat job", "drover-agent"} <= {
        part for span in those(spans) for part in (span.name, span.service)
    } and any(span.name == "POST /v1/jobs" and span.trace == those(spans)[0].trace for span in spans))  # fmt: skip
    put_span = next(span for span in spans if span.name == "POST /v1/jobs" and span.trace == those(spans)[0].trace)

    assert {put_span.trace} == {span.trace for span in those(spans)}
    assert put_span.id == next(span for span in those(spans) if span.name == "chat job").parent


async def test_no_span_holds_what_was_said(house: House) -> None:
    """Neither the question nor the answer, which repeats its word, nor whose it was; though the job itself is there to be read."""
    messages = [{"role": "user", "content": f"Tell me in 60 words what a {SECRET} is."}]
    answer = await house.ask(messages=messages, user=WHOSE)
    job = job_of(answer)
    await house.trace(job)
    text = answer.json()["choices"][0]["message"]["content"]
    sent = b"".join(house.receiver.bodies).decode("latin-1")
    phrases = re.findall(r"[a-z]+ [a-z]+ [a-z]+", text)  # no encoding writes these otherwise

    assert (True, True, True) == (SECRET in text, len(phrases) >= 5, job in sent)
    assert [] == [words for words in (SECRET, WHOSE, *phrases) if words in sent]


async def test_a_collector_that_is_away_costs_the_job_nothing(house: House) -> None:
    """It is answered; each process says once that its spans are lost, and once that they are not any more."""
    house.receiver.away = True
    for _ in range(2):
        job_of(await house.ask())
    dispatcher = house.logs / "dispatcher.log"
    await said(dispatcher, "traces.lost")
    job_of(await house.ask())
    house.receiver.away = False
    spans = await house.trace(job_of(await house.ask()))
    await said(dispatcher, "traces.back")

    assert 1 == (await asyncio.to_thread(dispatcher.read_text)).count("traces.lost")
    assert "call" in spans


async def said(log: Path, word: str) -> None:
    """Wait until a log has a word."""
    async with asyncio.timeout(GUARD_S):
        while True:
            if word in await asyncio.to_thread(log.read_text):
                return
            await asyncio.sleep(0.05)

"""Producers that ask over HTTP at several bridges, as behind a load balancer; they keep the same ledger."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator, Sequence

import httpx

from tests.chaos.ledger import ANSWERED, Entry
from tests.chaos.load import Load
from tests.chaos.questions import Question
from tests.commands import GUARD_S


class HttpLoad:
    """Asks until `stop`. A bridge that can't be reached is passed over, as a load balancer does; any other failure counts."""

    def __init__(self, asked: Load, urls: Sequence[str], questions: Iterator[Question]) -> None:
        self._asked = asked
        self._urls = itertools.cycle(urls)
        self._most = 3 * len(urls)
        self._questions = questions
        self._stopped = False

    def stop(self) -> None:
        """Begin no new request."""
        self._stopped = True

    async def work(self, *, stream: bool) -> None:
        """Ask one question after the other."""
        async with httpx.AsyncClient(timeout=GUARD_S, trust_env=False) as client:
            while not self._stopped:
                question = next(self._questions)
                entry = Entry(job=question.job, expected=question.expected, sent_s=_now())
                self._asked.ledger.append(entry)
                entry.outcome = await self._ask(client, question, entry, stream=stream)
                entry.ended_s = _now()
                if entry.outcome == ANSWERED:
                    entry.wrong = question.fault_of(entry.text)

    async def _ask(self, client: httpx.AsyncClient, question: Question, entry: Entry, *, stream: bool) -> str:
        body = {"model": question.model, "messages": [{"role": "user", "content": question.prompt}], "stream": stream}
        for url in itertools.islice(self._urls, self._most):
            entry.submissions += 1
            try:
                async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
                    if answer.status_code != 200:
                        return f"http_{answer.status_code}"
                    entry.text = await (_streamed(answer) if stream else _whole(answer))
                    return ANSWERED
            except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError) as error:
                if entry.text:
                    return "http_broken"
                entry.setbacks[type(error).__name__] += 1
        return "http_unreachable"


async def _whole(answer: httpx.Response) -> str:
    return str(json.loads(await answer.aread())["choices"][0]["message"]["content"])


async def _streamed(answer: httpx.Response) -> str:
    text, done = "", False
    async for line in answer.aiter_lines():
        data = line.removeprefix("data: ")
        if not line.startswith("data: "):
            continue
        if data == "[DONE]":
            done = True
            continue
        chunk = json.loads(data)
        if "error" in chunk:
            return f"{text} {chunk['error']}"
        text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    return text if done else f"{text} (the stream broke off)"


def _now() -> float:
    return asyncio.get_running_loop().time()

"""Producers that ask over HTTP at several bridges in turn, and try nothing twice; they keep the same ledger."""

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
    """Asks until `stop`. Whatever fails counts: nothing is passed over, and nothing is asked again."""

    def __init__(self, asked: Load, urls: Sequence[str], questions: Iterator[Question]) -> None:
        self._asked = asked
        self._urls = itertools.cycle(urls)
        self._questions = questions
        self._stopped = False

    def stop(self) -> None:
        """Begin no new request."""
        self._stopped = True

    async def work(self, *, stream: bool, pooled: bool = True) -> None:
        """Ask one question after the other, over kept connections or over a new one each time."""
        limits = httpx.Limits() if pooled else httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=GUARD_S, trust_env=False, limits=limits) as client:
            while not self._stopped:
                question = next(self._questions)
                entry = Entry(job=question.job, expected=question.expected, sent_s=_now())
                self._asked.ledger.append(entry)
                entry.outcome = await self._ask(client, question, entry, stream=stream)
                entry.ended_s = _now()
                if entry.outcome == ANSWERED:
                    entry.wrong = question.fault_of(entry.text)

    async def _ask(self, client: httpx.AsyncClient, question: Question, entry: Entry, *, stream: bool) -> str:
        asked = [{"role": "user", "content": question.prompt}]
        body = {"model": question.model, "messages": asked, "stream": stream, "cache": "off"}
        entry.submissions += 1
        try:
            async with client.stream("POST", f"{next(self._urls)}/v1/chat/completions", json=body) as answer:
                if answer.status_code != 200:
                    return f"http_{answer.status_code}"
                entry.text = await (_streamed(answer) if stream else _whole(answer))
                return ANSWERED
        except httpx.HTTPError as error:
            return f"http_{type(error).__name__}"


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

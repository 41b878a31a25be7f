"""`drover ask`: one prompt to the fleet, the answer to standard output as it comes; routing is not known here."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from time import monotonic
from typing import Any

from common import codec, energy
from common.chat_stream import Answer
from common.client import Drover
from common.errors import BadRequest, FleetError, GarbledReply
from common.messages import AUTO, ChatRequest, Message, Role
from common.subjects import require_token
from dispatcher.cli.cache_words import plain, saved
from dispatcher.cli.connect import open_producer, shell_settings
from dispatcher.cli.results import tokens_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line asks for, whatever the prompts are."""

    model: str = AUTO
    device: str | None = None
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    timeout_s: float | None = None
    priority: str | None = None
    strategy: str | None = None
    cache: str | None = None
    user: str | None = None
    tenant: str | None = None
    """Whose job it is; not set is the bridge's own."""

    def fields(self) -> dict[str, Any]:
        """Give the fields of a chat request beside its messages."""
        options = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        wanted = {
            "model": self.model,
            "device": self.device,
            "timeout_s": self.timeout_s,
            "priority": self.priority,
            "strategy": self.strategy,
            "cache": self.cache,
            "user": self.user,
            "options": {key: value for key, value in options.items() if value is not None},
        }
        return {key: value for key, value in wanted.items() if value is not None}

    def check(self) -> None:
        """Raise `BadRequest` that names the option whose value can't be."""
        codec.encode_request(codec.plain(codec.build(ChatRequest, self.fields())))
        if self.tenant is not None:
            require_token("tenant", self.tenant)
        if self.system is not None:
            codec.encode_request({"system": self.system})

    def before(self) -> tuple[Message, ...]:
        """Give the messages that come before the first question."""
        return () if self.system is None else (Message(role=Role.SYSTEM, content=self.system),)


def read_prompt(given: str | None, verb: str = "ask") -> str:
    """Give the prompt of a verb: as given, or all of standard input for `-`. Raises `BadRequest` when it is empty or not UTF-8."""
    text = _utf8("standard input", sys.stdin.buffer.read()) if given == "-" else given or ""
    if not text.strip():
        raise BadRequest(
            f'the prompt is empty: write drover {verb} "Why is the sky blue?", or pipe text into drover {verb} -'
        )
    # What a shell hands over is bytes; Python keeps those that are not UTF-8 in a form that can't be sent.
    return _utf8("the prompt", os.fsencode(text)) if given != "-" else text


def _utf8(what: str, data: bytes) -> str:
    try:
        return data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"{what} is not UTF-8 ({codec.place(data, error.start)}): convert it, "
            "for example with iconv -f latin1 -t utf-8",
            param="prompt",
        ) from error


async def ask(prompt: str, wish: Wish, *, as_json: bool, stream: bool) -> int:
    """Ask, and write the answer. Raises the typed errors of `Drover.chat`."""
    settings = shell_settings()
    messages = (*wish.before(), Message(role=Role.USER, content=prompt))
    async with open_producer(settings, tenant=wish.tenant) as drover:
        answer, first_token_s = await _answer(drover, messages, wish, echo=stream and not as_json)
    if as_json:
        sys.stdout.write(f"{codec.encode_pretty(report(answer, first_token_s))}\n")
    elif not stream:
        sys.stdout.write(f"{answer.text}\n")
    if sys.stderr.isatty() and not as_json:
        sys.stderr.write(f"\x1b[2m{footer(answer, first_token_s)}\x1b[0m\n")
    return 0


async def _answer(
    drover: Drover, messages: tuple[Message, ...], wish: Wish, *, echo: bool
) -> tuple[Answer, float | None]:
    began, first_token_s = monotonic(), None
    try:
        async with drover.chat(messages, **wish.fields()) as stream:
            async for chunk in stream:
                if first_token_s is None:
                    first_token_s = monotonic() - began
                if echo:
                    sys.stdout.write(chunk.text)
                    sys.stdout.flush()
        if stream.answer is None:
            raise GarbledReply("the stream ended without an end frame: ask again")
    except FleetError:
        if echo and first_token_s is not None:
            sys.stdout.write("\n")  # what went wrong gets a line of its own
            sys.stdout.flush()
        raise
    if echo:
        sys.stdout.write("\n")
    return stream.answer, first_token_s


def footer(answer: Answer, first_token_s: float | None) -> str:
    """Say in one line where the answer came from, why, and how fast."""
    parts = [answer.device, answer.model, answer.reason]
    if first_token_s is not None:
        parts.append(f"first token {first_token_s:.2f} s")
    speed = tokens_per_s(answer)
    if speed is not None:
        parts.append(f"{speed:.1f} tokens/s")
    if (cost_usd := answer.route.get("cost_usd")) is not None:
        parts.append(f"{'about ' if answer.route.get('cost_estimated') else ''}{cost_usd:.6f} USD")
    if answer.energy is not None:
        parts.append(energy_text(answer.energy))
    if what := saved(answer.route.get("cache") or {}):
        parts.append(f"saved {what}")
    if answer.route.get("simulated"):
        parts.append("simulated")
    return plain(" · ".join(part for part in parts if part))


def energy_text(taken: energy.Energy) -> str:
    """Say what an answer took: `~` stands before what no sensor has seen."""
    mark = "" if taken.measured else "~"
    words = f"{mark}{taken.joules:.3g} J"
    if taken.joules_per_token is not None:
        words += f" ({taken.joules_per_token:.2g} J/token)"
    if taken.cost is not None:
        words += f", {taken.cost:.2g} {taken.currency}"
    return words


def report(answer: Answer, first_token_s: float | None) -> dict[str, Any]:
    """Give the answer as `--json` prints it."""
    return {
        "job": answer.job,
        "text": answer.text,
        "device": answer.device,
        "model": answer.model,
        "reason": answer.reason,
        "finish": answer.finish,
        "first_token_s": first_token_s,
        "tokens_per_s": tokens_per_s(answer),
        "usage": {**codec.plain(answer.usage), "total_tokens": answer.usage.total_tokens},
        "energy": None if answer.energy is None else energy.to_wire(answer.energy),
        "tool_calls": [codec.plain(call) for call in answer.tool_calls],
        "route": answer.route,
    }

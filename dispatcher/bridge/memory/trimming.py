"""Which of the turns before a model is told, so that they fit its context together with what is new. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from common.messages import Message, Role
from common.prompts import ANSWER_TOKENS, TOKENS_PER_TEMPLATE, prompt_tokens
from dispatcher.bridge.memory.exchanges import Exchange, begun, exchanges, paired

SUMMARY_HEAD = "Summary of the conversation so far:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed:
    """What a model is told: `tokens` by our estimate. `left_out` counts messages of the history that are not among it, those of the
    system aside; `summarised` says whether the summary is. `fits` is false only where what is new is too long by itself."""

    messages: tuple[Message, ...]
    tokens: int
    left_out: int
    summarised: bool
    fits: bool


def trimmed(
    history: Sequence[Message],
    new: Sequence[Message],
    *,
    context_tokens: int,
    answer_tokens: int = ANSWER_TOKENS,
    tools: Sequence[Mapping[str, Any]] = (),
    summary: str = "",
) -> Trimmed:
    """Put the newest of the history before what is new, as much as fits.

    1. What is new stays as it is; a system text that it begins with stands for the one of the history, whose newest counts else.
    2. Where it does not begin with the user's words, as the answer of a tool does not, the last exchange belongs to it. 3. A
    summary comes before turns. 4. Then the newest exchanges, each whole or not at all; behind one that does not fit none comes.
    """
    leading = tuple(takewhile(lambda one: one.role is Role.SYSTEM, new))
    system = leading or tuple(one for one in history if one.role is Role.SYSTEM)[-1:]  # 1
    said = tuple(new)[len(leading) :]
    past = exchanges(history)
    total = sum(map(len, past))
    kept: Exchange = ()
    if past and begun(past[-1]) and (not said or said[0].role is not Role.USER):  # 2
        kept = paired(past.pop(), goes_on=True)
    most = context_tokens - answer_tokens
    told = _with_summary(system, summary)  # 3
    summarised = bool(summary) and prompt_tokens((*told, *kept, *said), tools) <= most
    system = told if summarised else system
    room = most - prompt_tokens((*system, *kept, *said), tools)
    for exchange in reversed(past):  # 4
        whole = paired(exchange)
        room -= prompt_tokens(whole) - TOKENS_PER_TEMPLATE
        if room < 0 or not begun(exchange):
            break
        kept = whole + kept
    messages = system + kept + said
    tokens = prompt_tokens(messages, tools)
    return Trimmed(
        messages=messages, tokens=tokens, left_out=total - len(kept), summarised=summarised, fits=tokens <= most
    )


def _with_summary(system: tuple[Message, ...], summary: str) -> tuple[Message, ...]:
    """Write a summary behind the system's text: many templates take one such message."""
    if not summary:
        return system
    text = f"{SUMMARY_HEAD}\n{summary}"
    if not system:
        return (Message(role=Role.SYSTEM, content=text),)
    return (*system[:-1], replace(system[-1], content=f"{system[-1].content}\n\n{text}"))

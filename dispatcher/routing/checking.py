"""Whether a weak model's answer will do, or a stronger one is to be asked: a trained model's word, or else a few rules. Pure.

The rules look at what an answer betrays by itself; none knows what is right. Each that is broken is a doubt in [0, 1], and doubts
add up as chances of independent faults do: 1 - (1 - a)(1 - b)... On GSM8K (RouteLLM's file) 63.7 % of the weak answers are
right; how far the rules and a trained model part them from the others, `drover lab eval` says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from common import codec
from common.errors import BadRequest
from common.frames import Finish
from common.messages import ChatRequest
from dispatcher.routing.answer_signals import ANSWER_SIGNALS, answer_signals

ENOUGH_DOUBT = 0.5
"""From here on the strong model is asked: one grave fault is enough, and three slight ones are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakAnswer:
    """An answer to be judged. `whole` is False for the beginning of one that still grows, of which less can be said. `logprobs` are
    those of its tokens, where the backend gives them; `calls` are the functions that it wants called."""

    question: str
    text: str
    whole: bool = True
    finish: Finish = Finish.STOP
    calls: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What came of it. `score` is the predicted gain of the strong model, or the doubt of the rules; over `threshold` it is asked.
    `faults` are the broken rules with their doubts, also where a trained model decided."""

    escalate: bool
    score: float
    threshold: float
    by: str
    faults: Mapping[str, float] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Say it in words."""
        told = ", ".join(self.faults) or "no fault found"
        return f"{self.by}: {self.score:.2f} {'over' if self.escalate else 'not over'} {self.threshold:.2f} ({told})"


def signals_of(answer: WeakAnswer) -> tuple[float, ...]:
    """Give the signals that rules and trained models look at."""
    return answer_signals(answer.question, answer.text, answer.logprobs)


def check(answer: WeakAnswer, request: ChatRequest, signals: Sequence[float], *, enough: float = ENOUGH_DOUBT) -> Check:
    """Judge by the rules, from the answer's `signals_of`."""
    faults = dict(_faults(answer, request, dict(zip(ANSWER_SIGNALS, signals, strict=True))))
    held = 1.0
    for doubt in faults.values():
        held *= 1.0 - doubt
    return Check(escalate=1.0 - held >= enough, score=1.0 - held, threshold=enough, by="rules", faults=faults)


def hopeless(answer: WeakAnswer, request: ChatRequest) -> bool:
    """True for an answer that is none, whatever a trained model says: empty, or not in the form that was asked for."""
    return any(doubt >= 1.0 for _, doubt in _form(answer, request))


def _faults(answer: WeakAnswer, request: ChatRequest, found: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    yield from _form(answer, request)
    if answer.calls or not answer.text.strip():
        return  # there is no text that could be doubted
    if answer.whole:
        yield from _ending(answer, request, found)
    yield from _arithmetic(found)
    yield from _manner(found)


def _form(answer: WeakAnswer, request: ChatRequest) -> Iterator[tuple[str, float]]:
    """1. Nothing at all. 2. A function that was not offered. 3. No JSON where JSON was asked for."""
    if not answer.whole:
        return
    offered = {_name(tool) for tool in request.tools}
    if not answer.text.strip() and not answer.calls:  # 1
        yield "empty", 1.0
    if any(name not in offered for name in answer.calls):  # 2
        yield "unknown function", 1.0
    if request.format is not None and not answer.calls and not _fits(answer.text, request.format):  # 3
        yield "not the JSON asked for", 1.0


def _ending(answer: WeakAnswer, request: ChatRequest, found: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """1. Cut off, though not by the request's own limit. 2. No end of a sentence. 3. A bracket left open."""
    limited = request.options.max_tokens is not None
    if answer.finish is Finish.LENGTH and not limited:  # 1
        yield "cut off", 0.6
    elif (
        answer.finish is not Finish.LENGTH and request.format is None and not found["ends_whole"] and _long(answer)
    ):  # 2
        yield "no ending", 0.35
    if found["open_brackets"] and answer.finish is not Finish.LENGTH and _long(answer):  # 3
        yield "open bracket", 0.3


def _long(answer: WeakAnswer) -> bool:
    """A word or a number needs no full stop."""
    return len(answer.text.split()) > 3


def _arithmetic(found: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """1. A sum that is wrong. 2. Given numbers that a calculation does not use."""
    if found["any_wrong_sum"]:  # 1
        yield "wrong sum", 0.8
    if found["sums"] and found["given_numbers_used"] < 0.5:  # 2
        yield "given numbers unused", 0.3


def _manner(found: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """1. Refuses. 2. Goes in circles. 3. Hedges: log(1 + n) of the hedging words. 4. Its own tokens are unsure."""
    if found["refusals"]:  # 1
        yield "refuses", 0.7
    if found["repeated_lines"] > 0.4 or found["repeated_words"] > 0.5:  # 2
        yield "repeats itself", 0.7
    if found["hedges"] > 0.0:  # 3
        yield "hedges", min(0.5, 0.2 * found["hedges"] / math.log(2))
    if found["has_logprobs"] and (found["mean_logprob"] < -1.0 or found["unsure_tokens"] > 0.25):  # 4
        yield "unsure tokens", 0.6


def _name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    named = function if isinstance(function, Mapping) else tool
    return str(named.get("name", ""))


def _fits(text: str, wanted: object) -> bool:
    """Tell whether a text is JSON: an object with all required fields, unless a schema asks for something else."""
    try:
        found = codec.decode(b'{"value":' + text.encode("utf-8", "surrogatepass") + b"}")
    except BadRequest:
        return False
    if found.keys() != {"value"}:  # more than one value, with a comma and a name between
        return False
    schema = wanted if isinstance(wanted, Mapping) else {}
    if schema.get("type", "object") != "object":
        return True
    value, required = found["value"], schema.get("required")
    names = required if isinstance(required, list | tuple) else ()
    return isinstance(value, dict) and all(name in value for name in names if isinstance(name, str))

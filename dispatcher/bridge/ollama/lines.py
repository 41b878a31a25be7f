"""Answers and errors as Ollama writes them, as plain objects and as lines; it knows neither HTTP nor how they are sent.

The lines keep to what the strictest readers ask: each is one object, none is blank, role and content are always there, and a call
has no key beside `function`. Our own facts travel in `x_drover`, which all of them skip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from common import codec, energy, frames, vectors
from common.dates import dated
from common.energy import Energy
from common.errors import FleetError
from common.messages import ToolCall
from dispatcher.bridge.openai.reply import receipt
from dispatcher.bridge.sse import unbroken

Json = dict[str, Any]


class ErrorFacts(BaseModel):
    """What programs tell errors apart by: `code` is stable, `param` names the field."""

    code: str
    param: str | None = None
    job: str | None = None
    retry_after_s: float | None = None


class OllamaError(BaseModel):
    """An error as Ollama writes it, with ours beside it."""

    error: str
    x_drover: ErrorFacts


NDJSON = "application/x-ndjson"

_NS = 1_000_000_000


def line(value: Json) -> bytes:
    """Write one line."""
    return unbroken(codec.encode(value)) + b"\n"


def date(unix_s: float) -> str:
    """Write a date as RFC 3339, and so that `datetime.fromisoformat` of any Python reads it: no Z, and six digits."""
    return dated(unix_s).isoformat(timespec="microseconds")


def chat(model: str, now_s: float, text: str = "", calls: Sequence[ToolCall] = ()) -> Json:
    """Write a piece of a chat; an empty one is a sign of life."""
    message: Json = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"function": {"index": index, "name": call.name, "arguments": call.arguments}}
            for index, call in enumerate(calls)
        ]
    return {"model": model, "created_at": date(now_s), "message": message, "done": False}


def generated(model: str, now_s: float, text: str = "") -> Json:
    """Write a piece of a generated text; an empty one is a sign of life."""
    return {"model": model, "created_at": date(now_s), "response": text, "done": False}


def ending(job: str, end: frames.End) -> Json:
    """Give what the last line says besides: why the text ended, the counters, and our account of the job."""
    return {
        "done": True,
        "done_reason": "length" if end.finish is frames.Finish.LENGTH else "stop",
        **counters(end),
        "x_drover": receipt(job, end),
    }


def embedded(job: str, model: str, end: frames.End, *, legacy: bool) -> Json:
    """Write embeddings; the older API has one, and nothing beside it."""
    found = [vectors.shown(one) for one in end.embeddings]
    told = {"x_drover": receipt(job, end)}
    if legacy:
        return {"embedding": found[0] if found else [], **told}
    counted = counters(end)
    kept = {name: counted[name] for name in ("total_duration", "load_duration", "prompt_eval_count")}
    return {"model": model, "embeddings": found, **kept, **told}


def idle(reason: str) -> Json:
    """Give what the only line says besides, of a request that wants a model loaded or unloaded, and no word."""
    note = "nothing was done: each device loads a model when a job needs it, and manages its own memory"
    return {"done": True, "done_reason": reason, "x_drover": {"note": note}}


def counters(end: frames.End) -> Json:
    """Write counts, and durations in nanoseconds. None is 0: readers take a 0 for absent, and divide by it.

    What an engine does not tell is taken from the account: the prompt is read until the first token, the text written after it. A
    text that came all at once, as from the cache, was written in the whole time: readers show tokens by this second.
    """
    timings = (end.route or {}).get("timings")
    told: Mapping[str, Any] = timings if isinstance(timings, Mapping) else {}
    load_s, total_s, first_s = end.engine.load_s or 0.0, _seconds(told, "total_s"), _seconds(told, "first_token_s")
    prefill_s = _known(end.engine.prefill_s, max(0.0, first_s - load_s))
    decode_s = _known(end.engine.decode_s, max(0.0, total_s - first_s))
    return {
        "total_duration": _ns(max(total_s, load_s + prefill_s + decode_s)),
        "load_duration": _ns(load_s),
        "prompt_eval_count": max(1, end.usage.prompt_tokens),
        "prompt_eval_duration": _ns(prefill_s),
        "eval_count": max(1, end.usage.completion_tokens),
        "eval_duration": _ns(decode_s or total_s),
    }


def error_body(error: FleetError, job: str | None = None, taken: Energy | None = None) -> Json:
    """Write an error: a text, as Ollama's clients want it, and beside it what programs tell errors apart by."""
    facts: Json = {"code": error.code}
    if (param := error.details.get("param")) is not None:
        facts["param"] = param
    if job is not None:
        facts["job"] = job
    if error.retry_after_s is not None:
        facts["retry_after_s"] = error.retry_after_s
    if taken is not None:
        facts["energy"] = energy.to_wire(taken)
    return {"error": error.message or error.code, "x_drover": facts}


def _known(told_s: float | None, other_s: float) -> float:
    return other_s if told_s is None else told_s


def _seconds(told: Mapping[str, Any], name: str) -> float:
    value = told.get(name)
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1e9 else 0.0


def _ns(seconds: float) -> int:
    return max(1, round(min(max(seconds, 0.0), 1e9) * _NS))

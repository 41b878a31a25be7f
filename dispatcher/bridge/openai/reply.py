"""Answers and errors as OpenAI writes them, as plain objects; it knows neither HTTP nor how they are sent.

The stream keeps to what the strictest readers ask: one id, the role only in the first chunk, `choices` in every chunk, the
finish on a chunk of its own without content, usage only when asked. Our own facts travel in `x_drover`, which all of them skip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from common import codec, energy, frames
from common.energy import Energy
from common.errors import FleetError
from common.frames import usage_to_wire
from common.messages import ToolCall

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunks:
    """Writes the chunks of one stream. `created` is in seconds since 1970 and the same in all of them."""

    job: str
    created: int
    include_usage: bool = False

    def role(self, model: str) -> Json:
        """The first chunk: who speaks."""
        return self._chunk(model, {"role": "assistant", "content": ""})

    def text(self, model: str, text: str) -> Json:
        return self._chunk(model, {"content": text})

    def keep_alive(self, model: str, standing: Json) -> Json:
        """A chunk that says nothing: a comment line would break clients that read every line as data."""
        return {**self._chunk(model, {}), "x_drover": standing}

    def tool_calls(self, model: str, calls: Sequence[ToolCall]) -> Json:
        indexed = [{"index": index, **call} for index, call in enumerate(tool_calls(self.job, calls))]
        return self._chunk(model, {"tool_calls": indexed})

    def finish(self, model: str, end: frames.End) -> Json:
        """The last chunk with a choice: why the text ended, and our account of the job."""
        return {**self._chunk(model, {}, finish_reason(end)), "x_drover": receipt(self.job, end)}

    def usage(self, model: str, end: frames.End) -> Json:
        """The chunk that a client gets who asked for token counts."""
        return {**self._chunk(model, {}), "choices": [], "usage": usage_of(end)}

    def _chunk(self, model: str, delta: Json, finish: str | None = None) -> Json:
        chunk: Json = {
            "id": completion_id(self.job),
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        if self.include_usage:
            chunk["usage"] = None
        return chunk


def completion(job: str, created: int, model: str, text: str, end: frames.End) -> Json:
    """Write a whole answer."""
    message: Json = {"role": "assistant", "content": text}
    if end.tool_calls:
        message["content"] = text or None
        message["tool_calls"] = tool_calls(job, end.tool_calls)
    return {
        "id": completion_id(job),
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(end)}],
        "usage": usage_of(end),
        "x_drover": receipt(job, end),
    }


def completion_id(job: str) -> str:
    return f"chatcmpl-{job}"


def finish_reason(end: frames.End) -> str:
    """Calls override only an ordinary end: a text that was cut off stays cut off."""
    return "tool_calls" if end.tool_calls and end.finish is frames.Finish.STOP else str(end.finish)


def tool_calls(job: str, calls: Sequence[ToolCall]) -> list[Json]:
    """Write calls as OpenAI has them: with an id, and the arguments as a JSON text."""
    return [
        {
            "id": call.id or f"call_{job}_{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": codec.encode(call.arguments).decode()},
        }
        for index, call in enumerate(calls)
    ]


_ACCOUNT = (
    "device",
    "model",
    "reason",
    "strategy",
    "score",
    "terms",
    "weights",
    "attempts",
    "timings",
    "cost_usd",
    "cost_estimated",
    "saved_usd",
    "saved_against",
    "features",
    "cascade",
    "energy",
    "simulated",
    "replayed",
    "cache",
    "conversation",
)


def usage_of(end: frames.End) -> Json:
    """Write token counts, with what the answer took, of which device, and what it cost, where that is known.

    Open WebUI keeps of an answer nothing else that is not its text: this is what it shows below a message, and `cost` it adds up.
    """
    counts: Json = usage_to_wire(end.usage)
    route = end.route or {}
    told = {"device": route.get("device"), "cost": route.get("cost_usd")}
    known = {name: value for name, value in told.items() if value is not None}
    return counts | known | ({} if end.energy is None else {"energy": energy.to_wire(end.energy)})


def receipt(job: str, end: frames.End) -> Json:
    """Pick what callers get of an answer: the account, and the energy: a stream without `include_usage` tells it nowhere else."""
    told = account(job, end.route)
    return told if end.energy is None else {**told, "energy": energy.to_wire(end.energy)}


def account(job: str, route: Mapping[str, Any] | None) -> Json:
    """Pick what callers get of the dispatcher's account of a job."""
    known = route or {}
    return {"job": job, **{key: known[key] for key in _ACCOUNT if key in known}}


def standing(job: str, note: frames.RouteNote | None, silent: frames.KeepAlive | None) -> Json:
    """Say where a job stands before there is text: its place, and what it waits for."""
    state: Json = {"job": job}
    if note is not None:
        state |= {"device": note.device, "model": note.model, "reason": note.reason, "attempt": note.attempt}
    if silent is not None:
        state["phase"] = str(silent.phase)
        state |= {key: value for key in ("eta_s", "position") if (value := getattr(silent, key)) is not None}
    return state


class Fault(BaseModel):
    """What went wrong: `code` is stable, `param` names the field."""

    message: str
    type: str
    param: str | None
    code: str
    job: str | None = None
    retry_after_s: float | None = None


class OpenAIError(BaseModel):
    """An error as OpenAI writes it."""

    error: Fault


def error_body(error: FleetError, kind: str, *, job: str | None = None, taken: Energy | None = None) -> Json:
    """Write an error. `kind` is OpenAI's `type`; `code` is ours and stable; `taken` is what the job took."""
    param = error.details.get("param")
    body: Json = {"message": error.message, "type": kind, "param": param, "code": error.code}
    if job is not None:
        body["job"] = job
    if error.retry_after_s is not None:
        body["retry_after_s"] = error.retry_after_s
    if taken is not None:
        body["energy"] = energy.to_wire(taken)
    return {"error": body}


def model_card(name: str, created: int, facts: Json) -> Json:
    """Write one model of the list."""
    return {"id": name, "object": "model", "created": created, "owned_by": "drover", "x_drover": facts}

"""Anthropic's messages as a dialect: named events, blocks that begin and end, and `ping` as the sign of life, which is that API's
own; it knows neither HTTP nor the job's way."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from common import codec, frames
from common.energy import Energy
from common.errors import FleetError
from common.messages import ToolCall
from dispatcher.bridge.openai import reply
from dispatcher.bridge.speech import BY_HEADER
from dispatcher.bridge.sse import EVENTS, event
from dispatcher.bridge.surfaces import ANTHROPIC

Json = dict[str, Any]


class MessageDialect:
    """Writes one message. `prompt_tokens` is an estimate, told at the start of a stream: the end corrects it."""

    surface = ANTHROPIC
    called: Mapping[str, str] = MappingProxyType({**BY_HEADER, "images": "messages"})
    media_type = EVENTS

    def __init__(self, *, job: str, prompt_tokens: int) -> None:
        self._job = job
        self._prompt_tokens = prompt_tokens
        self._speaking = False

    def begin(self, model: str) -> bytes:
        usage = {"input_tokens": self._prompt_tokens, "output_tokens": 0}
        return _event("message_start", message=self._message(model, [], None, usage))

    def text(self, model: str, text: str) -> bytes:  # noqa: ARG002  # only the start names it
        begun = b"" if self._speaking else _event("content_block_start", index=0, content_block=_text(""))
        self._speaking = True
        return begun + _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def still(self, model: str, standing: Json) -> bytes:  # noqa: ARG002
        return _event("ping", x_drover=standing)

    def end(self, model: str, end: frames.End) -> bytes:  # noqa: ARG002
        out = _event("content_block_stop", index=0) if self._speaking else b""
        for index, call in enumerate(self._calls(end.tool_calls), int(self._speaking)):
            out += _called(call, index)
        stop = {"stop_reason": stop_reason(end), "stop_sequence": None}
        account = reply.receipt(self._job, end)
        out += _event("message_delta", delta=stop, usage=usage_of(end), x_drover=account)
        return out + _event("message_stop")

    def broken(self, error: FleetError, taken: Energy | None) -> bytes:
        return event(codec.encode(self.surface.error(error, self._job, taken)), name="error")

    def whole(self, model: str, text: str, end: frames.End) -> Json:
        said = [_text(text)] if text else []
        message = self._message(model, [*said, *self._calls(end.tool_calls)], stop_reason(end), usage_of(end))
        return {**message, "x_drover": reply.receipt(self._job, end)}

    def _message(self, model: str, content: list[Json], stop: str | None, usage: Json) -> Json:
        return {
            "id": f"msg_{self._job}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": usage,
        }

    def _calls(self, calls: tuple[ToolCall, ...]) -> list[Json]:
        return [
            {
                "type": "tool_use",
                "id": call.id or f"toolu_{self._job}_{index}",
                "name": call.name,
                "input": call.arguments,
            }
            for index, call in enumerate(calls)
        ]


def stop_reason(end: frames.End) -> str:
    """Say why it ended. Which of the stop sequences it was, or whether it was one, no engine tells: that is an ordinary end."""
    if end.finish is frames.Finish.LENGTH:
        return "max_tokens"
    return "tool_use" if end.tool_calls else "end_turn"


def usage_of(end: frames.End) -> Json:
    """Write token counts, with what the answer took of its devices, where that is known."""
    usage = reply.usage_of(end)
    counts = {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]}
    return counts if end.energy is None else {**counts, "energy": usage["energy"]}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _called(call: Json, index: int) -> bytes:
    delta = {"type": "input_json_delta", "partial_json": codec.encode(call["input"]).decode()}
    return (
        _event("content_block_start", index=index, content_block={**call, "input": {}})
        + _event("content_block_delta", index=index, delta=delta)
        + _event("content_block_stop", index=index)
    )


def _event(name: str, /, **more: Any) -> bytes:
    return event(codec.encode({"type": name, **more}), name=name)

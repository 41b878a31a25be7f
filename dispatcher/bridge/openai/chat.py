"""OpenAI's chat completions as a dialect: chunks as events, `[DONE]` behind the last; it knows neither HTTP nor the job's way."""

from __future__ import annotations

from typing import Any

from common import codec, frames
from common.energy import Energy
from common.errors import FleetError
from dispatcher.bridge.openai import reply
from dispatcher.bridge.speech import IN_CHATS
from dispatcher.bridge.sse import DONE, EVENTS, event
from dispatcher.bridge.surfaces import OPENAI

Json = dict[str, Any]


class ChatDialect:
    """Writes one chat completion. `created` is in seconds since 1970."""

    surface = OPENAI
    called = IN_CHATS
    media_type = EVENTS

    def __init__(self, *, job: str, created: int, include_usage: bool = False) -> None:
        self._job = job
        self._created = created
        self._include_usage = include_usage
        self._chunks = reply.Chunks(job=job, created=created, include_usage=include_usage)

    def begin(self, model: str) -> bytes:
        return _event(self._chunks.role(model))

    def text(self, model: str, text: str) -> bytes:
        return _event(self._chunks.text(model, text))

    def still(self, model: str, standing: Json) -> bytes:
        return _event(self._chunks.keep_alive(model, standing))

    def end(self, model: str, end: frames.End) -> bytes:
        calls = _event(self._chunks.tool_calls(model, end.tool_calls)) if end.tool_calls else b""
        usage = _event(self._chunks.usage(model, end)) if self._include_usage else b""
        return calls + _event(self._chunks.finish(model, end)) + usage + DONE

    def broken(self, error: FleetError, taken: Energy | None) -> bytes:
        return _event(self.surface.error(error, self._job, taken)) + DONE

    def whole(self, model: str, text: str, end: frames.End) -> Json:
        return reply.completion(self._job, self._created, model, text, end)


def _event(chunk: Json) -> bytes:
    return event(codec.encode(chunk))

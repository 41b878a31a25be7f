"""Ollama's two ways to answer as dialects: lines of JSON, the last of them with the counters; neither HTTP nor the job's way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from common import frames
from common.energy import Energy
from common.errors import FleetError
from dispatcher.bridge.ollama import lines
from dispatcher.bridge.ollama.context import remember
from dispatcher.bridge.speech import BY_HEADER, WholeOnly
from dispatcher.bridge.surfaces import OLLAMA

Json = dict[str, Any]
Now = Callable[[], float]
"""Gives seconds since 1970 UTC: each line has its own date."""


class _Lines:
    """What both have in common."""

    surface = OLLAMA
    media_type = lines.NDJSON

    def __init__(self, *, job: str, now: Now) -> None:
        self._job = job
        self._now = now

    def begin(self, model: str) -> bytes:  # noqa: ARG002  # each line says who speaks
        return b""

    def broken(self, error: FleetError, taken: Energy | None) -> bytes:
        return lines.line(self.surface.error(error, self._job, taken))


class ChatLines(_Lines):
    """Writes the answer of `/api/chat`."""

    called: Mapping[str, str] = MappingProxyType({**BY_HEADER, "images": "messages"})

    def text(self, model: str, text: str) -> bytes:
        return lines.line(lines.chat(model, self._now(), text))

    def still(self, model: str, standing: Json) -> bytes:
        return lines.line({**lines.chat(model, self._now()), "x_drover": standing})

    def end(self, model: str, end: frames.End) -> bytes:
        calls = lines.line(lines.chat(model, self._now(), calls=end.tool_calls)) if end.tool_calls else b""
        return calls + lines.line({**lines.chat(model, self._now()), **lines.ending(self._job, end)})

    def whole(self, model: str, text: str, end: frames.End) -> Json:
        return {**lines.chat(model, self._now(), text, end.tool_calls), **lines.ending(self._job, end)}


class GenerateLines(_Lines):
    """Writes the answer of `/api/generate`; `asked` is the conversation that it goes on with, for the next one's context."""

    called: Mapping[str, str] = MappingProxyType({**BY_HEADER, "messages": "prompt"})

    def __init__(self, *, job: str, now: Now, asked: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(job=job, now=now)
        self._asked = asked
        self._said: list[str] = []

    def text(self, model: str, text: str) -> bytes:
        self._said.append(text)
        return lines.line(lines.generated(model, self._now(), text))

    def still(self, model: str, standing: Json) -> bytes:
        return lines.line({**lines.generated(model, self._now()), "x_drover": standing})

    def end(self, model: str, end: frames.End) -> bytes:
        return lines.line({**lines.generated(model, self._now()), **self._ending("".join(self._said), end)})

    def whole(self, model: str, text: str, end: frames.End) -> Json:
        return {**lines.generated(model, self._now(), text), **self._ending(text, end)}

    def _ending(self, said: str, end: frames.End) -> Json:
        context = remember([*self._asked, {"role": "assistant", "content": said}])
        return {**lines.ending(self._job, end), "context": context}


class EmbedLines(WholeOnly):
    """Writes embeddings: of `/api/embed`, or with `legacy` the only one of `/api/embeddings`."""

    surface = OLLAMA

    def __init__(self, *, job: str, legacy: bool) -> None:
        self._job = job
        self._legacy = legacy
        self.called = {**BY_HEADER, "inputs": "prompt" if legacy else "input"}

    def whole(self, model: str, text: str, end: frames.End) -> Json:  # noqa: ARG002
        return lines.embedded(self._job, model, end, legacy=self._legacy)

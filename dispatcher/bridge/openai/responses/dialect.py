"""OpenAI's responses as a dialect: each event has its name, its number, and a type that strict readers know.

The sign of life is an event of this API too, since readers in use refuse types that they don't know: the response is in progress,
told again, and once there is text, a piece of it that is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from common import codec, frames
from common.energy import Energy
from common.errors import FleetError
from dispatcher.bridge.openai.responses.reply import Writer, text_part
from dispatcher.bridge.speech import BY_HEADER
from dispatcher.bridge.sse import DONE, EVENTS, event
from dispatcher.bridge.statuses import verdict
from dispatcher.bridge.surfaces import OPENAI

Json = dict[str, Any]


class ResponseDialect:
    """Writes one response. `now_s` gives the time, in seconds since 1970."""

    surface = OPENAI
    called: Mapping[str, str] = MappingProxyType({**BY_HEADER, "messages": "input", "images": "input"})
    media_type = EVENTS

    def __init__(self, writer: Writer, now_s: Callable[[], float]) -> None:
        self._writer = writer
        self._now_s = now_s
        self._number = 0
        self._text: list[str] = []
        self._speaking = False
        self._model = ""

    def begin(self, model: str) -> bytes:
        self._model = model
        return self._state("created", "in_progress") + self._state("in_progress", "in_progress")

    def text(self, model: str, text: str) -> bytes:
        self._model = model
        self._text.append(text)
        return self._opened() + self._delta(text)

    def still(self, model: str, standing: Json) -> bytes:
        self._model = model
        return (
            self._delta("", x_drover=standing)
            if self._speaking
            else self._state("in_progress", "in_progress", standing)
        )

    def end(self, model: str, end: frames.End) -> bytes:
        self._model = model
        cut = end.finish is frames.Finish.LENGTH
        out, output = b"", []
        if self._speaking or not end.tool_calls:
            message = self._writer.message("".join(self._text), "incomplete" if cut else "completed")
            out += self._opened() + self._closed(message)
            output.append(message)
        for call in self._writer.calls(end.tool_calls):
            out += self._called(call, len(output))
            output.append(call)
        over = self._writer.ended(model, output, end, int(self._now_s()))
        return out + self._event("response.incomplete" if cut else "response.completed", response=over) + DONE

    def broken(self, error: FleetError, taken: Energy | None) -> bytes:  # noqa: ARG002  # what it took has no place in it
        said = [self._writer.message("".join(self._text), "incomplete")] if self._speaking else []
        failed = self._writer.failed(self._model, said, error, verdict(error).kind)
        return self._event("response.failed", response=failed) + DONE

    def whole(self, model: str, text: str, end: frames.End) -> Json:
        cut = end.finish is frames.Finish.LENGTH
        calls = self._writer.calls(end.tool_calls)
        message = self._writer.message(text, "incomplete" if cut else "completed")
        return self._writer.ended(model, [message, *calls] if text or not calls else calls, end, int(self._now_s()))

    def _state(self, name: str, status: str, standing: Json | None = None) -> bytes:
        more = {} if standing is None else {"x_drover": standing}
        return self._event(f"response.{name}", response=self._writer.response(self._model, status, [], **more))

    def _opened(self) -> bytes:
        """Begin the message, unless that was done."""
        if self._speaking:
            return b""
        self._speaking = True
        added = self._event("response.output_item.added", output_index=0, item=self._writer.message("", "in_progress"))
        return added + self._piece("response.content_part.added", part=text_part(""))

    def _delta(self, text: str, **more: Json) -> bytes:
        return self._piece("response.output_text.delta", delta=text, logprobs=[], **more)

    def _closed(self, message: Json) -> bytes:
        text = message["content"][0]["text"]
        return (
            self._piece("response.output_text.done", text=text, logprobs=[])
            + self._piece("response.content_part.done", part=text_part(text))
            + self._event("response.output_item.done", output_index=0, item=message)
        )

    def _called(self, call: Json, index: int) -> bytes:
        begun = {**call, "status": "in_progress", "arguments": ""}
        place = {"item_id": call["id"], "output_index": index}
        return (
            self._event("response.output_item.added", output_index=index, item=begun)
            + self._event("response.function_call_arguments.delta", **place, delta=call["arguments"])
            + self._event(
                "response.function_call_arguments.done", **place, name=call["name"], arguments=call["arguments"]
            )
            + self._event("response.output_item.done", output_index=index, item=call)
        )

    def _piece(self, name: str, /, **more: Any) -> bytes:
        return self._event(name, item_id=self._writer.message_id, output_index=0, content_index=0, **more)

    def _event(self, name: str, /, **more: Any) -> bytes:
        numbered = {"type": name, "sequence_number": self._number, **more}
        self._number += 1
        return event(codec.encode(numbered), name=name)

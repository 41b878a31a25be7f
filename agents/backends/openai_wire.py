"""Our values to OpenAI's API for chats and embeddings, and back, as plain objects; pure, and without the `openai` package."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.backends import BackendDone, BackendText
from agents.backends.offers import Offer
from common import codec, vectors
from common.errors import BackendError, BadRequest, GarbledReply
from common.frames import MAX_CALLS, Finish
from common.messages import Dispatch, EngineTimings, Message, Role, ToolCall, Usage
from common.prompts import text_tokens

Json = dict[str, Any]

_KINDS = ((b"\xff\xd8\xff", "jpeg"), (b"\x89PNG", "png"), (b"GIF8", "gif"), (b"RIFF", "webp"))
"""How images begin."""

_THOUGHTS = ("reasoning_content", "reasoning")
"""Where servers put what a reasoning model thinks aloud; it is paid for like the answer."""

LEAST_DECODE_S = 0.05
"""Chunks that arrive closer together came in one packet, and tell nothing of a speed."""


def chat_to_wire(dispatch: Dispatch, limit_name: str) -> Json:
    """Give the arguments of a chat; what is absent stays absent, so that the model's own defaults hold. `limit_name` is what the
    provider calls the largest number of tokens. Raises `BadRequest` when an image is not base64."""
    options = dispatch.options
    wire = {
        "model": dispatch.model,
        "messages": _turns(dispatch.messages),
        limit_name: options.max_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "seed": options.seed,
        "stop": list(options.stop) or None,
        "frequency_penalty": options.frequency_penalty,
        "presence_penalty": options.presence_penalty,
        "tools": list(dispatch.tools) or None,
        "response_format": _format(dispatch.format),
    }
    return {key: value for key, value in wire.items() if value is not None}


def _turns(messages: Sequence[Message]) -> list[Json]:
    """Give the conversation. OpenAI ties each result of a tool to a call by its id; where ours has none, results count for the
    calls before them, by name and else in order."""
    turns: list[Json] = []
    open_calls: list[tuple[str, str]] = []
    for number, message in enumerate(messages):
        if message.role is Role.TOOL:
            turns.append({"role": "tool", "content": message.content, "tool_call_id": _answered(message, open_calls)})
            continue
        turn: Json = {"role": str(message.role), "content": _content(message)}
        if message.tool_calls:
            named = [(call.id or f"call_{number}_{index}", call) for index, call in enumerate(message.tool_calls)]
            open_calls = [(known, call.name) for known, call in named]
            turn |= {"content": message.content or None, "tool_calls": [_call(known, call) for known, call in named]}
        turns.append(turn)
    return turns


def _answered(message: Message, open_calls: list[tuple[str, str]]) -> str:
    """Give the id of the call that a result is for, and take it off the list."""
    wanted = message.tool_call_id
    fits = [one for one in open_calls if wanted == one[0] or (wanted is None and message.tool_name == one[1])]
    found = (fits or (open_calls if wanted is None else []))[:1]
    for one in found:
        open_calls.remove(one)
    return found[0][0] if found else wanted or "call_0"


def _call(known: str, call: ToolCall) -> Json:
    arguments = codec.encode(call.arguments).decode()
    return {"id": known, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _content(message: Message) -> str | list[Json]:
    if not message.images:
        return message.content
    images = [{"type": "image_url", "image_url": {"url": _data_uri(image)}} for image in message.images]
    return [*([{"type": "text", "text": message.content}] if message.content else []), *images]


def _data_uri(image: str) -> str:
    try:
        head = base64.b64decode(image, validate=True)[:8]
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"an image is not base64 ({error}): send it without a data: head", param="images") from error
    kind = next((kind for start, kind in _KINDS if head.startswith(start)), "jpeg")
    return f"data:image/{kind};base64,{image}"


def _format(wanted: str | Mapping[str, Any] | None) -> Json | None:
    if wanted is None:
        return None
    if isinstance(wanted, str):
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(wanted)}}


def embed_to_wire(dispatch: Dispatch) -> Json:
    """Give the arguments of an embedding. What is too long, providers refuse, whatever `truncate` says."""
    wire: Json = {"model": dispatch.model, "input": list(dispatch.inputs or ()), "encoding_format": "base64"}
    return wire if dispatch.dimensions is None else {**wire, "dimensions": dispatch.dimensions}


def embeddings_of(body: Mapping[str, Any], texts: int) -> tuple[str, ...]:
    """Read the embeddings of so many texts, in their order; there are servers that give numbers, whatever is asked. Raises
    `GarbledReply`, and what Python raises of odd values."""
    ordered = sorted(body["data"], key=lambda one: one["index"])
    if [one["index"] for one in ordered] != list(range(texts)):
        raise GarbledReply(f"the provider gave {len(ordered)} embeddings of {texts} texts")
    given = [one["embedding"] for one in ordered]
    return tuple(vectors.pack(vectors.unpack(one) if isinstance(one, str) else one) for one in given)


def prompt_usage(body: Any) -> Usage | None:
    """Read what was counted of the texts; None when nothing was."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict) or "prompt_tokens" not in usage:
        return None
    return Usage(prompt_tokens=_count(usage["prompt_tokens"]))


class Answer:
    """Gathers the chunks of one answer. Times are seconds of one monotonic clock, the first when the request was sent."""

    def __init__(self, host: str, sent_s: float) -> None:
        self._texts: list[str] = []
        self._host = host
        self._sent_s = sent_s
        self._first_s: float | None = None
        self._last_s = sent_s
        self._thoughts: list[str] = []
        self._calls: list[_Growing] = []
        self._reason: str | None = None
        self._usage: Mapping[str, Any] | None = None

    def hear(self, chunk: Mapping[str, Any], now_s: float) -> BackendText | None:
        """Take in a chunk, and give what it says; None for one that is not of the answer itself. Raises what Python raises of odd
        values."""
        if chunk.get("usage"):
            self._usage = chunk["usage"]  # some count along in every chunk: the last one is the sum
        choices = chunk.get("choices") or ()
        if not choices:
            return None
        delta = choices[0].get("delta") or {}
        self._reason = choices[0].get("finish_reason") or self._reason
        for call in delta.get("tool_calls") or ():
            self._hear_call(call)
        text = str(delta.get("content") or delta.get("refusal") or "")
        if text or any(value for key, value in delta.items() if key != "role"):
            self._first_s = now_s if self._first_s is None else self._first_s
            self._last_s = now_s
        self._texts.append(text)
        self._thoughts += [said for name in _THOUGHTS if isinstance(said := delta.get(name), str)][:1]
        return BackendText(text)

    def usd(self, offer: Offer, prompt_tokens: int) -> tuple[float, bool]:
        """Give what it costs so far, and whether that is an estimate: by the provider's count, else by what was heard: text,
        thoughts and calls alike, behind a prompt of so many tokens."""
        usage = self.usage
        if usage is not None:
            return offer.usd(usage.prompt_tokens, usage.completion_tokens, self._cached_tokens()), False
        calls = "".join(call.name + call.arguments for call in self._calls)
        heard = sum(text_tokens("".join(parts)) for parts in (self._texts, self._thoughts, [calls]))
        return offer.usd(prompt_tokens, heard), True

    def done(self) -> BackendDone:
        """Give the end of the answer. Raises when there is none: 1. it broke off 2. it was filtered."""
        if self._reason is None:  # 1
            raise BackendError(f"{self._host} broke off its answer: ask again, or another device")
        if self._reason == "content_filter":  # 2
            raise BadRequest(
                f"{self._host} has ended the answer by its content filter: ask otherwise", param="messages"
            )
        usage, calls = self.usage, self._tool_calls()
        return BackendDone(
            finish=_finish(self._reason, calls),
            usage=usage or Usage(),
            engine=self._timings(),
            tool_calls=calls,
        )

    @property
    def usage(self) -> Usage | None:
        """What the provider counted; None when it did not."""
        if self._usage is None:
            return None
        return Usage(
            prompt_tokens=_count(self._usage.get("prompt_tokens")),
            completion_tokens=_count(self._usage.get("completion_tokens")),
        )

    def _cached_tokens(self) -> int:
        details = (self._usage or {}).get("prompt_tokens_details") or {}
        return _count(details.get("cached_tokens"))

    def _hear_call(self, part: Mapping[str, Any]) -> None:
        """A call comes in pieces: its id and name first, then its arguments bit by bit. Some servers leave out the index, or give
        each call the same: there a new id begins a new call."""
        place, known = part.get("index"), str(part.get("id") or "")
        found = next((one for one in reversed(self._calls) if place is None or one.place == place), None)
        if found is None or (known and found.id and known != found.id):
            if len(self._calls) == MAX_CALLS:
                raise GarbledReply(f"{self._host} called more than {MAX_CALLS} functions at once")
            found = _Growing(_count(place) if place is not None else len(self._calls))
            self._calls.append(found)
        function = part.get("function") or {}
        found.id = found.id or known
        found.name = found.name or str(function.get("name") or "")
        found.parts.append(str(function.get("arguments") or ""))

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(_tool_call(call) for call in sorted(self._calls, key=lambda call: call.place))

    def _timings(self) -> EngineTimings:
        """The wire is in them: of the engine itself a provider tells nothing."""
        if self._first_s is None:
            return EngineTimings()
        decode_s = self._last_s - self._first_s
        return EngineTimings(
            prefill_s=self._first_s - self._sent_s, decode_s=decode_s if decode_s >= LEAST_DECODE_S else None
        )


@dataclass(slots=True)
class _Growing:
    """A call of a function as it grows."""

    place: int
    id: str = ""
    name: str = ""
    parts: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        return "".join(self.parts)


def _tool_call(call: _Growing) -> ToolCall:
    try:
        arguments = codec.decode_request(call.arguments.encode()) if call.arguments.strip() else {}
        return codec.build(ToolCall, {"name": call.name, "arguments": arguments, "id": call.id or None})
    except BadRequest as error:
        raise GarbledReply(f"the model called {call.name!r} with arguments that are no JSON object") from error


def _finish(reason: str, calls: Sequence[ToolCall]) -> Finish:
    if reason == "length":
        return Finish.LENGTH
    return Finish.TOOL_CALLS if calls else Finish.STOP


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else 0

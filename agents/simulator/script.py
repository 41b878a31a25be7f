"""Decides what is answered to a request before any time passes: the tokens, why they end, how long the prompt is.

Pure; it knows neither the engine nor HTTP. What a model would decide while it decodes is decided here at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.simulator import asked, structured, text, tokens, toolcalls
from agents.simulator.errors import Refused
from agents.simulator.options import Options
from agents.simulator.profiles import ModelSpec
from agents.simulator.requests import InferenceRequest, Message

# server/prompt.go counts every image as 768 tokens; a chat template adds a few tokens around each message.
IMAGE_TOKENS = 768
TEMPLATE_TOKENS = 4
# llm/llama_server.go bounds an open-ended num_predict to ten contexts.
OPEN_ENDED_CONTEXTS = 10
_TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the context "
    "length in settings, or use a model with a longer context length"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What will be sent, token by token. `pieces` that are `calling` are kept back: `tool_calls` arrive as one chunk, once so many
    tokens have been decoded, and `unparsed`, which turned out to be no call, with the last line."""

    prompt_tokens: int
    prompt: tuple[str, ...] = ()
    """The prompt's pieces as the model reads them; none where it was cut in the middle."""
    thinking: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()
    calling: bool = False
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    unparsed: str = ""
    done_reason: str = "stop"


def write(
    request: InferenceRequest,
    options: Options,
    *,
    device: str,
    model: ModelSpec,
    context_tokens: int,
    default_seed: int,
) -> Script:
    """Write the answer to a request; raise Refused when it can't be given."""
    check_format(request.format)
    messages = request.messages
    if request.truncate:
        messages = kept_messages(messages, context_tokens)
    prompt = read_pieces(request, messages)
    prompt_tokens = _fitted(request, len(prompt), options, context_tokens)
    seed = options.seed if options.seed is not None else default_seed
    calls = toolcalls.wanted(messages, request.tools, seed) if request.tools else ()
    thinking = tuple(text.thoughts(_question(messages))) if thinks(request, model) else ()
    spelt = [toolcalls.spelt(call, model.family) for call in calls]
    pieces = _pieces(request, messages, device, model, seed) if not calls else tokens.pieces("".join(spelt))
    spoken = tuple(pieces) if calls else tuple(text.cut_at_stop(pieces, options.stop))
    script = Script(
        prompt_tokens=prompt_tokens,
        prompt=prompt if prompt_tokens == len(prompt) else (),
        thinking=thinking,
        pieces=spoken,
        calling=bool(calls),
        tool_calls=calls,
    )
    limited = _limited(script, _limit(request, options, prompt_tokens, context_tokens))
    return limited if limited is script else _parsed(limited, spelt, toolcalls.tag_of(model.family))


def context_ids(request: InferenceRequest, script: Script) -> tuple[int, ...]:
    """Give the token numbers of prompt and answer, which /api/generate returns; none for a raw prompt."""
    if request.raw:
        return ()
    asked = "".join(message.content for message in request.messages)
    return (*request.context, *tokens.ids(asked), *tokens.ids("".join(script.pieces)))


def thinks(request: InferenceRequest, model: ModelSpec) -> bool:
    """Tell whether the answer begins with thoughts: thinking models do unless they are told not to."""
    return model.can("thinking") and request.think is not False


def check_format(wanted: object) -> None:
    """Raise Refused unless the format is absent, "json" or a schema."""
    if wanted in (None, "", "json") or isinstance(wanted, dict):
        return
    raw = json.dumps(wanted, separators=(",", ":"), ensure_ascii=False)
    message = f'invalid format: {json.dumps(raw, ensure_ascii=False)}; expected "json" or a valid JSON Schema object'
    raise Refused(500, message)


def prompt_tokens_of(message: Message) -> int:
    """Count the tokens of one message of a chat."""
    return tokens.count(message.content) + TEMPLATE_TOKENS + IMAGE_TOKENS * len(message.images)


def opening(role: str) -> list[str]:
    """Give what a chat template puts before a message."""
    return [f"<{role}>"] * TEMPLATE_TOKENS


def read_pieces(request: InferenceRequest, messages: Sequence[Message]) -> tuple[str, ...]:
    """Give a prompt in the order in which a model reads it: tools, what went before, the messages."""
    read = tokens.pieces(json.dumps(list(request.tools)))
    read += map(str, request.context)
    for message in messages:
        read += [] if request.raw else opening(message.role)
        read += tokens.pieces(message.content)
        for image in message.images:
            read += [f"<image {hash(image)}>"] * IMAGE_TOKENS
    return (*read, *tokens.pieces(request.suffix))


def kept_messages(messages: Sequence[Message], context_tokens: int) -> tuple[Message, ...]:
    """Drop the oldest messages until the rest fits; system messages and the last one always stay."""
    costs = [prompt_tokens_of(message) for message in messages]
    total, first = sum(costs), 0
    while total > context_tokens and first < len(messages) - 1:
        total -= 0 if messages[first].role == "system" else costs[first]
        first += 1
    return (*(message for message in messages[:first] if message.role == "system"), *messages[first:])


def shifted_prompt(prompt_tokens: int, *, context_tokens: int, keep_tokens: int) -> int:
    """Give the length that one too long prompt is cut to: the kept start, and half of the rest of the context."""
    if prompt_tokens <= context_tokens - 1:
        return prompt_tokens
    keep = max(0, min(keep_tokens, context_tokens - 1))
    return context_tokens - max((context_tokens - keep) // 2, 1)


def _fitted(request: InferenceRequest, count: int, options: Options, context_tokens: int) -> int:
    if count > context_tokens - 1 and not (request.shift and request.truncate):
        raise Refused(400, _TOO_LONG)
    return max(shifted_prompt(count, context_tokens=context_tokens, keep_tokens=options.num_keep), 1)


def _question(messages: Sequence[Message]) -> str:
    return next((message.content for message in reversed(messages) if message.role == "user"), "")


def _pieces(
    request: InferenceRequest, messages: Sequence[Message], device: str, model: ModelSpec, seed: int
) -> list[str]:
    so_far = messages[-1].content if messages and messages[-1].role == "assistant" else ""
    turns = messages[:-1] if so_far else messages
    history = "\n".join(f"{message.role}: {message.content}" for message in turns)
    writer = text.Writer(device=device, model=model.name, question=_question(turns), history=history, seed=seed)
    if request.format:
        return tokens.pieces(_structured(request.format, writer))
    if not so_far and (form := asked.example(writer.question)) is not None:
        return tokens.pieces(asked.fill(form, label=writer.label, topic=writer.topic))
    return writer.continuation(so_far) if so_far else writer.answer()


def _structured(wanted: object, writer: text.Writer) -> str:
    try:
        return structured.fill(wanted, label=writer.label, topic=writer.topic, question=writer.question)
    except ValueError as error:
        raise Refused(500, f"invalid JSON schema in format: {error}") from error


def _limit(request: InferenceRequest, options: Options, prompt_tokens: int, context_tokens: int) -> int:
    """Give the most tokens that may be decoded: num_predict, and the end of the context where it may not shift."""
    most = OPEN_ENDED_CONTEXTS * context_tokens
    limit = most if options.num_predict < 0 else min(options.num_predict, most)
    return limit if request.shift else min(limit, context_tokens - prompt_tokens)


def _limited(script: Script, limit: int) -> Script:
    """Cut a script after `limit` tokens; it then ends with reason `length`."""
    if len(script.thinking) + len(script.pieces) <= limit:
        return script
    thinking = script.thinking[:limit]
    pieces = script.pieces[: limit - len(thinking)]
    return replace(script, thinking=thinking, pieces=pieces, done_reason="length")


def _parsed(script: Script, spelt: Sequence[str], tag: str) -> Script:
    """Leave the calls that were written to their end before the cut, as Ollama's parser does (`tools/tools.go`): the rest of a call
    is dropped; where calls have no tag, it may have been text all along, and is given when there was no call."""
    if not script.calling:
        return script
    said, whole, length = "".join(script.pieces), 0, 0
    for one in spelt:
        length += len(one)
        whole += length <= len(said)
    unparsed = said if tag == toolcalls.BARE and not whole else ""
    return replace(script, tool_calls=script.tool_calls[:whole], unparsed=unparsed)

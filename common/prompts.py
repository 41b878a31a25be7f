"""How many tokens a conversation takes, and how large a context it needs: estimates on the safe side; it knows no tokenizer.

Which tokenizer a model has only its device knows, and an engine cuts what does not fit without a word. So the estimate is meant
to be too high: about 1.3 times what Llama 2's 32 k vocabulary makes of English prose, and 1.5 times what the larger ones do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common import codec
from common.messages import Dispatch, Message, Options

TOKENS_PER_MESSAGE = 8
"""What a chat template writes around a message."""

TOKENS_PER_TEMPLATE = 24
"""What it writes once: the start, a system text of its own, the head of the answer."""

TOKENS_PER_IMAGE = 1024
"""An assumption: Ollama counts 768 (server/prompt.go); some vision models spend up to 1,600."""

TOKENS_FOR_TOOLS = 128
"""What a template says about tools besides their schemas."""

ANSWER_TOKENS = 1024
"""Room for an answer whose length the request does not limit."""

LEAST_ANSWER_TOKENS = 256
"""Less room than this is no room for an answer."""

DENSE = 12
"""Letters per word above which a text is no prose: base64, hashes, minified code."""

SPLIT_BYTES = 100_000
"""Above it white space counts as one word each: splitting a megabyte takes 20 ms, and counting it 3."""

_LETTERS = bytes([*range(65, 91), *range(97, 123)])
_DIGITS = b"0123456789"
_SPACES = b" \t\r\n\v\f"
_WIDE = bytes(range(128, 256))


@dataclass(frozen=True, slots=True)
class ContextNeed:
    """Tokens that a context must hold at least, and that it had better hold; `prompt` is the prompt's share of both."""

    prompt: int
    least: int
    wished: int


def context_need(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], options: Options) -> ContextNeed:
    """Say how large a context a request needs: prompt and answer, and no less than the request itself asks for."""
    prompt = prompt_tokens(messages, tools)
    asked = options.context_tokens or 0
    least = max(asked, prompt + (options.max_tokens or LEAST_ANSWER_TOKENS))
    return ContextNeed(prompt, least, max(least, prompt + (options.max_tokens or ANSWER_TOKENS)))


def prompt_tokens(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> int:
    """Estimate the tokens of a conversation, its images and tools included."""
    texts = sum(text_tokens(message.content) for message in messages)
    images = TOKENS_PER_IMAGE * sum(len(message.images) for message in messages)
    calls = sum(_json_tokens(call.arguments) + TOKENS_PER_MESSAGE for one in messages for call in one.tool_calls)
    offered = TOKENS_FOR_TOOLS + sum(_json_tokens(tool) for tool in tools) if tools else 0
    return TOKENS_PER_TEMPLATE + TOKENS_PER_MESSAGE * len(messages) + texts + images + calls + offered


def dispatched_tokens(dispatch: Dispatch) -> int:
    """Estimate the tokens that a model reads for an attempt: its conversation, or the texts that it is to embed."""
    if dispatch.inputs is None:
        return prompt_tokens(dispatch.messages, dispatch.tools)
    return sum(text_tokens(text) for text in dispatch.inputs)


def text_tokens(text: str) -> int:
    """Estimate the tokens of a text.

    1. Letters: three quarters of a token for each word and a fifth for each letter, or a third for each letter of long words; a
    text that is no prose gets more. 2. Digits and signs: one each, as many tokenizers have it. 3. Other scripts: half a token
    for each byte of UTF-8. 4. White space beyond one between words: half a token each.
    """
    data = text.encode("utf-8", "replace")
    letters = _count(data, _LETTERS)
    wide = _count(data, _WIDE)
    spaces = _count(data, _SPACES)
    words = len(data.split()) if len(data) <= SPLIT_BYTES else spaces + 1
    prose = max(0.75 * words + letters / 5, letters / 3)  # 1
    spelled = max(prose, letters / 1.8) if letters > DENSE * words else prose
    signs = len(data) - letters - wide - spaces  # 2
    return round(spelled + signs + wide / 2 + max(0, spaces - words) / 2)  # 3, 4


def _count(data: bytes, which: bytes) -> int:
    """Count the bytes that are among `which`; in C, since a prompt may have a million."""
    return len(data) - len(data.translate(None, which))


def _json_tokens(value: Mapping[str, Any]) -> int:
    return text_tokens(codec.encode(dict(value)).decode("utf-8", "replace"))

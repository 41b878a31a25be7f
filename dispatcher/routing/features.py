"""What can be read off a request without a model: size, complexity, topics; it knows no device.

All of it together must stay below 0.2 ms for an ordinary prompt, so only the head of a long text is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common import codec
from common.messages import ChatRequest, Message, Role
from common.prompts import context_need, text_tokens
from dispatcher.routing.topics import topic_similarities, word_counts

CHARS_PER_TOKEN = 4.0
"""OpenAI's rule of thumb for English text; the backend's own count replaces it in the record."""

TOKENS_PER_IMAGE = 600
"""An assumption: vision models spend some 250 to 1,600 tokens on an image."""

EXPECTED_OUTPUT_TOKENS = 200
"""An assumption for a chat answer that names no limit."""

_HEAD_CHARS = 4000

_HARD = frozenset(
    """
    prove proof derive theorem integral algorithm complexity optimize optimise refactor debug implement
    design architecture analyze analyse compare evaluate explain tradeoff tradeoffs constraint constraints
    equation probability recursion recursive concurrent concurrency step therefore
    """.split()  # noqa: SIM905  # words read better than quotes
)
"""Words of demanding tasks."""

_CODE = ("```", "def ", "class ", "import ", "#include", "function ", "=>", "{\n", ";\n", "SELECT ", "();")
"""Marks of code; plain searches, since one regular expression over them took a tenth of a job's time."""

_MATH = re.compile(r"[=<>^∑∫√$\\]|\d\s?[-+*/]\s?\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """`prompt_tokens` and `output_tokens` are what is likely, `context_tokens` is what a context must hold to be safe;
    `complexity` is in [0, 1]; `topics` holds similarities in [0, 1]. `most_prompt_tokens` is a careful estimate, and
    `most_answer_tokens` what the request allows, None for any number: what must be paid for at most. `embeds` says that vectors are
    wanted, and no text."""

    prompt_tokens: int
    output_tokens: int
    context_tokens: int
    complexity: float
    topics: dict[str, float]
    images: bool
    tools: bool
    most_prompt_tokens: int = 0
    most_answer_tokens: int | None = None
    embeds: bool = False


def features(request: ChatRequest, messages: Sequence[Message]) -> Features:
    """Read a request's features. The topic and the complexity are those of the last user turn; the size counts all turns,
    and the tools: Open WebUI offers 28 of them with each chat, 20 kB that a model reads before the question."""
    chars = sum(len(message.content) for message in messages) + sum(
        len(codec.encode(dict(tool))) for tool in request.tools
    )
    images = sum(len(message.images) for message in messages)
    last = next((message.content for message in reversed(messages) if message.role is Role.USER), "")
    topics, hard = looks(last)
    need = context_need(messages, request.tools, request.options)
    return Features(
        prompt_tokens=max(1, round(chars / CHARS_PER_TOKEN)) + images * TOKENS_PER_IMAGE,
        output_tokens=min(request.options.max_tokens or EXPECTED_OUTPUT_TOKENS, 4 * EXPECTED_OUTPUT_TOKENS),
        context_tokens=need.least,
        complexity=hard,
        topics=topics,
        images=images > 0,
        tools=bool(request.tools),
        most_prompt_tokens=need.prompt,
        most_answer_tokens=request.options.max_tokens,
    )


def features_of_texts(texts: Sequence[str]) -> Features:
    """Read the features of texts that are to be embedded. Each needs a context of its own, and what is too long for one is cut, or
    refused by the device, which alone can count: no context is asked for here."""
    chars = sum(map(len, texts))
    return Features(
        prompt_tokens=max(1, round(chars / CHARS_PER_TOKEN)),
        output_tokens=0,
        context_tokens=1,
        complexity=0.0,
        topics={},
        images=False,
        tools=False,
        most_prompt_tokens=sum(map(text_tokens, texts)),
        most_answer_tokens=0,
        embeds=True,
    )


def looks(text: str) -> tuple[dict[str, float], float]:
    """Give how near the words of a question are to each topic, and how demanding it looks: what training and routing both see."""
    head = text[:_HEAD_CHARS]
    counts = word_counts(head)
    return topic_similarities(counts), complexity(head, counts)


def complexity(text: str, counts: Mapping[str, int]) -> float:
    """Say how demanding a question looks, in [0, 1]: a rule, not a measurement.

    `counts` are the text's words. 0.45 for the words of hard tasks (three are enough), 0.2 for code, 0.15 for formulae, 0.2 for
    length (1,200 characters are enough). The trained router replaces it.
    """
    hard = min(1.0, len(_HARD & counts.keys()) / 3)
    code = 1.0 if any(mark in text for mark in _CODE) else 0.0
    math = 1.0 if _MATH.search(text) else 0.0
    return 0.45 * hard + 0.2 * code + 0.15 * math + 0.2 * min(1.0, len(text) / 1200)

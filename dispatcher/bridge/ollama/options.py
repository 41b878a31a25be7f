"""Ollama's options as ours; it knows nothing else of the request.

Ollama takes any number here and makes the best of it, so what lies outside of our bounds becomes the nearest that does not.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from dispatcher.bridge.openai.request import LEAST_TOP_P
from dispatcher.bridge.reading import Body

MOST_TOKENS = 1_000_000
LEAST_CONTEXT, MOST_CONTEXT = 128, 10_000_000
MOST_TEMPERATURE, MOST_PENALTY = 5.0, 2.0
_INT64 = 2**63

Real = Annotated[float, Field(allow_inf_nan=False)]


class OllamaOptions(Body):
    """Those that mean something to a fleet; all others (top_k, mirostat, num_gpu, …) are ignored."""

    num_predict: Real | None = Field(None, description="tokens of the answer; 0, -1 and -2 leave it to the model")
    num_ctx: Real | None = Field(
        None, description="the least context in tokens; of more than any device has, it becomes the most that one has"
    )
    temperature: Real | None = None
    top_p: Real | None = None
    seed: int | Real | None = Field(None, description="-1 is none")
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    frequency_penalty: Real | None = None
    presence_penalty: Real | None = None


def to_options(given: OllamaOptions | None, most_context: int | None) -> dict[str, Any]:
    """Map them. `most_context` is the largest context that the fleet has of the model, in tokens, where that is known."""
    if given is None:
        return {}
    stop = [given.stop] if isinstance(given.stop, str) else given.stop or []
    options = {
        "max_tokens": _above_0(given.num_predict, MOST_TOKENS),
        "context_tokens": _context(given.num_ctx, most_context or MOST_CONTEXT),
        "temperature": _within(given.temperature, 0.0, MOST_TEMPERATURE),
        "top_p": _within(given.top_p, LEAST_TOP_P, 1.0),
        "seed": _seed(given.seed),
        "stop": tuple(text for text in stop if text),
        "frequency_penalty": _within(given.frequency_penalty, -MOST_PENALTY, MOST_PENALTY),
        "presence_penalty": _within(given.presence_penalty, -MOST_PENALTY, MOST_PENALTY),
    }
    return {key: value for key, value in options.items() if value is not None}


def _within(value: float | None, least: float, most: float) -> float | None:
    return None if value is None else min(max(value, least), most)


def _above_0(value: float | None, most: int) -> int | None:
    return None if value is None or value < 1 else int(min(value, most))


def _context(value: float | None, most: int) -> int | None:
    """A wish for room, no limit: what a prompt really needs is seen to where it runs. Zed wishes 16,384 of every Llama."""
    wished = _above_0(value, min(most, MOST_CONTEXT))
    return None if wished is None else max(wished, LEAST_CONTEXT)


def _seed(value: float | None) -> int | None:
    """Any whole number does; -1 asks for none at Ollama."""
    seed = None if value is None else int(value)
    return None if seed in (None, -1) else min(max(seed, -_INT64), _INT64 - 1)

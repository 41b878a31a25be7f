"""What an agent's span tells of a call to its backend, in OpenTelemetry's words for generative AI; never a prompt or an answer.

The attributes are those of its semantic conventions 1.41 (in development there).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from agents.backends import BackendDone
from common import tracing
from common.messages import Dispatch
from common.tracing import Kind, Span, Value

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Who runs the models. `provider` is what the conventions call it: `openai`, or our own word where they have none."""

    provider: str
    address: str = ""
    port: int | None = None


def server(provider: str, url: str = "") -> Server:
    """Read it from a backend's URL."""
    parts = urlsplit(url)
    if not parts.hostname:
        return Server(provider=provider)
    return Server(provider=provider, address=parts.hostname, port=parts.port or _PORTS.get(parts.scheme))


def called(dispatch: Dispatch, headers: Mapping[str, str], to: Server) -> Span:
    """Begin the span of a call, below the attempt that its dispatcher names."""
    if not tracing.active():
        return tracing.OFF
    options, doing = dispatch.options, "chat" if dispatch.inputs is None else "embeddings"
    values: dict[str, Value | None] = {
        "gen_ai.operation.name": doing,
        "gen_ai.provider.name": to.provider,
        "gen_ai.request.model": dispatch.model,
        "gen_ai.request.stream": dispatch.inputs is None,  # of the backend, whatever the producer wants
        "gen_ai.request.max_tokens": options.max_tokens,
        "gen_ai.request.temperature": options.temperature,
        "gen_ai.request.top_p": options.top_p,
        "gen_ai.request.seed": options.seed,
        "gen_ai.request.frequency_penalty": options.frequency_penalty,
        "gen_ai.request.presence_penalty": options.presence_penalty,
        "gen_ai.output.type": None if dispatch.inputs is not None else "text" if dispatch.format is None else "json",
        "server.address": to.address or None,
        "server.port": to.port,
        "drover.job": dispatch.job,
        "drover.attempt": dispatch.attempt,
    }
    return tracing.begin(f"{doing} {dispatch.model}", headers, Kind.CLIENT, values)


def answered(span: Span, done: BackendDone, model: str, first_token_s: float | None) -> None:
    """Note how the backend answered."""
    if span is tracing.OFF:
        return
    span.note(
        {
            "gen_ai.response.model": model,
            "gen_ai.response.finish_reasons": (str(done.finish),),
            "gen_ai.response.time_to_first_chunk": first_token_s,
            "gen_ai.usage.input_tokens": done.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": done.usage.completion_tokens,
        }
    )
    if first_token_s is not None:
        span.event("first token", first_token_s)

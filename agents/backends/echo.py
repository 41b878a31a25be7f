"""A backend that repeats the prompt, in process: it measures the bus and the dispatcher, and knows no model.

Its text says what it is, so that nobody takes it for an answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from agents.backends import Backend, BackendDone, BackendText, Bill, OnDevice, Piece, Version
from common import vectors
from common.errors import UnknownModel
from common.messages import Dispatch, ModelInfo, Role, Usage

MODEL = "echo"

DIMENSIONS = 8


class EchoBackend(OnDevice):
    """Answers `echo: <prompt>` at once; tokens are counted as words."""

    name = "echo"
    continues = False

    async def chat(self, dispatch: Dispatch, bill: Bill) -> AsyncGenerator[Piece, None]:  # noqa: ARG002  # it costs nothing
        """Repeat the last user message. Raises `UnknownModel` for any model but `echo`."""
        _require_model(dispatch)
        prompt = next((turn.content for turn in reversed(dispatch.messages) if turn.role is Role.USER), "")
        words = len(prompt.split())
        yield BackendText(f"echo: {prompt}")
        yield BackendDone(usage=Usage(prompt_tokens=words, completion_tokens=words + 1))

    async def embed(self, dispatch: Dispatch, bill: Bill) -> AsyncGenerator[Piece, None]:  # noqa: ARG002  # it costs nothing
        """Give for each text how many bytes, words and lines it has, and zeros: what no model would. Raises as `chat` does."""
        _require_model(dispatch)
        texts, width = dispatch.inputs or (), min(dispatch.dimensions or DIMENSIONS, DIMENSIONS)
        counts = [[len(text.encode()), len(text.split()), text.count("\n"), *[0] * (DIMENSIONS - 3)] for text in texts]
        packed = tuple(vectors.pack(count[:width]) for count in counts)
        yield BackendDone(usage=Usage(prompt_tokens=sum(len(text.split()) for text in texts)), embeddings=packed)

    async def models(self) -> tuple[ModelInfo, ...]:
        """Name the one model."""
        return (ModelInfo(name=MODEL, loaded=True, capabilities=("completion", "embedding")),)

    async def in_memory(self) -> tuple[ModelInfo, ...]:
        """Name the one model."""
        return await self.models()

    async def one_token(self, model: ModelInfo) -> None:
        """Return at once: there is no engine that could hang."""

    async def load(self, model: ModelInfo, keep_s: float | None) -> None:
        """Return at once: what is no model is in memory."""

    async def version(self) -> Version:
        """Say that nothing here is real."""
        return Version("echo", simulated=True)


def _require_model(dispatch: Dispatch) -> None:
    if dispatch.model != MODEL:
        raise UnknownModel(
            f"the echo backend has no model {dispatch.model!r}: ask for {MODEL!r}, or set DROVER_BACKEND=ollama"
        )


@asynccontextmanager
async def open_echo() -> AsyncIterator[Backend]:
    """Give the backend; there is nothing to open."""
    yield EchoBackend()

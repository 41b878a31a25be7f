"""What runs the models, as the worker and the heartbeat see it; vendors live in the modules beside this one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, assert_never

from common.frames import Finish
from common.messages import Dispatch, EngineTimings, ModelInfo, ToolCall, Usage

if TYPE_CHECKING:
    from agents.settings import AgentSettings
    from agents.telemetry import Readings


@dataclass(frozen=True, slots=True)
class BackendText:
    """A piece of the answer. Empty text means that the model thinks: it is at work, and there is nothing to show."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendDone:
    """The answer is complete; the last piece of each."""

    finish: Finish = Finish.STOP
    usage: Usage = Usage()
    engine: EngineTimings = EngineTimings()
    tool_calls: tuple[ToolCall, ...] = ()


Piece = BackendText | BackendDone


@dataclass(frozen=True, slots=True)
class Version:
    """What the backend says of itself."""

    text: str
    simulated: bool = False


class Backend(Protocol):
    """Runs chats. All methods raise the typed errors of `common.errors` and nothing of a vendor's."""

    @property
    def name(self) -> str: ...

    @property
    def continues(self) -> bool:
        """True when a conversation that ends in the assistant's own words is gone on with, rather than answered."""
        ...

    def chat(self, dispatch: Dispatch) -> AsyncGenerator[Piece, None]:
        """Give the answer piece by piece, `BackendDone` last. Closing the generator before that stops the work."""
        ...

    async def models(self) -> tuple[ModelInfo, ...]:
        """List what is on disk, and what of it is in memory now."""
        ...

    async def in_memory(self) -> tuple[ModelInfo, ...]:
        """List what is in memory at this moment."""
        ...

    async def one_token(self, model: ModelInfo) -> None:
        """Have a model that is in memory produce one token, without any change of how it is loaded."""
        ...

    async def version(self) -> Version: ...


def open_backend(settings: AgentSettings, readings: Callable[[], Readings]) -> AbstractAsyncContextManager[Backend]:
    """Open the backend that the settings name; its library is imported only then. `readings` gives the device's memory."""
    match settings.agent.backend:
        case "ollama":
            from agents.backends.ollama import open_ollama  # noqa: PLC0415

            return open_ollama(settings.ollama, readings, slots=settings.slots)
        case "echo":
            from agents.backends.echo import open_echo  # noqa: PLC0415

            return open_echo()
    assert_never(settings.agent.backend)

"""What runs the models, as the worker and the heartbeat see it; vendors live in the modules beside this one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, assert_never

from common.errors import ConfigError, DeviceBusy
from common.frames import COST_DIGITS, Finish
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
    logprobs: tuple[float, ...] = ()
    embeddings: tuple[str, ...] = ()


class Bill:
    """What a job has cost, as far as is known: written by the backend, and read however the job ended. `usd` is None where nothing
    costs; `estimated` tells that not all of it is the provider's own count."""

    def __init__(self) -> None:
        self.usd: float | None = None
        self.estimated = False

    def owe(self, usd: float, *, estimated: bool) -> None:
        """Add what one try has cost."""
        self.usd = (self.usd or 0.0) + usd
        self.estimated = self.estimated or estimated

    def again(self) -> DeviceBusy | None:
        """Set aside as much for another try; gives why that can't be."""
        return None

    def wire(self) -> dict[str, float | bool]:
        """Give it as it travels; nothing where nothing was spent."""
        if not self.usd:
            return {}
        return {"cost_usd": round(self.usd, COST_DIGITS), **({"cost_estimated": True} if self.estimated else {})}


Piece = BackendText | BackendDone


@dataclass(frozen=True, slots=True)
class Version:
    """What the backend says of itself."""

    text: str
    simulated: bool = False


class Backend(Protocol):
    """Runs chats, and embeds texts. All methods raise the typed errors of `common.errors` and nothing of a vendor's."""

    @property
    def name(self) -> str: ...

    @property
    def continues(self) -> bool:
        """True when a conversation that ends in the assistant's own words is gone on with, rather than answered."""
        ...

    @property
    def remote(self) -> bool:
        """True when the models run elsewhere, for money."""
        ...

    @property
    def needs_key(self) -> bool:
        """True when each request must bring a key for the provider."""
        ...

    @property
    def lets_go(self) -> bool:
        """True when closing a chat stops the work for it at any moment; otherwise only once the first piece was given."""
        ...

    def refusal(self) -> DeviceBusy | None:
        """Say why nothing new is taken now, whatever slots there are; asked before each heartbeat."""
        ...

    def admit(self, dispatch: Dispatch) -> AbstractContextManager[Bill]:
        """Set aside what a job needs besides a slot, until it has ended; entered before the job is accepted. Raises `DeviceBusy`
        when that is not there."""
        ...

    def chat(self, dispatch: Dispatch, bill: Bill) -> AsyncGenerator[Piece, None]:
        """Give the answer piece by piece, `BackendDone` last. Closing the generator before that stops the work. `bill` is what
        `admit` gave, and complete once the generator is closed."""
        ...

    def embed(self, dispatch: Dispatch, bill: Bill) -> AsyncGenerator[Piece, None]:
        """Embed the texts of a dispatch: gives `BackendDone` alone, with an embedding of each. The rest is as with chats."""
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

    async def load(self, model: ModelInfo, keep_s: float | None) -> None:
        """Return when a model is in memory; it stays for `keep_s` without work, or as long as any. Raises `ModelNotLoadable`, and
        `UnsupportedByModel` where there is nothing to load."""
        ...

    async def version(self) -> Version: ...

    def tune(self, settings: AgentSettings) -> None:
        """Go by these settings from now on, as far as it can while it is open."""
        ...


class OnDevice:
    """What all backends have in common that run their models on the device itself."""

    remote = False
    needs_key = False
    lets_go = False

    def refusal(self) -> DeviceBusy | None:
        """The slots are the only limit."""
        return None

    def tune(self, settings: AgentSettings) -> None:
        """There is nothing to tune."""

    def admit(self, dispatch: Dispatch) -> AbstractContextManager[Bill]:  # noqa: ARG002  # all are alike
        """Nothing costs."""
        return nullcontext(Bill())


def open_backend(settings: AgentSettings, readings: Callable[[], Readings]) -> AbstractAsyncContextManager[Backend]:
    """Open the backend that the settings name; its library is imported only then. `readings` gives the device's memory."""
    match settings.agent.backend:
        case "ollama":
            from agents.backends.ollama import open_ollama  # noqa: PLC0415

            return open_ollama(settings.ollama, readings, slots=settings.slots)
        case "echo":
            from agents.backends.echo import open_echo  # noqa: PLC0415

            return open_echo()
        case "openai":
            return _open_cloud(settings)
    assert_never(settings.agent.backend)


def check_backend(settings: AgentSettings) -> None:
    """Raise `ConfigError` when the backend can't be opened as it is set; whether anything answers is not asked."""
    if settings.remote:
        with _extra("cloud"):
            from agents.backends.openai import check  # noqa: PLC0415
        check(settings.cloud)


def _open_cloud(settings: AgentSettings) -> AbstractAsyncContextManager[Backend]:
    with _extra("cloud"):
        from agents.backends.openai import open_openai  # noqa: PLC0415
    return open_openai(settings.cloud, device=settings.agent.device)


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Say what to install where what is imported inside is not there."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"DROVER_BACKEND=openai needs the openai package ({error}): install drover with the extra {name}, as in "
            f'pip install "drover-….whl[agent,{name}]"'
        ) from error

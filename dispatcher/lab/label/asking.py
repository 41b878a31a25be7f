"""What is wanted of a model and what comes back, as values; who is asked, and over what, is not known here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer. Tokens are the server's count, else an estimate; `cut` says that there was no room for more of it."""

    text: str
    prompt_tokens: int
    answer_tokens: int
    cut: bool
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a model is asked. With a `schema` the answer is asked for as JSON that fits it, where the server knows how."""

    max_tokens: int
    temperature: float | None = None
    seed: int | None = None
    schema: Mapping[str, Any] | None = None


class Models(Protocol):
    """Whoever has the models."""

    async def ask(
        self, model: str, messages: Sequence[Mapping[str, str]], manner: Manner, lost: Callable[[], None]
    ) -> Reply:
        """Get one answer; `lost` is called for each try before it that may have been computed for nothing, and
        raises `BudgetSpent` when there is no money for another.

        Raises `ConfigError`, `BudgetSpent` or `UnknownModel` when no other call will do better, and any other `FleetError` for
        this one.
        """
        ...

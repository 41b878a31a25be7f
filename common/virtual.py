"""Names of models that stand for a way to choose one: `auto` and its kin; it knows neither fleet nor score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from common.messages import AUTO, ChatRequest, split_target


@dataclass(frozen=True, slots=True)
class Virtual:
    """What such a name asks for. A request that says something else besides keeps its own word."""

    what: str
    strategy: str | None = None
    local: bool = False


VIRTUAL: Mapping[str, Virtual] = {
    AUTO: Virtual("the fleet chooses model and device"),
    "auto:fast": Virtual("the fewest seconds to the answer", strategy="energy:fast"),
    "auto:eco": Virtual("the fewest joules for the answer", strategy="energy:eco"),
    "auto:local": Virtual("no model that runs elsewhere", local=True),
}

LATEST = ":latest"
"""What Ollama's clients put behind a name that has no tag of its own."""


def virtual(name: str) -> Virtual | None:
    """Give what a name stands for; None for a model's own. `auto:latest` is `auto`."""
    return VIRTUAL.get(name.removesuffix(LATEST) or AUTO)


def resolved(request: ChatRequest) -> ChatRequest:
    """Give the request with what its model's name stands for written out; a model's own name changes nothing."""
    name, device = split_target(request.model)
    found = virtual(name)
    if found is None:
        return request
    return replace(
        request,
        model=AUTO if device is None else f"{AUTO}@{device}",
        strategy=request.strategy or found.strategy,
        local=request.local or found.local,
    )

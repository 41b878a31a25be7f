"""The order to load a model ahead of any job, as devices take it under `llm.v1.dev.<device>.load`, and what they answer; it loads
nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Gt, Le
from pydantic import ConfigDict

from common.messages import Name, Number

WAIT_S = 60.0
MOST_WAIT_S = 600.0
"""The longest that anybody may wait, and the longest that one load goes on."""

MOST_KEEP_S = 86_400.0
"""Longer is for ever, in which nothing else may find room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOrder:
    """Load a model, to stay for `keep_s` without work, or else as long as any there, and say within `wait_s` whether that is
    done."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    model: Name
    keep_s: Annotated[float, Gt(0), Le(MOST_KEEP_S)] | None = None
    wait_s: Annotated[float, Gt(0), Le(MOST_WAIT_S)] = WAIT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTold:
    """How it stands after so many seconds: `loading` where nobody waits any more, and it goes on."""

    model: Name
    state: Literal["loaded", "loading"]
    seconds: Number

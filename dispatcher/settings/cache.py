"""The knobs of the cache of answers."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import AfterValidator, Field, SecretStr

from common.settings import Section
from common.subjects import is_token
from dispatcher.settings.kinds import Finite, Seconds

MODES = ("off", "exact", "shadow", "semantic")
MOST_TENANTS = 1000


def modes_from(text: str) -> dict[str, str]:
    """Read `alice=semantic,kiosk=off`. Raises `ValueError` that names the wrong part."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > MOST_TENANTS:
        raise ValueError(f"{len(parts)} tenants are named: at most {MOST_TENANTS} are taken")
    modes: dict[str, str] = {}
    for part in parts:
        tenant, _, mode = (side.strip() for side in part.partition("="))
        if not is_token(tenant) or mode not in MODES or tenant in modes:
            raise ValueError(
                f"{part[:80]!r} is no tenant with a mode of its own: write alice=semantic, of {', '.join(MODES)}"
            )
        modes[tenant] = mode
    return modes


def _modes_text(text: str) -> str:
    modes_from(text)
    return text


class CacheSection(Section):
    """The cache of answers. A request may ask for less than its tenant has, and for likeness where the mode is not off."""

    mode: Literal["off", "exact", "shadow", "semantic"] = Field(
        "exact",
        validation_alias="DROVER_CACHE",
        description="off, exact (the very same request is answered once), shadow (and a look at what likeness would have found, "
        "without giving it) or semantic (a question that means the same is answered once)",
    )
    tenants: Annotated[str, AfterValidator(_modes_text)] = Field(
        "",
        validation_alias="DROVER_CACHE_TENANTS",
        description="tenants with a mode of their own: alice=semantic,kiosk=off",
    )
    redis_url: SecretStr = Field(
        SecretStr(""),
        validation_alias="REDIS_URL",
        description="the Redis that all dispatchers share, such as redis://localhost:6379/0; empty keeps answers in this process",
    )
    prefix: str = Field(
        "drover", validation_alias="DROVER_CACHE_PREFIX", description="what our keys in Redis begin with"
    )
    epoch: str = Field(
        "",
        validation_alias="DROVER_CACHE_EPOCH",
        description="part of every key: another word, and all kept answers are forgotten",
    )
    ttl_s: Annotated[Finite, Gt(0), Le(31_536_000)] = Field(
        3600.0, validation_alias="DROVER_CACHE_TTL_S", description="seconds for which an answer is kept"
    )
    entries: Annotated[int, Ge(1), Le(10_000_000)] = Field(
        10_000, validation_alias="DROVER_CACHE_ENTRIES", description="answers that are kept at most, of all tenants"
    )
    size_mb: Annotated[int, Ge(1), Le(1_000_000)] = Field(
        64, validation_alias="DROVER_CACHE_MB", description="MiB that they take at most, as they are stored"
    )
    answer_kb: Annotated[int, Ge(1), Le(100_000)] = Field(
        256, validation_alias="DROVER_CACHE_ANSWER_KB", description="KiB of the longest answer that is kept"
    )
    scope_entries: Annotated[int, Ge(1), Le(100_000)] = Field(
        200,
        validation_alias="DROVER_CACHE_SCOPE_ENTRIES",
        description="questions that are compared at most: those of one context (tenant, user, system prompt, conversation, model)",
    )
    budget_s: Annotated[Finite, Gt(0), Le(1)] = Field(
        0.02,
        validation_alias="DROVER_CACHE_BUDGET_S",
        description="seconds that a request waits for Redis at most, all its questions together; then it goes on without",
    )
    max_temperature: Annotated[Finite, Ge(0), Le(5)] = Field(
        1.0,
        validation_alias="DROVER_CACHE_MAX_TEMPERATURE",
        description="a request that names a higher temperature wants another answer each time, and gets it",
    )
    error_rate: Annotated[Finite, Gt(0), Le(0.5)] = Field(
        0.01,
        validation_alias="DROVER_CACHE_ERROR_RATE",
        description="wrong answers by likeness that are accepted, as a share of all requests; the verifier was calibrated to it",
    )
    verifier: str = Field(
        "shipped",
        validation_alias="DROVER_CACHE_VERIFIER",
        description="what judges two questions that are alike: shipped, a file of `drover lab train-verifier`, or rules",
    )
    replay_chars_s: Annotated[Finite, Ge(0), Le(100_000)] = Field(
        0.0,
        validation_alias="DROVER_CACHE_REPLAY_CHARS_S",
        description="characters a second at which a kept answer is streamed; 0 is at once, 60 about what people read",
    )
    share_s: Seconds = Field(
        120.0,
        validation_alias="DROVER_CACHE_SHARE_S",
        description="seconds for which one of several identical requests waits for the answer of the one that runs",
    )
    shadow_file: str = Field(
        "",
        validation_alias="DROVER_CACHE_SHADOW_FILE",
        description="where the mode shadow writes pairs of questions, for `drover lab train-verifier`; it holds what people asked, "
        "and is not written unless it is named",
    )

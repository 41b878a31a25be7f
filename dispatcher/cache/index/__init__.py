"""Which kept questions are like another one: three ways behind `VectorIndex`. It knows no answer."""

from dispatcher.cache.index.chosen import open_index
from dispatcher.cache.index.memory import MemoryIndex
from dispatcher.cache.index.redis_durable import DurableIndex
from dispatcher.cache.index.redis_vectors import VectorSetIndex
from dispatcher.cache.index.scopes import IndexBounds

__all__ = ["DurableIndex", "IndexBounds", "MemoryIndex", "VectorSetIndex", "open_index"]

"""Which kept questions are like another one: three ways behind `VectorIndex`. It knows no answer.

The two ways that need a Redis stand in their own modules, which load its library.
"""

from dispatcher.cache.index.chosen import open_index
from dispatcher.cache.index.memory import MemoryIndex
from dispatcher.cache.index.scopes import IndexBounds

__all__ = ["IndexBounds", "MemoryIndex", "open_index"]

"""Where answers are kept: in this process, or in the Redis that all dispatchers share. It knows neither requests nor likeness.

The store in Redis stands in its own module, `redis`, which loads the library.
"""

from dispatcher.cache.store.memory import MemoryAnswers
from dispatcher.cache.store.shelter import Asking, Health, Shelter

__all__ = ["Asking", "Health", "MemoryAnswers", "Shelter"]

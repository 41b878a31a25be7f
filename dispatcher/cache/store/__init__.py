"""Where answers are kept: in this process, or in the Redis that all dispatchers share. It knows neither requests nor likeness."""

from dispatcher.cache.store.memory import MemoryAnswers
from dispatcher.cache.store.redis import RedisAnswers
from dispatcher.cache.store.shelter import Asking, Health, Shelter

__all__ = ["Asking", "Health", "MemoryAnswers", "RedisAnswers", "Shelter"]

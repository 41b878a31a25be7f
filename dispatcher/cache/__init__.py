"""Answers without a device: whether one that was given before may be given again. It knows neither bus nor how a job runs."""

from dispatcher.cache.cache import Cache
from dispatcher.cache.desk import CacheDesk
from dispatcher.cache.life import running_cache
from dispatcher.cache.serving import Serving

__all__ = ["Cache", "CacheDesk", "Serving", "running_cache"]

"""The way to Redis: commands in one round trip, and one typed error for all that goes wrong. It knows no key and no value."""

from __future__ import annotations

import redis.asyncio as redis

__all__ = ["redis"]

"""Puts the tests of this directory on uvloop, on which our processes run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops that each test here runs on."""
    return {"uvloop": uvloop.new_event_loop}

"""The bus once more, on the loop of our processes: its transports break in a way of their own."""

from __future__ import annotations

import asyncio

import uvloop

from tests.contract.test_bus import *  # noqa: F403  # the tests themselves: collected here, they run on uvloop
from tests.integration.test_bus_traps import *  # noqa: F403  # likewise


async def test_the_loop() -> None:
    """The tests of this module do run on uvloop."""
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)

"""Every test here runs on the memory bus and on a real server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest

from tests.integration.dispatcher.house import House, memory_wires, nats_wires, open_house

OpenHouse = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture(params=["memory", "nats"])
def a_house(request: pytest.FixtureRequest) -> OpenHouse:
    """Opens a dispatcher; keyword arguments are those of `house.settings`."""
    wires: Any = memory_wires if request.param == "memory" else nats_wires
    return partial(open_house, wires)

"""The power readers that have child processes and connections once more, on the loop of our processes: its children differ."""

from __future__ import annotations

from tests.integration.agents.test_power_children import *  # noqa: F403  # the tests themselves: collected here, they run on uvloop
from tests.integration.agents.test_power_plug import *  # noqa: F403  # likewise

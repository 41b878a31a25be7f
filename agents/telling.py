"""`drover-agent --config`: what the agent's settings are, and where each came from; nothing is connected to."""

from __future__ import annotations

import sys

from agents.settings import AgentSettings
from common import codec, config_report
from common.origins import told
from common.settings import load


def config(*, as_json: bool) -> None:
    """Print them. Raises `ConfigError`."""
    knobs = tuple(told(load(AgentSettings)))
    if as_json:
        sys.stdout.write(f"{codec.encode_pretty({'knobs': config_report.wire(knobs)})}\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in config_report.lines("agent", knobs, everything=True))

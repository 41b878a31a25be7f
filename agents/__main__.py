"""The command `drover-agent`: what it runs on stands in the environment; an argument only asks for something else than to run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import get_type_hints

from agents import app
from agents.settings import AgentSettings
from common.settings import Section


def main() -> int:
    """Read the command line and run the agent; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="drover-agent",
        description="Runs chat jobs from the NATS bus on this device's Ollama.",
        epilog="environment (also read from .env):\n" + "\n".join(_knobs()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"drover-agent {app.version()}")
    parser.add_argument("--check", action="store_true", help="say whether these settings can work, and end")
    parser.add_argument("--config", action="store_true", help="print the settings and where each came from, and end")
    parser.add_argument("--doctor", action="store_true", help="look at this device, say what to do, and end")
    parser.add_argument("--json", action="store_true", help="with --config or --doctor: print it as JSON")
    asked = parser.parse_args()
    if asked.config:
        return app.tell(as_json=asked.json)
    if asked.doctor:
        return app.doctor(as_json=asked.json)
    return app.check() if asked.check else app.main()


def _knobs() -> Iterator[str]:
    hints = get_type_hints(AgentSettings)
    for page in fields(AgentSettings):
        section: type[Section] = hints[page.name]
        for knob in section.model_fields.values():
            default = "" if knob.default in (None, "") else f" [{knob.default}]"
            yield f"  {knob.validation_alias}{default}\n      {knob.description}"


if __name__ == "__main__":
    sys.exit(main())

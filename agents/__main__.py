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
    return app.check() if parser.parse_args().check else app.main()


def _knobs() -> Iterator[str]:
    hints = get_type_hints(AgentSettings)
    for page in fields(AgentSettings):
        section: type[Section] = hints[page.name]
        for knob in section.model_fields.values():
            default = "" if knob.default in (None, "") else f" [{knob.default}]"
            yield f"  {knob.validation_alias}{default}\n      {knob.description}"


if __name__ == "__main__":
    sys.exit(main())

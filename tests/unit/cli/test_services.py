"""How the processes that last begin."""

from __future__ import annotations

import subprocess
import sys

import pytest

SERVICES = ("dispatcher", "bridge")

# The settings end it before it does anything: this address can't be one.
BEGIN = """
import sys, dispatcher.__main__
try:
    dispatcher.__main__.main()
finally:
    print(sorted({"typer", "dispatcher.verbs"} & set(sys.modules)))
"""


@pytest.mark.parametrize("service", SERVICES)
def test_a_process_that_lasts_begins_without_the_command_line(service: str) -> None:
    """Its modules would stay in memory for as long as the process lives."""
    done = subprocess.run(
        (sys.executable, "-c", BEGIN, service),
        env={"LOG_LEVEL": "no such level", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (1, "[]", True) == (done.returncode, done.stdout.strip(), "LOG_LEVEL" in done.stderr)

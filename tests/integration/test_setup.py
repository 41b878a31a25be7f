"""What deploy/setup.sh reads of the settings, by its own function in a shell of its own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "deploy" / "setup.sh"


@pytest.mark.parametrize(
    ("environment", "dotenv", "is_set"),
    [
        ({}, "", False),
        ({}, "NATS_URL=nats://hub:4222\n", True),
        ({}, "NATS_URL=\n", False),
        ({"NATS_URL": "nats://hub:4222"}, "", True),
        ({"NATS_URL": ""}, "NATS_URL=nats://hub:4222\n", False),
        ({"NATS_URL": "nats://hub:4222"}, "NATS_URL=\n", True),
    ],
)
def test_a_variable_wins_over_the_file_also_when_empty(
    tmp_path: Path, environment: dict[str, str], dotenv: str, *, is_set: bool
) -> None:
    """Set-up and fleet must agree on whether a server of our own is started, or it would be missing."""
    found = re.search(r"^nats_url_is_set\(\) \{\n.*?^\}\n", SETUP.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    (tmp_path / ".env").write_text(dotenv, encoding="utf-8")
    end = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{found[0]}\nif nats_url_is_set; then echo yes; else echo no; fi"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert ("yes" if is_set else "no") == end.stdout.strip()

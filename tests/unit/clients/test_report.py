"""The report of `make clients`: what failed is seen at once, in the table and in the list."""

from __future__ import annotations

from dataclasses import replace

from tests.clients.environments import KINDS, LOCKS
from tests.clients.report import Step, failures, markdown

GOOD = Step(client="openai", version="3.54.0", step="chat", ok=True, saw="hi | ho", keys=False)
BAD = replace(GOOD, ok=False, saw="NotFoundError:\n404", keys=True)


def test_a_failure_is_told() -> None:
    """With its client, and whether a key was shown."""
    assert ["openai 3.54.0, with a key: chat: NotFoundError:\n404"] == failures([GOOD, BAD])


def test_the_table_has_a_line_for_each_client() -> None:
    """Each way by itself, and no text breaks a cell."""
    text = markdown([GOOD, BAD], ["open-webui: no wheel of torch"], "Today")

    assert "| openai | 3.54.0 | chat | ok, 1 | **1 of 1 failed** |" in text
    assert "| openai | no keys | chat | ok | hi \\| ho |" in text
    assert "| openai | with a key | chat | **no** | NotFoundError: 404 |" in text
    assert "- open-webui: no wheel of torch" in text


def test_a_client_that_was_not_tried_is_not_ok() -> None:
    """Who has no step of a kind has not been tried."""
    assert "| openai | 3.54.0 | chat | ok, 1 | not tried |" in markdown([GOOD], [], "Today")


def test_each_environment_has_its_lock_and_its_program() -> None:
    """Pinned, every package with its hashes."""
    for kind in KINDS.values():
        lock = (LOCKS / f"clients-{kind.name}.txt").read_text(encoding="utf-8")
        pinned = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]

        assert all("==" in line for line in pinned)
        assert lock.count("--hash=sha256:") >= len(pinned) > 0
        assert (LOCKS.parents[1] / "tests" / "clients" / "programs" / kind.program).is_file()

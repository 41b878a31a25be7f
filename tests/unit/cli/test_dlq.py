"""The table of dead letters on terminals of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from common.dead_letters import Filed
from common.durable import Letter
from dispatcher.cli.dlq import table

JOB = "01M7XPNR4DWTBRHDRH3PTTQ1SD"
ERROR = "the engine broke while it was loading the model; look at its log, and start it again if need be"


def drawn(width: int, error: str = ERROR) -> str:
    letter = Letter(
        job=JOB,
        tenant="default",
        priority="interactive",
        reason="unknown_device",
        tries=5,
        submitted_unix_s=1.0,
        at_unix_s=2.0,
        seq=1,
        error={"code": "backend", "message": error},
    )
    console = Console(file=io.StringIO(), width=width)
    console.print(table([Filed(123, letter)], width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (140, ["id", "job", "tenant", "class", "reason", "tries", "since (UTC)", "last error"]),
        (110, ["id", "job", "reason", "tries", "since (UTC)", "last error"]),
        (80, ["id", "job", "reason", "last error"]),
        (60, ["id", "job", "reason"]),
    ],
)
def test_columns_by_width(width: int, titles: list[str]) -> None:
    """The narrower the terminal, the fewer columns; what a letter is known by stays, and stays in one piece."""
    text = drawn(width)

    assert titles == [cell.strip() for cell in text.splitlines()[1].strip("┃").split("┃")]
    assert (True, True) == (JOB in text, "unknown_device" in text)


@pytest.mark.parametrize("width", [80, 120, 140, 200])
def test_the_error_is_broken_between_words(width: int) -> None:
    """Each of its words stands whole in the last column."""
    lines = [line.strip("│").split("│")[-1].split() for line in drawn(width).splitlines() if line.startswith("│")]

    assert ERROR.split() == [word for words in lines for word in words]


def test_of_a_long_error_the_beginning_is_shown() -> None:
    """A letter takes a few lines, whatever a device has said."""
    text = drawn(80, "so long " * 100)

    assert (True, True) == ("…" in text, len(text.splitlines()) < 15)

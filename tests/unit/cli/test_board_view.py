"""The table of devices on terminals of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dispatcher.cli.board import DeviceLine
from dispatcher.cli.board_view import GIB, device_table


def line(name: str, *loaded: str) -> DeviceLine:
    return DeviceLine(
        name=name,
        state="ready",
        slots=4,
        in_flight=1,
        loaded=loaded or ("llama3.2:1b", "qwen2.5-coder:0.5b"),
        decode_tps=23.4,
        temperature_c=51.0,
        memory_used_bytes=3 * GIB,
        memory_total_bytes=8 * GIB,
        done=1234,
        failed=5,
        simulated=True,
    )


def drawn(width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(device_table([line("kitchen-pi"), line("orin")], width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 70, 80, 100, 120, 200])
def test_no_cell_is_cut(width: int) -> None:
    """Rich marks what it cuts; a table that fits has no such mark, and keeps what a device is known by."""
    text = drawn(width)

    assert (False, True) == ("…" in text, all(word in text for word in ("kitchen-pi", "ready", "1/4", "simulated")))


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (200, ["device", "state", "busy", "tok/s", "°C", "memory", "done", "failed", "models in memory"]),
        (80, ["device", "state", "busy", "tok/s", "failed", "models in memory"]),
        (60, ["device", "state", "busy"]),
    ],
)
def test_columns_by_width(width: int, titles: list[str]) -> None:
    """The narrower the terminal, the fewer columns; what matters least goes first."""
    head = drawn(width).splitlines()[1]

    assert titles == [cell.strip() for cell in head.strip("┃").split("┃")][:-1]

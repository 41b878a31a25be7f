"""`drover devices`: who sends heartbeats, as a table or as JSON."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from rich.console import Console
from rich.live import Live

from common import codec
from common.errors import NoDevice
from common.subjects import Subjects
from dispatcher.cli.batch_view import LOG_WIDTH
from dispatcher.cli.board import Board, follow
from dispatcher.cli.board_view import device_view
from dispatcher.cli.connect import open_bus, shell_settings

REFRESH_S = 0.5


async def devices(*, as_json: bool, watch: bool, listen_s: float) -> int:
    """Listen for heartbeats and print who sent one. Raises `NoDevice` when nobody did."""
    settings = shell_settings()
    board = Board()
    async with open_bus(settings) as bus, follow(bus, board, Subjects(settings.bus.prefix)):
        if watch:
            await _watch(board)
        await asyncio.sleep(listen_s)
    if not board.beats():
        raise NoDevice(
            f"no device has sent a heartbeat in {listen_s:g} s: start one with drover-agent, or all with make up"
        )
    if as_json:
        sys.stdout.write(codec.encode_pretty(told(board)) + "\n")
    else:
        console = _console()
        console.print(device_view(board.lines(), console.width))
    return 0


def told(board: Board) -> list[dict[str, Any]]:
    """Give the last heartbeat of each device, and what follows from it and from how long ago it came."""
    return [
        {**codec.plain(beat), "seen": line.state, "silent_s": round(line.silent_s, 3), "on_gpu": line.on_gpu}
        for beat, line in zip(board.beats(), board.lines(), strict=True)
    ]


async def _watch(board: Board) -> None:
    """Draw the table anew until Ctrl-C."""
    console = _console()
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(device_view(board.lines(), console.width), refresh=True)
            await asyncio.sleep(REFRESH_S)


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)

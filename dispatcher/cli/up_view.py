"""What `drover up` shows: a live screen on a terminal, plain lines elsewhere; it knows neither bus nor processes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live

from dispatcher.cli.board import Board
from dispatcher.cli.board_view import screen


class View(Protocol):
    """Where `drover up` says what happens."""

    def say(self, line: str) -> None:
        """Show a line that stays."""
        ...

    def hint(self, lines: Sequence[str]) -> None:
        """Show what can be tried now; called once."""
        ...

    def draw(self, board: Board, troubles: Sequence[str]) -> None:
        """Show how things stand; called twice a second."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was; lines may follow."""
        ...


class Lines:
    """For logs and pipes: events only."""

    def say(self, line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def hint(self, lines: Sequence[str]) -> None:
        self.say("\n".join(lines))

    def draw(self, board: Board, troubles: Sequence[str]) -> None:
        """The events said it already."""

    def close(self) -> None:
        """Nothing was taken."""


class Screen:
    """For a terminal: events scroll by above a table that is drawn in place."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._hints: Sequence[str] = ()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    def hint(self, lines: Sequence[str]) -> None:
        self._hints = lines

    def draw(self, board: Board, troubles: Sequence[str]) -> None:
        self._live.update(screen(board.lines(), board.jobs, troubles, self._hints), refresh=True)

    def close(self) -> None:
        self._live.stop()

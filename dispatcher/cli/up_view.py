"""What `drover up` shows: a live screen on a terminal, plain lines elsewhere; it knows neither bus nor processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.live import Live

from dispatcher.cli.board import Board
from dispatcher.cli.board_view import screen
from dispatcher.cli.cache_words import plain


class View(Protocol):
    """Where `drover up` says what happens. Its reader may go; that never raises."""

    def on_loss(self, listener: Callable[[], None]) -> None:
        """Call `listener` once, when the terminal is gone."""
        ...

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

    def on_loss(self, listener: Callable[[], None]) -> None:
        """There is no terminal to lose."""

    def say(self, line: str) -> None:
        try:
            sys.stdout.write(plain(f"{line}\n", keep="\n\t"))
            sys.stdout.flush()
        except OSError:  # `make up | tee log`: Ctrl-C ends tee first
            _silence(sys.stdout)

    def hint(self, lines: Sequence[str]) -> None:
        self.say("\n".join(lines))

    def draw(self, board: Board, troubles: Sequence[str]) -> None:
        """The events said it already."""

    def close(self) -> None:
        """Nothing was taken."""


class Screen:
    """For a terminal: events scroll by above a table that is drawn in place."""

    def __init__(self) -> None:
        self._terminals = [stream for stream in (sys.stdout, sys.stderr) if stream.isatty()]
        self._lost = False
        self._on_loss: Callable[[], None] | None = None
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

    def on_loss(self, listener: Callable[[], None]) -> None:
        self._on_loss = listener

    def say(self, line: str) -> None:
        with self._watched():
            self._console.print(plain(line, keep="\n\t"), markup=False, soft_wrap=True)

    def hint(self, lines: Sequence[str]) -> None:
        self._hints = lines

    def draw(self, board: Board, troubles: Sequence[str]) -> None:
        with self._watched():
            shown = screen(board.lines(), board.jobs, troubles, self._hints, width=self._console.width)
            self._live.update(shown, refresh=True)

    def close(self) -> None:
        with self._watched():
            self._live.stop()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Notice when the terminal is gone, which rich does not tell: it draws nothing on what is no terminal any more."""
        try:
            yield
            there = self._lost or self._terminals[0].isatty()
        except OSError:
            there = False
        if there:
            return
        self._lost = True
        _silence(*self._terminals)
        if self._on_loss is not None:
            self._on_loss()


def _silence(*streams: TextIO) -> None:
    """Lead what is still written to nowhere: how the run ends must not hang on a reader that is gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)

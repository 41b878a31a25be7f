"""Tables that fit a terminal of any width: columns go, cells are never cut to nothing; it knows no row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from dispatcher.cli.cache_words import plain

Row = TypeVar("Row")

_BORDER = 3
"""What a column takes beside its text: a space on each side, and a line."""

_WORDS_WIDTH = 24
"""Text in a narrower column is read letter by letter."""


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """`rank` says in which order columns go when the terminal is narrow, the highest first; 0 stays. Cells stay in one piece,
    unless they are `names`, broken between them, or `words`, broken anywhere."""

    title: str
    rank: int
    cell: Callable[[Row], str]
    right: bool = True
    names: bool = False
    words: bool = False
    style: Callable[[Row], str] = lambda _: ""

    def text(self, row: Row) -> str:
        """Give the cell as a terminal shows it: what stands in it may have come over the bus."""
        return plain(self.cell(row))

    def width(self, rows: Sequence[Row]) -> int:
        """Give what it needs at least."""
        cells = [self.text(row) for row in rows]
        pieces = [piece for cell in cells for piece in (cell.split() if self.names else [cell])]
        needed = max(map(cell_len, [self.title, *pieces]))
        return (min(needed, _WORDS_WIDTH) if self.words else needed) + _BORDER


def fitted(columns: Sequence[Column[Row]], rows: Sequence[Row], width: int) -> Table:
    """Draw one line per row in `width` characters: what does not fit is left out as whole columns."""
    table = Table(expand=False)
    shown = _fitting(columns, rows, width)
    for column in shown:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=not (column.names or column.words),
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(column.text(row), style=column.style(row)) for column in shown))
    return table


def _fitting(columns: Sequence[Column[Row]], rows: Sequence[Row], width: int) -> list[Column[Row]]:
    shown = list(columns)
    while sum(column.width(rows) for column in shown) + 1 > width:
        last = max(shown, key=lambda column: column.rank)
        if not last.rank:
            break  # the rest is what a row is known by
        shown.remove(last)
    return shown

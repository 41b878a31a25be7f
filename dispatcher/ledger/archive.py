"""Backups: a zip with one JSON line for each row, the same for both databases, with numbers and sums to check it by.

So it moves a ledger from SQLite to PostgreSQL too, or back. Of SQLite a plain copy of the file is made where its name asks for one.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sqlite3
import tempfile
import time
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import LargeBinary, Table

from common import codec
from common.errors import BadRequest, ConfigError, LedgerUnavailable
from common.messages import Count, Number
from dispatcher.ledger import sqlite_file
from dispatcher.ledger.database import Database, Place
from dispatcher.ledger.moving import ROWS_AT_ONCE, Source, database_source, file_source
from dispatcher.ledger.rows import Row
from dispatcher.ledger.tables import KEPT

FORMAT = "drover-ledger"
MANIFEST = "manifest.json"
MOST_LINE_BYTES = 4 << 20
SQLITE_SUFFIXES = frozenset({".db", ".sqlite", ".sqlite3"})
_SQLITE_HEAD = b"SQLite format 3\0"
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, BadRequest, KeyError, ValueError, TypeError, RuntimeError)
"""What a file raises that is not as it was written: a RuntimeError is of a part that is encrypted, or packed in a strange way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in an archive."""

    format: str
    tables: str
    """The step of the schema."""
    made_unix_s: Number
    rows: dict[str, Count]
    sha256: dict[str, str]


async def backup(database: Database, target: Path) -> dict[str, int]:
    """Write a backup of one state of a database that runs; gives the rows by table, nothing for a copy of the file.

    Raises `ConfigError` when the file can't be written or is the database itself, and `LedgerUnavailable`.
    """
    with whole(target, database.place) as draft:
        if database.place.file is not None and target.suffix.lower() in SQLITE_SUFFIXES:
            _copy(database.place.file, draft)
            return {}
        async with database_source(database) as source:
            return await _write(source, draft)


def _copy(file: Path, draft: Path) -> None:
    try:
        sqlite_file.copy_file(file, draft)
    except sqlite3.Error as error:
        raise LedgerUnavailable(f"{file} can't be copied: {error}") from error


def source_of(path: Path) -> AbstractAsyncContextManager[Source]:
    """Open a backup of either kind. Raises `ConfigError` for a file that is none."""
    try:
        with path.open("rb") as handle:
            head = handle.read(len(_SQLITE_HEAD))
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error
    return file_source(Place(file=path.absolute())) if head == _SQLITE_HEAD else _archive_source(path)


async def _write(source: Source, draft: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    sums: dict[str, str] = {}
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for table in KEPT:
            name = str(table.name)  # a plain text, which the library's name is not quite
            digest, counts[name] = hashlib.sha256(), 0
            with archive.open(f"{name}.jsonl", "w", force_zip64=True) as lines:
                async for some in source.rows(table):
                    text = b"".join(codec.encode(_told(table, row)) + b"\n" for row in some)
                    digest.update(text)
                    lines.write(text)
                    counts[name] += len(some)
            sums[name] = digest.hexdigest()
        manifest = Manifest(format=FORMAT, tables=source.version, made_unix_s=time.time(), rows=counts, sha256=sums)
        archive.writestr(MANIFEST, codec.encode_pretty(codec.plain(manifest)))
    return counts


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """`Source`: an archive. What is wrong with it is found while it is read, at the latest at the end of each table."""

    path: Path
    archive: zipfile.ZipFile
    manifest: Manifest

    @property
    def version(self) -> str:
        return self.manifest.tables

    async def rows(self, table: Table) -> AsyncIterator[Sequence[Row]]:
        """Give the rows of a table as they were written. Raises `ConfigError` where they are not all there."""
        if table.name not in self.manifest.rows:  # a table that came later
            return
        with _sound(self.path):
            digest, number, some = hashlib.sha256(), 0, list[Row]()
            with self.archive.open(f"{table.name}.jsonl") as lines:
                while line := lines.readline(MOST_LINE_BYTES):
                    digest.update(line)
                    number += 1
                    some.append(_read(table, codec.decode(line)))
                    if len(some) >= ROWS_AT_ONCE:
                        yield some
                        some = []
            if some:
                yield some
            if number != self.manifest.rows[table.name] or digest.hexdigest() != self.manifest.sha256[table.name]:
                raise ValueError(f"{table.name} is not what was written")


@asynccontextmanager
async def _archive_source(path: Path) -> AsyncIterator[ArchiveSource]:
    with _sound(path):
        archive = zipfile.ZipFile(path)
    with archive:
        with _sound(path):
            with archive.open(MANIFEST) as told:
                manifest = codec.build(Manifest, codec.decode(told.read(MOST_LINE_BYTES)))
            if manifest.format != FORMAT:
                raise ValueError(f"its format is {manifest.format!r}")
        yield ArchiveSource(path, archive, manifest)


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise ConfigError(f"{path} is no backup of a ledger, or damaged ({error}): nothing was changed") from error


def _told(table: Table, row: Row) -> dict[str, Any]:
    binary = [name for name in row if isinstance(table.c[name].type, LargeBinary)]
    return {str(name): value for name, value in row.items() if value is not None} | {
        str(name): base64.b64encode(row[name]).decode() for name in binary
    }


def _read(table: Table, told: dict[str, Any]) -> Row:
    """Read a row; all rows of a table have the same columns."""
    if unknown := told.keys() - table.c.keys():
        raise ValueError(f"{table.name} has no {', '.join(sorted(unknown))}")
    row = {name: told.get(name) for name in table.c.keys()}  # noqa: SIM118  # a collection of columns, not a mapping
    for column in table.c:
        if isinstance(column.type, LargeBinary):
            row[column.name] = base64.b64decode(told[column.name], validate=True)
    return row


@contextmanager
def whole(target: Path, place: Place) -> Iterator[Path]:
    """Give a draft that takes the name of the file when it is complete and on the disk; nobody else may read it.

    Raises `ConfigError` when it can't be written, and when it is one of the files of the database, which would go on in a file
    without a name.
    """
    if place.file is not None and any(_same(target, own) for own in sqlite_file.own_files(place.file)):
        raise ConfigError(f"{target} is the ledger's own file: write to another one")
    try:
        # A name of its own: two that write the same file at once must not write the same draft. It is readable by nobody else.
        number, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".half")
        os.close(number)
        draft = Path(name)
        try:
            yield draft
            with draft.open("rb") as handle:
                os.fsync(handle.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{target} can't be written: {error.strerror}") from error


def _same(one: Path, other: Path) -> bool:
    """Tell whether two names are of one file, or would be."""
    if one.parent.resolve() / one.name == other.parent.resolve() / other.name:
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False  # one of them is not there

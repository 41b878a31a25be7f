"""The way to the database: SQLite in a file, or PostgreSQL; one typed error for all that goes wrong. It knows no table.

SQLite: a commit is on the disk before it returns (`synchronous=FULL`), because a record is acknowledged behind it, and the stream
gives what was acknowledged to nobody again. Readers never wait for the writer (WAL).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from common.errors import ConfigError, LedgerUnavailable

BUSY_MS = 10_000
"""How long a writer waits for another one: the ledger, and a `drover ledger prune` beside it."""

CONNECT_S = 10.0
STATEMENT_S = 120.0
"""A hang guard: no statement of ours is meant to take seconds."""

READERS = 4
LOCK_RETRY_S = 5.0

_POSTGRES = frozenset({"postgres", "postgresql"})
_ROW_STATES = ("22", "23")
"""Classes of SQLSTATE that blame the row: data exceptions, and violated constraints."""


class RowRefused(Exception):
    """The database takes everything but this row; the text says why, and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rows are: a file, or what PostgreSQL's own clients take for an address."""

    file: Path | None = None
    dsn: str = ""

    @property
    def shown(self) -> str:
        """Name it without secrets."""
        if self.file is not None:
            return str(self.file)
        parts = urlsplit(self.dsn)
        return f"postgresql://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def place_of(url: str, state_dir: Path) -> Place:
    """Read `DATABASE_URL`; empty means the file in the state directory. Raises `ConfigError` that does not show it: it may hold a
    password."""
    if not url:
        return Place(file=(state_dir / "ledger.db").absolute())
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one that is no number
    except ValueError:
        raise _wrong_url() from None
    if parts.scheme in _POSTGRES and (parts.hostname or parts.path.strip("/") or parts.query):
        return Place(dsn=f"postgresql{url[len(parts.scheme) :]}")
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1 and not parts.query:
        return Place(file=Path(unquote(parts.path[1:])).absolute())
    raise _wrong_url()


def _wrong_url() -> ConfigError:
    return ConfigError(
        "DATABASE_URL is no address of a database (it is not shown, as it may hold a password): write "
        "postgresql://user:password@host:5432/name, or sqlite:///relative/path, or sqlite:////absolute/path; special characters "
        "of a password as %40"
    )


@dataclass(frozen=True, slots=True)
class Database:
    """An open way to it: `writer` for whole transactions, one at a time; `reader` changes nothing."""

    place: Place
    writer: AsyncEngine
    reader: AsyncEngine

    @property
    def sqlite(self) -> bool:
        return self.place.file is not None

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed when the block ends, undone when it fails. Raises `LedgerUnavailable` and `RowRefused`."""
        with translated(self.place):
            async with self.writer.begin() as connection:
                yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """One state of all tables, whatever is written meanwhile. Raises `LedgerUnavailable`."""
        with translated(self.place):
            async with self.reader.begin() as connection:
                yield connection


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Database]:
    """Make the way; nothing is asked of the database yet, which need not be there."""
    database = _sqlite(place, place.file) if place.file is not None else _postgres(place)
    try:
        yield database
    finally:
        await database.writer.dispose()
        await database.reader.dispose()


def _sqlite(place: Place, file: Path) -> Database:
    def engine(begin: str, *pragmas: str, **pool: Any) -> AsyncEngine:
        made = create_async_engine(f"sqlite+aiosqlite:///{file}", connect_args={"timeout": BUSY_MS / 1000}, **pool)

        @event.listens_for(made.sync_engine, "connect")
        def prepare(connection: Any, _: Any) -> None:
            connection.isolation_level = None  # the driver would begin transactions where it thinks best
            cursor = connection.cursor()
            for pragma in pragmas:
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        @event.listens_for(made.sync_engine, "begin")
        def start(connection: Any) -> None:
            connection.exec_driver_sql(begin)

        return made

    busy = f"busy_timeout={BUSY_MS}"
    writer = engine(
        "BEGIN IMMEDIATE",
        busy,
        "journal_mode=WAL",
        "synchronous=FULL",
        f"journal_size_limit={64 << 20}",
        pool_size=1,
        max_overflow=0,
    )
    return Database(place, writer, engine("BEGIN", busy, "query_only=ON", pool_size=READERS, max_overflow=0))


def _postgres(place: Place) -> Database:
    def engine(*, read_only: bool, **pool: Any) -> AsyncEngine:
        settings = {"application_name": "drover-ledger", "statement_timeout": str(int(STATEMENT_S * 1000))}
        if read_only:
            settings["default_transaction_read_only"] = "on"

        async def connect() -> Any:
            # It reads the whole address itself, as PostgreSQL's own clients do: sslmode, passfile, host=/a/socket.
            return await asyncpg.connect(place.dsn, timeout=CONNECT_S, server_settings=settings)

        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_pre_ping=True,
            isolation_level="REPEATABLE READ" if read_only else "READ COMMITTED",
            **pool,
        )

    return Database(
        place,
        engine(read_only=False, pool_size=1, max_overflow=1),
        engine(read_only=True, pool_size=READERS, max_overflow=0),
    )


@contextmanager
def translated(place: Place) -> Iterator[None]:
    """Translate what the libraries raise."""
    try:
        yield
    except (
        SQLAlchemyError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        OSError,
        TimeoutError,
        sqlite3.Error,
    ) as error:
        if (why := _row_fault(error)) is not None:
            raise RowRefused(why) from error
        raise LedgerUnavailable(f"the ledger's database {place.shown} can't be used now: {_reason(error)}") from error


def _row_fault(error: BaseException) -> str | None:
    """Say why a row is to blame; None where it is not."""
    cause = getattr(error, "orig", None)
    state = str(getattr(cause, "sqlstate", None) or "")
    if state:
        return f"SQLSTATE {state}" if state.startswith(_ROW_STATES) else None
    blamed = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, OverflowError, ValueError, TypeError)
    if isinstance(cause, blamed):
        return type(cause).__name__
    inner = getattr(cause, "__cause__", None)
    if isinstance(error, InterfaceError) and isinstance(inner, asyncpg.DataError | ValueError | TypeError):
        return type(inner).__name__
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        return type(error).__name__
    return None


def _reason(error: BaseException) -> str:
    """Say in a few words why it can't be used. The libraries' own words come without the statement and its values."""
    if isinstance(error, TimeoutError):
        return "it does not answer"
    cause = getattr(error, "orig", None) or error
    text = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {text[0][:200]}" if text else type(cause).__name__


@contextmanager
def sole_writer(place: Place) -> Iterator[None]:
    """Hold the file for this process; a database server has no need of it. Raises `ConfigError` when another one has it.

    The kernel drops the lock with its process, however that ends.
    """
    if place.file is None:
        yield
        return
    lock = place.file.with_name(f"{place.file.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = lock.open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"the ledger's file {place.file} can't be written ({error.strerror}): set DROVER_STATE_DIR or DATABASE_URL"
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            raise ConfigError(
                f"a ledger (process {handle.read().strip() or 'unknown'}) writes {place.file} already: one is enough; stop "
                "it first, or set DATABASE_URL to another file, or to a PostgreSQL that several may share",
                retry_after_s=LOCK_RETRY_S,
            ) from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        try:
            yield
        finally:
            handle.truncate(0)

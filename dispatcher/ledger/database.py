"""The way to the database, a file or a server, as whole transactions; one typed error for what goes wrong. It knows no table."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy.exc import DBAPIError, InterfaceError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from common.errors import ConfigError, LedgerUnavailable
from dispatcher.ledger import sqlite_file

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
    faults: tuple[type[Exception], ...] = ()
    """What its library raises by itself, where SQLAlchemy does not stand between."""

    @property
    def sqlite(self) -> bool:
        return self.place.file is not None

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed when the block ends, undone when it fails. Raises `LedgerUnavailable` and `RowRefused`."""
        async with self._transaction(self.writer) as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """One state of all tables, whatever is written meanwhile; who is cancelled need not wait. Raises `LedgerUnavailable`."""
        async with self._transaction(self.reader) as connection:
            with sqlite_file.asked_by_task(connection) if self.sqlite else nullcontext():
                yield connection

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        with self._translated(SQLAlchemyError, sqlite3.Error, OverflowError, *self.faults):
            async with AsyncExitStack() as stack:
                # Only here: within the block an OSError is more likely its own, as of a file that it writes.
                with self._translated(OSError, TimeoutError):
                    connection = await stack.enter_async_context(engine.begin())
                yield connection

    @contextmanager
    def _translated(self, *faults: type[Exception]) -> Iterator[None]:
        try:
            yield
        except faults as error:
            if (why := _row_fault(error)) is not None:
                raise RowRefused(why) from error
            raise LedgerUnavailable(
                f"the ledger's database {self.place.shown} can't be used now: {_reason(error)}"
            ) from error


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Database]:
    """Make the way; nothing is asked of the database yet, which need not be there. Raises `ConfigError` for an address that can't
    be read, or where its library is not installed."""
    database = _open(place)
    try:
        yield database
    finally:
        await database.writer.dispose()
        await database.reader.dispose()


def _open(place: Place) -> Database:
    if place.file is not None:
        return Database(place, *sqlite_file.engines(place.file))
    from dispatcher.ledger import postgres  # noqa: PLC0415  # its library need not be installed

    return Database(place, *postgres.engines(place.dsn), faults=postgres.FAULTS)


def _row_fault(error: BaseException) -> str | None:
    """Say why a row is to blame; None where it is not."""
    cause = error if isinstance(error, OverflowError) else getattr(error, "orig", None)
    state = str(getattr(cause, "sqlstate", None) or "")
    if state:
        return f"SQLSTATE {state}" if state.startswith(_ROW_STATES) else None
    blamed = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, OverflowError, ValueError, TypeError)
    if isinstance(cause, blamed):
        return type(cause).__name__
    inner = getattr(cause, "__cause__", None)
    if isinstance(error, InterfaceError) and isinstance(inner, ValueError | TypeError):
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

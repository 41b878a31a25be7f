"""SQLite: a file, its one writer, and a copy of it while it is in use; it knows no table.

A commit is on the disk before it returns (`synchronous=FULL`), because a record is acknowledged behind it, and the stream
gives what was acknowledged to nobody again. Readers never wait for the writer (WAL).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from common.errors import ConfigError, FleetError, LedgerUnavailable
from dispatcher.ledger import sqlite_driver

BUSY_MS = 10_000
"""How long a writer waits for another one: the ledger, and a `drover ledger prune` beside it."""

READERS = 4
LOCK_RETRY_S = 5.0
STEPS_AT_ONCE = 100_000
"""After so many steps of its machine, some milliseconds, a statement looks whether anybody waits for it still."""

_ASKING = "asking"

_OWN_SUFFIXES = ("", "-wal", "-shm", "-journal", ".lock")
_OURS_ALONE = 0o600
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def make(file: Path) -> None:
    """Make an empty file that nobody else may read, unless there is one; SQLite gives the files beside it the same rights.

    Raises `LedgerUnavailable`.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OURS_ALONE))
    except OSError as error:
        raise LedgerUnavailable(f"the ledger's file {file} can't be made: {error.strerror}") from error


def engines(file: Path) -> tuple[AsyncEngine, AsyncEngine]:
    """Give the writer's and the readers' end."""

    def engine(begin: str, *pragmas: str, **pool: Any) -> AsyncEngine:
        async def connect() -> Any:
            return await sqlite_driver.Connection(str(file), timeout_s=BUSY_MS / 1000)

        address = URL.create("sqlite+aiosqlite", database=str(file))  # as text, a ? in it would begin options
        made = create_async_engine(address, async_creator=connect, **pool)

        @event.listens_for(made.sync_engine, "connect")
        def prepare(connection: Any, record: Any) -> None:
            def given_up() -> bool:
                asking: asyncio.Task[Any] | None = record.info.get(_ASKING)
                return asking is not None and asking.cancelling() > 0

            connection.isolation_level = None  # the driver would begin transactions where it thinks best
            cursor = connection.cursor()
            for pragma in pragmas:
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()
            connection.run_async(lambda driver: driver.set_progress_handler(given_up, STEPS_AT_ONCE))

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
    return writer, engine("BEGIN", busy, "query_only=ON", pool_size=READERS, max_overflow=0)


def own_files(file: Path) -> frozenset[Path]:
    """Name what SQLite and the ledger keep under this name, and under the one that it leads to."""
    return frozenset(one.with_name(one.name + suffix) for one in (file, file.resolve()) for suffix in _OWN_SUFFIXES)


@contextmanager
def asked_by_task(connection: AsyncConnection) -> Iterator[None]:
    """Have statements end soon after the running task is cancelled: the driver runs them on a thread that no cancellation reaches,
    and the task would wait for their end."""
    info = connection.info
    info[_ASKING] = asyncio.current_task()
    try:
        yield
    finally:
        info.pop(_ASKING, None)


def copy_file(file: Path, target: Path) -> None:
    """Copy one state of a SQLite file that is in use. Raises `sqlite3.Error`."""
    with (
        closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # a file of its own, with no others beside it


@contextmanager
def sole_writer(file: Path | None) -> Iterator[None]:
    """Hold the file for this process; None, for a database server, has no need of it. Raises `ConfigError` when another one has it,
    or where no file can be written, and `LedgerUnavailable` where there is no room for one.

    The kernel drops the lock with its process, however that ends.
    """
    if file is None:
        yield
        return
    lock = file.with_name(f"{file.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        # Whoever may read it could hold it. Unbuffered: what has found no room would be tried once more by the close.
        handle = os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OURS_ALONE), "rb+", buffering=0)
    except OSError as error:
        raise _unwritable(file, error) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"a ledger (process {handle.read().decode().strip() or 'unknown'}) writes {file} already: one is enough; stop "
                "it first, or set DATABASE_URL to another file, or to a PostgreSQL that several may share",
                retry_after_s=LOCK_RETRY_S,
            ) from error
        try:
            handle.truncate(0)
            handle.write(str(os.getpid()).encode())
        except OSError as error:
            raise _unwritable(file, error) from error
        try:
            yield
        finally:
            handle.truncate(0)


def _unwritable(file: Path, error: OSError) -> FleetError:
    """Say why; a full disk may have room again, so that trying again makes sense."""
    why, way_out = (
        f"the ledger's file {file} can't be written ({error.strerror})",
        "set DROVER_STATE_DIR or DATABASE_URL",
    )
    if error.errno in _FULL:
        return LedgerUnavailable(f"{why}: make room there, or {way_out}")
    return ConfigError(f"{why}: {way_out}")

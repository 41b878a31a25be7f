"""One suite, two databases: a file, and a server that is started only for tests that ask for it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import delete

from dispatcher.ledger import schema
from dispatcher.ledger.database import Database, Place, opened, place_of
from dispatcher.ledger.tables import KEPT
from tests.postgres_server import PostgresServer, needs_postgres, postgres_server

BOTH = ["sqlite", pytest.param("postgres", marks=needs_postgres)]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def place(url: str, tmp_path: Path) -> Place:
    return place_of(url, tmp_path)


@pytest.fixture(scope="session")
def made_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the tables, to be copied: that takes a hundredth of the time of making them."""
    file = tmp_path_factory.mktemp("made") / "ledger.db"
    asyncio.run(_make(Place(file=file)))
    return file


@pytest.fixture(scope="session")
def made_server(postgres: PostgresServer) -> Place:
    """A database with the tables, which tests use one after the other."""
    place = Place(dsn=postgres.database())
    asyncio.run(_make(place))
    return place


@pytest.fixture(params=BOTH)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a ledger has made its tables; what a test changes in them, others meet: for that there is `place`."""
    if request.param == "postgres":
        server: Place = request.getfixturevalue("made_server")
        return server
    return Place(file=shutil.copyfile(request.getfixturevalue("made_file"), tmp_path / "ledger.db"))


@pytest_asyncio.fixture
async def database(made: Place) -> AsyncIterator[Database]:
    """A ledger without rows."""
    async with opened(made) as empty:
        if not empty.sqlite:
            async with empty.writing() as connection:
                for table in KEPT:
                    await connection.execute(delete(table))
        yield empty


async def _make(place: Place) -> None:
    async with opened(place) as new:
        await schema.upgrade(new)

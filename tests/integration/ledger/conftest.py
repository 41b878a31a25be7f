"""One suite, two databases: a file, and a server that is started only for tests that ask for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from dispatcher.ledger import schema
from dispatcher.ledger.database import Database, Place, opened, place_of
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


@pytest_asyncio.fixture
async def database(place: Place) -> AsyncIterator[Database]:
    """A ledger without rows."""
    async with opened(place) as made:
        await schema.upgrade(made)
        yield made

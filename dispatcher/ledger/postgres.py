"""PostgreSQL: the only module that knows asyncpg, which need not be installed; it knows no table."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from common.errors import ConfigError
from common.extras import install

try:
    import asyncpg
except ImportError as error:
    raise ConfigError(f"DATABASE_URL names a PostgreSQL, which needs asyncpg: {install('postgres')}") from error

CONNECT_S = 10.0
STATEMENT_S = 120.0
"""A hang guard: no statement of ours is meant to take seconds."""

READERS = 4

FAULTS: tuple[type[Exception], ...] = (asyncpg.PostgresError, asyncpg.InterfaceError)
"""What it raises by itself, where SQLAlchemy does not stand between."""


def engines(dsn: str) -> tuple[AsyncEngine, AsyncEngine]:
    """Give the writer's and the readers' end."""

    def engine(*, read_only: bool, **pool: Any) -> AsyncEngine:
        settings = {"application_name": "drover-ledger", "statement_timeout": str(int(STATEMENT_S * 1000))}
        if read_only:
            settings["default_transaction_read_only"] = "on"

        async def connect() -> Any:
            # It reads the whole address itself, as PostgreSQL's own clients do: sslmode, passfile, host=/a/socket.
            return await asyncpg.connect(dsn, timeout=CONNECT_S, server_settings=settings)

        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            pool_pre_ping=True,
            isolation_level="REPEATABLE READ" if read_only else "READ COMMITTED",
            **pool,
        )

    writer = engine(read_only=False, pool_size=1, max_overflow=1)
    return writer, engine(read_only=True, pool_size=READERS, max_overflow=0)

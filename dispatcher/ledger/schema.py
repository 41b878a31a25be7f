"""The schema of the database and its steps; it knows no row."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.errors import ConfigError
from dispatcher.ledger import sqlite_file
from dispatcher.ledger.database import Database

_LOCK = 0x64726F766572
"""Whoever changes the schema of a PostgreSQL holds this: any number, the same for all."""


def newest() -> str:
    """Name the newest step."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


async def upgrade(database: Database) -> None:
    """Bring the database up to date; nothing happens when it is. Raises `LedgerUnavailable`, and `ConfigError` for one of a newer
    Drover. Of a file its sole writer calls this."""
    if database.place.file is not None:
        sqlite_file.make(database.place.file)
    async with database.writing() as connection:
        if not database.sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        await connection.run_sync(_upgrade)


async def version(database: Database) -> str | None:
    """Name the step that the database is at; None for an empty one. Raises `LedgerUnavailable`."""
    async with database.reading() as connection:
        return await connection.run_sync(_version)


def known(step: str) -> bool:
    """Tell whether this Drover knows a step."""
    return step in {one.revision for one in ScriptDirectory.from_config(_config()).walk_revisions()}


async def columns(connection: AsyncConnection) -> dict[str, list[str]]:
    """Name the columns of each table that is there."""

    def look(sync: Connection) -> dict[str, list[str]]:
        seen = inspect(sync)
        return {name: [column["name"] for column in seen.get_columns(name)] for name in seen.get_table_names()}

    return await connection.run_sync(look)


async def require_newest(database: Database) -> None:
    """Raise `ConfigError` for a database of another step, or of none: who only reads does not change it."""
    file = database.place.file
    if file is not None and not file.exists():  # to connect would make one
        raise _none(database)
    found = await version(database)
    if found == newest():
        return
    if found is None:
        raise _none(database)
    raise _foreign(found)


def _none(database: Database) -> ConfigError:
    return ConfigError(f"{database.place.shown} holds no ledger yet: `drover up` or `drover ledger serve` make it")


def _foreign(found: str) -> ConfigError:
    return ConfigError(
        f"the ledger's tables are those of another version ({found}, not {newest()}): start the ledger, which brings older ones up "
        "to date; newer ones need the Drover that made them"
    )


def _upgrade(connection: Connection) -> None:
    found = _version(connection)
    if found == newest():
        return
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise _foreign(str(found)) from error


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": "ledger_version"}).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config

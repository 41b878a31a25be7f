"""What alembic runs to bring a database up to date: all steps in one transaction, on the connection that it is handed."""

from __future__ import annotations

from alembic import context

from dispatcher.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="ledger_version",
    transactional_ddl=True,  # SQLite can, too: a process that dies on the way leaves nothing behind
)
with context.begin_transaction():
    context.run_migrations()

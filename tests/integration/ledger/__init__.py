"""The ledger with real servers: NATS, SQLite, PostgreSQL."""

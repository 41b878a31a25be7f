"""Tables as Parquet files; the only module that knows pyarrow, which need not be installed."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Boolean, Column, Double

from common.errors import ConfigError
from common.extras import install
from common.ledger import Span
from dispatcher.ledger.database import Database
from dispatcher.ledger.export import chunks, columns_of

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise ConfigError(f"Parquet needs pyarrow: {install('parquet')}; or take --format csv") from error


async def write_parquet(database: Database, of: str, span: Span, target: Path) -> int:
    """Write a table as Parquet, with its types; gives the number of rows."""
    columns = columns_of(of)
    schema = pa.schema([pa.field(column.name, _type(column), nullable=bool(column.nullable)) for column in columns])
    number = 0
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        async for some in chunks(database, of, span):
            cells = {column.name: [row[place] for row in some] for place, column in enumerate(columns)}
            writer.write_table(pa.table(cells, schema=schema))
            number += len(some)
    return number


def _type(column: Column[object]) -> pa.DataType:
    match column.type:
        case BigInteger():
            return pa.int64()
        case Boolean():
            return pa.bool_()
        case Double():
            return pa.float64()
        case _:
            return pa.string()

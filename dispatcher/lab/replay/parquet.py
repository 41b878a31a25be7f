"""Parquet files, read row by row; the only module of the lab that knows pyarrow, of the extra `parquet`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyarrow import ArrowException
from pyarrow.parquet import ParquetFile

from common.errors import BadRequest

_BATCH = 4096


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Give the rows of a file. Raises `BadRequest` for what is no Parquet, `OSError`."""
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                yield from batch.to_pylist()
    except ArrowException as error:
        raise BadRequest(f"--jobs {path} is no Parquet file: {error}") from error

"""The whole part of a number in SQL: `floor` is not in every SQLite, and what both have rounds in PostgreSQL. Of none below 0."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction


class floored(GenericFunction[int]):  # noqa: N801  # functions of SQL are named so
    """`floored(x)`: an integer."""

    type = BigInteger()
    inherit_cache = True


@compiles(floored)
def _with_floor(element: floored, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CAST(FLOOR({compiler.process(element.clauses, **kw)}) AS BIGINT)"


@compiles(floored, "sqlite")
def _with_cast(element: floored, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **kw)} AS INTEGER)"

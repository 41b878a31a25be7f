"""Where recorded jobs come from: a file as `drover ledger export` or `drover jobs --json` writes it, or the running ledger."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from common import codec
from common.errors import BadRequest, ConfigError
from common.extras import install
from common.ledger import MOST_ROWS, JobsQuery
from common.subjects import Subjects
from dispatcher.cells import text_of
from dispatcher.cli.connect import ShellSettings, open_bus
from dispatcher.cli.ledger_answers import Told, job_rows
from dispatcher.cli.times import span
from dispatcher.lab.replay.records import Recorded, recorded

MOST_READ = 1_000_000
"""Records of a file, at most: they are all held to find the newest."""

MOST_ASKED = 20_000
"""Records that the ledger is asked for, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which records: those of a file, or without one those of the ledger."""

    file: Path | None = None
    tenant: str | None = None
    since: str | None = None
    until: str | None = None


async def records(wanted: Wanted, settings: ShellSettings, *, limit: int) -> list[Recorded]:
    """Read the records. Raises `BadRequest` for a file that has none, `ConfigError` for one that can't be read, `NoResponders`
    when there is no file and no ledger runs."""
    since_s, until_s = span(wanted.since, wanted.until, now=datetime.now(UTC))
    if wanted.file is None:
        fields = {"tenant": wanted.tenant, "since_unix_s": since_s, "until_unix_s": until_s, "limit": MOST_ROWS}
        query = codec.build(JobsQuery, {name: value for name, value in fields.items() if value is not None})
        return await _asked(settings, query, limit)
    found = read(wanted.file)
    return [
        one
        for one in found
        if (wanted.tenant is None or one.tenant == wanted.tenant)
        and (since_s is None or one.at_s >= since_s)
        and (until_s is None or one.at_s < until_s)
    ]


async def _asked(settings: ShellSettings, query: JobsQuery, limit: int) -> list[Recorded]:
    """Ask page after page, the newest first, for a few more than are wanted: not all can be run again."""
    found: list[Recorded] = []
    async with open_bus(settings) as bus:
        while len(found) < min(2 * limit, MOST_ASKED):
            rows, before = await job_rows(bus, Subjects(settings.bus.prefix), query)
            found += [recorded(row, f"record {len(found) + place} of the ledger") for place, row in enumerate(rows, 1)]
            if before is None or before == query.before or not rows:
                break
            query = replace(query, before=before)
    return found


def read(path: Path) -> list[Recorded]:
    """Read a file by what it is called. Raises `BadRequest` that names it and the line."""
    reader = {".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _json, ".parquet": _parquet}.get(
        path.suffix.lower()
    )
    if reader is None:
        raise BadRequest(f"--jobs {path}: records are read from .csv, .jsonl, .json and .parquet files")
    found: list[Recorded] = []
    try:
        for where, row in reader(path):
            found.append(recorded(row, where))
            if len(found) > MOST_READ:
                raise BadRequest(f"--jobs {path} has more than {MOST_READ:,} records: export fewer, with --since")
    except OSError as error:
        raise ConfigError(f"--jobs {path} can't be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadRequest(f"--jobs {path} is no {path.suffix} file: {error}") from error
    return found


def _csv(path: Path) -> Iterator[tuple[str, Told]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            yield f"{path.name} line {reader.line_num}", _plain(row)


def _plain(row: Mapping[str, object]) -> Told:
    """Take off what keeps spreadsheets from running a text; a line that is too short has nothing in its last cells."""
    return {name: text_of(cell) if isinstance(cell, str) else cell for name, cell in row.items()}


def _jsonl(path: Path) -> Iterator[tuple[str, Told]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                where = f"{path.name} line {number}"
                try:
                    yield where, codec.decode(line)
                except BadRequest as error:
                    raise BadRequest(f"{where}: {error.message}") from error


def _json(path: Path) -> Iterator[tuple[str, Told]]:
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadRequest(f"--jobs {path} is no JSON: {error}") from error
    rows = rows.get("jobs") if isinstance(rows, dict) else rows
    if not isinstance(rows, list):
        raise BadRequest(f"--jobs {path} has no list of records")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise BadRequest(f"{path.name}: record {number} is no object")
        yield f"{path.name} record {number}", row


def _parquet(path: Path) -> Iterator[tuple[str, Told]]:
    if find_spec("pyarrow") is None:
        raise ConfigError(f"--jobs {path} needs pyarrow: {install('parquet')}; or export a CSV")
    from dispatcher.lab.replay.parquet import rows  # noqa: PLC0415  # the extra may be missing

    for number, row in enumerate(rows(path), 1):
        yield f"{path.name} row {number}", row

"""The verbs of `drover ledger`, and their options; what a verb does stands in its own module, imported only when it runs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

app = typer.Typer(name="ledger", help="What happened, kept: jobs, devices and power.", no_args_is_help=True)

_Moment = "24h, 7d, today, yesterday, or a date of UTC, as 2026-11-20 or 2026-11-20T18:30"


@app.command()
def serve() -> None:
    """Run a ledger: `drover up` starts one by itself."""
    try:
        from dispatcher.ledger.service import main  # noqa: PLC0415  # each verb imports only what it needs
    except ModuleNotFoundError as error:
        raise typer.Exit(_missing(error)) from error
    raise typer.Exit(main())


@app.command()
def stats(*, as_json: Annotated[bool, typer.Option("--json", help="print it as JSON")] = False) -> None:
    """Show where the ledger is, and how much it holds."""
    _run(lambda ledger: ledger.stats(as_json=as_json))


@app.command()
def export(
    file: Annotated[str, typer.Argument(help="file to write; - is standard output, for CSV")],
    *,
    of: Annotated[
        Literal["jobs", "devices", "power", "keys", "feedback"], typer.Option("--of", help="which rows")
    ] = "jobs",
    form: Annotated[Literal["csv", "parquet"], typer.Option("--format", help="CSV, or Parquet with its types")] = "csv",
    since: Annotated[str | None, typer.Option("--since", help=f"not before: {_Moment}")] = None,
    until: Annotated[str | None, typer.Option("--until", help="before this moment")] = None,
) -> None:
    """Write rows to a file, for other programs."""
    _run(lambda ledger: ledger.export_rows(of, form, file, ledger.span_of(since, until)))


@app.command()
def backup(
    file: Annotated[
        Path,
        typer.Argument(help="file to write: an archive for either database; of SQLite named *.db, a copy of the file"),
    ],
) -> None:
    """Write a backup, while the ledger runs."""
    _run(lambda ledger: ledger.backup(file))


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="a backup of either kind, from either database")],
    *,
    force: Annotated[bool, typer.Option("--force", help="forget what the ledger holds now")] = False,
) -> None:
    """Put a backup into the ledger, all of it or nothing; a SQLite ledger must be stopped first."""
    _run(lambda ledger: ledger.restore(file, force=force))


@app.command()
def prune(
    *,
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=36_500, help="keep so many [default: DROVER_LEDGER_DAYS]")
    ] = None,
) -> None:
    """Forget what is too old, and conversations by DROVER_CONVERSATION_DAYS; the ledger does it by itself every six hours."""
    _run(lambda ledger: ledger.prune(days=days))


@app.command()
def forget(
    tenant: Annotated[str, typer.Argument(help="whose tenant")],
    user: Annotated[str, typer.Argument(help="which user of it; left out, the one without a name")] = "",
) -> None:
    """Forget all conversations of one user, with every turn, and what it said of answers: there is no way back but a backup."""
    _run(lambda ledger: ledger.forget(tenant=tenant, user=user))


@app.command()
def check() -> None:
    """Read all of it; status 1 when something is damaged."""
    _run(lambda ledger: ledger.check())


def _run(verb: Callable[[Any], Coroutine[Any, Any, int]]) -> None:
    from common.errors import FleetError  # noqa: PLC0415  # as above
    from dispatcher.cli import running  # noqa: PLC0415  # as above

    try:
        from dispatcher.cli import ledger  # noqa: PLC0415  # as above

        work = verb(ledger)
    except FleetError as error:
        raise typer.Exit(running.fail(error)) from error
    except ModuleNotFoundError as error:
        raise typer.Exit(_missing(error)) from error
    raise typer.Exit(running.run(work))


def _missing(error: ModuleNotFoundError) -> int:
    from common.extras import install  # noqa: PLC0415  # as above
    from dispatcher.cli import running  # noqa: PLC0415  # as above

    running.say(f"the ledger needs {error.name}, which is not installed: {install('ledger')}")
    return running.FAILED

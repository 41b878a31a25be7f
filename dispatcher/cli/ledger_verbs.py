"""The verbs of `drover ledger`, and their options; what a verb does stands in its own module, imported only when it runs."""

from __future__ import annotations

import typer

app = typer.Typer(name="ledger", help="What happened, kept: jobs, devices and power.", no_args_is_help=True)


@app.command()
def serve() -> None:
    """Run a ledger."""
    from dispatcher.ledger.service import main  # noqa: PLC0415  # each verb imports only what it needs

    raise typer.Exit(main())

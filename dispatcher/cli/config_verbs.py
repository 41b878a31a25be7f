"""The verbs of `drover config`, and their options; what a verb does stands in its own module, imported only when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(name="config", help="What each process would run on, and why.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="print it as JSON")]


@app.command()
def show(
    processes: Annotated[
        list[str] | None, typer.Argument(metavar="[up|dispatcher|bridge|ledger|agent]...", help="these alone")
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="also those that nobody has set")] = False,
    is_running: Annotated[
        bool, typer.Option("--running", help="what the processes of the running fleet go by, asked over NATS")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Show the knobs that somebody has set, with their values and where they came from; secrets are hidden."""
    from dispatcher.cli import config, running  # noqa: PLC0415  # each verb imports only what it needs

    work = config.show(processes or (), everything=everything, as_json=as_json, running=is_running)
    raise typer.Exit(running.run(work))


@app.command()
def check(*, as_json: _Json = False) -> None:
    """Say whether every process could start with these settings; nothing is started."""
    from dispatcher.cli import config, running  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(config.check(as_json=as_json)))

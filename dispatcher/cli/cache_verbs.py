"""The verbs of `drover cache`, and their options; what a verb does stands in its own module, imported only when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(name="cache", help="The answers that dispatchers keep, to give them again.", no_args_is_help=True)

_Tenant = Annotated[str | None, typer.Option("--tenant", help="of this tenant only [default: of all]")]
_Json = Annotated[bool, typer.Option("--json", help="print it as JSON")]


@app.command()
def stats(*, tenant: _Tenant = None, as_json: _Json = False) -> None:
    """Show what the caches hold, how often they had the answer, and what that saved."""
    from dispatcher.cli import cache, running  # noqa: PLC0415  # each verb imports only what it needs

    raise typer.Exit(running.run(cache.stats(tenant=tenant, as_json=as_json)))


@app.command()
def show(
    which: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="id of an entry, or its beginning: it is shown with its answer")
    ] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="entries at most, of each store")] = 50,
    tenant: _Tenant = None,
    as_json: _Json = False,
) -> None:
    """List the entries that were used last, or show one whole: what people asked can be read there."""
    from dispatcher.cli import cache, running  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(cache.show(which, limit=limit, tenant=tenant, as_json=as_json)))


@app.command()
def purge(
    *,
    tenant: _Tenant = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="don't ask, also on a terminal")] = False,
    as_json: _Json = False,
) -> None:
    """Forget all entries."""
    from dispatcher.cli import cache, running  # noqa: PLC0415  # as above

    try:
        agreed = yes or cache.may_purge(tenant)
    except KeyboardInterrupt:
        raise typer.Exit(running.INTERRUPTED) from None
    if not agreed:
        running.say("nothing was forgotten")
        raise typer.Exit(running.FAILED)
    raise typer.Exit(running.run(cache.purge(tenant=tenant, as_json=as_json)))


@app.command("report-bad")
def report_bad(
    which: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="id of the entry, six characters of it or more, or the job that was answered from it"
        ),
    ],
    *,
    tenant: _Tenant = None,
    as_json: _Json = False,
) -> None:
    """Say that an answer was wrong: its entry goes, and those like it."""
    from dispatcher.cli import cache, running  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(cache.report_bad(which, tenant=tenant, as_json=as_json)))

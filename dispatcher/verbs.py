"""The verbs of `drover`, and how each ends; what a verb does stands in its own module, imported only when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from dispatcher.cli.cache_verbs import app as cache_verbs
from dispatcher.cli.config_verbs import app as config_verbs
from dispatcher.cli.durable_verbs import dlq, result, submit
from dispatcher.cli.keys_verbs import app as keys_verbs
from dispatcher.cli.ledger_verbs import app as ledger_verbs
from dispatcher.cli.nats_verbs import device as device_verbs
from dispatcher.cli.nats_verbs import nats as nats_verbs
from dispatcher.cli.nats_verbs import tenant as tenant_verbs
from dispatcher.cli.options import Cache, Strategy, User
from dispatcher.lab.bench.cli import ListCommand, bench
from dispatcher.lab.cli import app as lab
from dispatcher.lab.embedder.cli import app as embedder
from dispatcher.services import SERVICES

app = typer.Typer(
    name="drover",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version as version_of  # noqa: PLC0415  # each verb imports only what it needs

        sys.stdout.write(f"drover {version_of('drover')}\n")
        raise typer.Exit


@app.callback()
def _drover(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print the version, and end")
    ] = False,
) -> None:
    """Dispatch LLM chat over a fleet of Jetsons, Raspberry Pis and whatever else runs Ollama."""


@app.command()
def up() -> None:
    """Run a whole fleet on this machine, in the foreground, until Ctrl-C."""
    from dispatcher.cli.up import up as run_up  # noqa: PLC0415  # as above

    raise typer.Exit(run_up())


@app.command()
def dispatcher() -> None:
    """Run a dispatcher."""
    raise typer.Exit(SERVICES["dispatcher"]())


@app.command()
def bridge() -> None:
    """Run the HTTP bridge."""
    raise typer.Exit(SERVICES["bridge"]())


@app.command()
def ask(
    prompt: Annotated[str | None, typer.Argument(help="what to ask; - reads it from standard input")] = None,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="ask all questions of a .json, .jsonl or .csv file instead")
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="a model of the fleet, or auto")] = "auto",
    device: Annotated[str | None, typer.Option("--device", help="only this device")] = None,
    system: Annotated[str | None, typer.Option("--system", help="system prompt")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, help="length of the answer, at most")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", min=0, max=5)] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0.001, help="seconds until the job is given up")
    ] = None,
    priority: Annotated[
        str | None,
        typer.Option(
            "--priority", metavar="interactive|normal|batch", help="who goes first while jobs wait for devices"
        ),
    ] = None,
    strategy: Strategy = None,
    cache: Cache = None,
    user: User = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="whose job it is")] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="print the whole answer as JSON, with the route it took; tokens_per_s is the device's own decoding speed",
        ),
    ] = False,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="print the text as it comes")] = True,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, max=1000, help="with --file: conversations at once")
    ] = 8,
    retries: Annotated[
        int, typer.Option("--retries", min=0, help="with --file: tries after the first, if a retry may help")
    ] = 3,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="with --file: CSV file, - for standard output [default: in results/]"),
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary/--no-summary", help="with --file: print the table at the end")
    ] = True,
) -> None:
    """Ask the fleet one question, or all questions of a file."""
    if (prompt is None) == (file is None):
        raise typer.BadParameter("give a prompt, or - to read it from standard input, or --file")
    from common.errors import FleetError  # noqa: PLC0415  # as above
    from dispatcher.cli import running  # noqa: PLC0415  # as above
    from dispatcher.cli.ask import Wish, read_prompt  # noqa: PLC0415  # as above
    from dispatcher.cli.ask import ask as ask_once  # noqa: PLC0415  # as above

    wish = Wish(
        model=model,
        device=device,
        system=system,
        max_tokens=max_tokens,
        temperature=temperature,
        timeout_s=timeout_s,
        priority=priority,
        strategy=strategy,
        cache=cache,
        user=user,
        tenant=tenant,
    )
    try:
        wish.check()
        if file is None:
            raise typer.Exit(running.run(ask_once(read_prompt(prompt), wish, as_json=as_json, stream=stream)))
    except FleetError as error:
        raise typer.Exit(running.fail(error)) from error
    from dispatcher.cli.batch import ask_file  # noqa: PLC0415  # as above

    work = ask_file(file, wish, concurrency=concurrency, retries=retries, output=output, summary=summary)
    raise typer.Exit(running.run(work))


app.command()(submit)
app.command()(result)
app.add_typer(cache_verbs)
app.add_typer(config_verbs)
app.add_typer(keys_verbs)
app.add_typer(ledger_verbs)
for verbs in (nats_verbs, device_verbs, tenant_verbs):
    app.add_typer(verbs)
app.add_typer(embedder)
app.add_typer(lab)
app.command(cls=ListCommand)(bench)

app.add_typer(dlq)


@app.command()
def devices(
    as_json: Annotated[bool, typer.Option("--json", help="print the last heartbeat of each device")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="keep the table fresh until Ctrl-C")] = False,
    listen_s: Annotated[float, typer.Option("--for", min=0.1, max=600, help="seconds to listen for heartbeats")] = 1.5,
) -> None:
    """Show the devices that send heartbeats."""
    from dispatcher.cli import running  # noqa: PLC0415  # as above
    from dispatcher.cli.devices import devices as show_devices  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(show_devices(as_json=as_json, watch=watch, listen_s=listen_s)))


@app.command()
def top(
    *,
    once: Annotated[bool, typer.Option("--once", help="print it once, as happens where there is no terminal")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print it once as JSON")] = False,
    every_s: Annotated[float, typer.Option("--every", min=0.2, max=60, help="seconds between two pictures")] = 1.0,
    listen_s: Annotated[float, typer.Option("--for", min=0.1, max=600, help="once: seconds to listen")] = 2.5,
) -> None:
    """Watch the fleet: devices, jobs, watts, heat, queue and speeds, until q."""
    from dispatcher.cli import running  # noqa: PLC0415  # as above
    from dispatcher.cli.top import top as watch  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(watch(once=once, as_json=as_json, every_s=every_s, listen_s=listen_s)))


_Since = Annotated[
    str | None,
    typer.Option("--since", help="24h, 7d, today, or a date such as 2026-11-20, of UTC unless it says otherwise"),
]
_Until = Annotated[str | None, typer.Option("--until", help="as --since", show_default="now")]


@app.command()
def jobs(
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", help="whose")] = None,
    device: Annotated[str | None, typer.Option("--device", help="on which device")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="of which model")] = None,
    state: Annotated[
        Literal["done", "failed", "cancelled", "refused"] | None, typer.Option("--state", help="how they ended")
    ] = None,
    job: Annotated[str | None, typer.Option("--job", help="this one, as often as it was asked")] = None,
    since: _Since = None,
    until: _Until = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="at most")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="print all that is known of them as JSON")] = False,
) -> None:
    """List jobs that are over, as the ledger has them: the last to end first. --since and --until go by when they came."""
    from dispatcher.cli import running  # noqa: PLC0415  # as above
    from dispatcher.cli.jobs import Wanted  # noqa: PLC0415  # as above
    from dispatcher.cli.jobs import jobs as show_jobs  # noqa: PLC0415  # as above

    wanted = Wanted(
        job=job, tenant=tenant, device=device, model=model, state=state, since=since, until=until, limit=limit
    )
    raise typer.Exit(running.run(show_jobs(wanted, as_json=as_json)))


@app.command()
def energy(
    *,
    by: Annotated[
        Literal["device", "model", "tenant", "day", "site"],
        typer.Option("--by", help="what is summed; days are of UTC"),
    ] = "device",
    since: _Since = None,
    until: _Until = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="groups at most")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="print the sums as JSON")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="PNG file; needs the extra lab")] = None,
) -> None:
    """Show what jobs took: joules, watt-hours, cost and CO2e, from the ledger."""
    from importlib.util import find_spec  # noqa: PLC0415  # as above

    from common.errors import ConfigError  # noqa: PLC0415  # as above
    from common.ledger import By  # noqa: PLC0415  # as above
    from dispatcher.cli import running  # noqa: PLC0415  # as above
    from dispatcher.cli.energy import Wanted  # noqa: PLC0415  # as above
    from dispatcher.cli.energy import energy as show_energy  # noqa: PLC0415  # as above

    draw = None
    if plot is not None:
        if find_spec("matplotlib") is None:
            raise typer.Exit(
                running.fail(ConfigError("--plot needs matplotlib: install the extra lab of Drover's wheel"))
            )
        from dispatcher.lab.energy_plot import draw_energy  # noqa: PLC0415  # as above

        draw = draw_energy

    wanted = Wanted(by=By(by), since=since, until=until, limit=limit, plot=plot)
    raise typer.Exit(running.run(show_energy(wanted, draw, as_json=as_json)))


@app.command()
def cancel(job: Annotated[str, typer.Argument(help="id of the job, as X-Drover-Job or the route names it")]) -> None:
    """Cancel a job, wherever it is."""
    from dispatcher.cli import running  # noqa: PLC0415  # as above
    from dispatcher.cli.cancel import cancel as cancel_job  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(cancel_job(job)))


@app.command()
def explain(
    prompt: Annotated[str | None, typer.Argument(help="what would be asked; - reads it from standard input")] = None,
    *,
    job: Annotated[str | None, typer.Option("--job", help="a job that ran lately, instead of a question")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="a model of the fleet, or auto")] = "auto",
    device: Annotated[str | None, typer.Option("--device", help="only this device")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, help="length of the answer, at most")] = None,
    strategy: Strategy = None,
    cache: Cache = None,
    user: User = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="whose question or job it is")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print all of it as JSON")] = False,
) -> None:
    """Show where a question would go and why; nothing is run."""
    if (prompt is None) == (job is None):
        raise typer.BadParameter("give a prompt, or - to read it from standard input, or --job")
    from common.errors import FleetError  # noqa: PLC0415  # as above
    from dispatcher.cli import running  # noqa: PLC0415  # as above
    from dispatcher.cli.ask import Wish, read_prompt  # noqa: PLC0415  # as above
    from dispatcher.cli.explain import explain as show  # noqa: PLC0415  # as above

    wish = Wish(
        model=model, device=device, max_tokens=max_tokens, strategy=strategy, cache=cache, user=user, tenant=tenant
    )
    try:
        wish.check()
        work = show(None if prompt is None else read_prompt(prompt), job, wish, as_json=as_json)
    except FleetError as error:
        raise typer.Exit(running.fail(error)) from error
    raise typer.Exit(running.run(work))


@app.command()
def feedback(
    job: Annotated[str, typer.Argument(help="id of a job that is over, as X-Drover-Job or the route names it")],
    rating: Annotated[str, typer.Argument(metavar="up|down|SCORE", help="a thumb, or a score from 0 to 1")],
    *,
    reason: Annotated[str | None, typer.Option("--reason", help="why, in your words")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="whose job it is")] = None,
) -> None:
    """Say how an answer was."""
    from common.errors import FleetError  # noqa: PLC0415  # as above
    from dispatcher.cli import running  # noqa: PLC0415  # as above
    from dispatcher.cli.feedback import feedback as rate  # noqa: PLC0415  # as above
    from dispatcher.cli.feedback import said  # noqa: PLC0415  # as above

    try:
        words = said(rating, reason)
    except FleetError as error:
        raise typer.Exit(running.fail(error)) from error
    raise typer.Exit(running.run(rate(job, words, tenant=tenant)))


@app.command()
def reload(
    *,
    dry: Annotated[bool, typer.Option("--check", help="only say what would change, or what is wrong")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print it as JSON")] = False,
) -> None:
    """Have all processes of the fleet read .env again: all of them, or none if anything is wrong.

    What can't change while a process runs is said, and needs a restart. The environment of a running process never changes.
    """
    from dispatcher.cli import running  # noqa: PLC0415  # as above
    from dispatcher.cli.reload import reload as read_again  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(read_again(dry=dry, as_json=as_json)))


@app.command()
def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="print it as JSON")] = False) -> None:
    """Look at this machine, at the servers that its settings name, and at the fleet, and say what to do. Status 1: a fault."""
    from dispatcher.cli import running  # noqa: PLC0415  # as above
    from dispatcher.cli.doctor import examine  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(examine(as_json=as_json)))


@app.command()
def version() -> None:
    """Print the version."""
    _show_version(wanted=True)

"""The verbs of durable jobs: `drover submit`, `drover result` and `drover dlq`; what a verb does is imported only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dispatcher.cli.options import Cache, Strategy, User

dlq = typer.Typer(name="dlq", help="The durable jobs that could not be answered.", no_args_is_help=True)

_LETTERS = typer.Argument(help="number of the letter, or id of its job")


def submit(
    prompt: Annotated[str | None, typer.Argument(help="what to ask; - reads it from standard input")] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-f", help="submit all rows of a .json, .jsonl or .csv file instead: questions, or whole requests"
        ),
    ] = None,
    priority: Annotated[
        Literal["interactive", "normal", "batch"], typer.Option("--priority", "-p", help="class of the queue")
    ] = "normal",
    tenant: Annotated[str | None, typer.Option("--tenant", help="whose job it is")] = None,
    job: Annotated[str | None, typer.Option("--job", help="id of the job; the same id again adds nothing")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="a model of the fleet, or auto")] = "auto",
    device: Annotated[str | None, typer.Option("--device", help="only this device")] = None,
    system: Annotated[str | None, typer.Option("--system", help="system prompt")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, help="length of the answer, at most")] = None,
    timeout_s: Annotated[
        float | None,
        typer.Option("--timeout", min=1, help="seconds until the job is given up, the wait in the queue included"),
    ] = None,
    strategy: Strategy = None,
    cache: Cache = None,
    user: User = None,
) -> None:
    """Put a job into the durable queue, where it survives every process, and print its id."""
    if (prompt is None) == (file is None):
        raise typer.BadParameter("give a prompt, or - to read it from standard input, or --file")
    if file is not None and job is not None:
        raise typer.BadParameter("--job names one job, and --file has several")
    from common.errors import FleetError  # noqa: PLC0415  # each verb imports only what it needs
    from common.messages import Priority  # noqa: PLC0415  # as above
    from dispatcher.cli import running  # noqa: PLC0415  # as above
    from dispatcher.cli.ask import Wish, read_prompt  # noqa: PLC0415  # as above
    from dispatcher.cli.durable import Posting, submit_file  # noqa: PLC0415  # as above
    from dispatcher.cli.durable import submit as submit_one  # noqa: PLC0415  # as above

    wish = Wish(
        model=model,
        device=device,
        system=system,
        max_tokens=max_tokens,
        timeout_s=timeout_s,
        strategy=strategy,
        cache=cache,
        user=user,
    )
    posting = Posting(priority=Priority(priority), tenant=tenant, job=job)
    try:
        wish.check()
        work = (
            submit_one(read_prompt(prompt, "submit"), wish, posting)
            if file is None
            else submit_file(file, wish, posting)
        )
    except FleetError as error:
        raise typer.Exit(running.fail(error)) from error
    raise typer.Exit(running.run(work))


def result(
    job: Annotated[str, typer.Argument(help="id of a durable job, as submit printed it")],
    *,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="wait until it is over")] = False,
    tenant: Annotated[str | None, typer.Option("--tenant", help="whose job it is")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print its newest note as JSON, whatever it is")] = False,
) -> None:
    """Print the answer of a durable job.

    Exit status: 0 done, 3 failed, 4 cancelled, 5 queued or running still, 6 unknown; 1 when it could not be asked for, 2 for
    wrong usage, 130 after Ctrl-C.
    """
    from dispatcher.cli import running  # noqa: PLC0415  # as above
    from dispatcher.cli.durable import result as show_result  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(show_result(job, wait=wait, tenant=tenant, as_json=as_json)))


@dlq.command("ls")
def dlq_ls(as_json: Annotated[bool, typer.Option("--json", help="print them as JSON")] = False) -> None:
    """List them, the oldest first."""
    from dispatcher.cli import dlq, running  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(dlq.ls(as_json=as_json)))


@dlq.command("show")
def dlq_show(which: Annotated[str, _LETTERS]) -> None:
    """Print one, with what was sent and why it failed."""
    from dispatcher.cli import dlq, running  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(dlq.show(which)))


@dlq.command("retry")
def dlq_retry(which: Annotated[list[str], _LETTERS]) -> None:
    """Put them into the queue again."""
    from dispatcher.cli import dlq, running  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(dlq.retry(which)))


@dlq.command("drop")
def dlq_drop(which: Annotated[list[str], _LETTERS]) -> None:
    """Forget them."""
    from dispatcher.cli import dlq, running  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(dlq.drop(which)))

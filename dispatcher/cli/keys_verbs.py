"""The verbs of `drover keys`, and their options; what a verb does stands in `keys`, imported only when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="keys", help="Keys for the HTTP door: who may do what, and how much of it.", no_args_is_help=True
)

_Which = Annotated[str, typer.Argument(metavar="KEY", help="id of a key, or its name")]
_Json = Annotated[bool, typer.Option("--json", help="print it as JSON")]
_Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        help="chat, route, read:fleet or admin; may be given several times; admin is for the fleet's owner: it manages the keys of "
        "all tenants and users [default: chat]",
    ),
]
_Models = Annotated[
    list[str] | None, typer.Option("--model", help="allow models of this pattern, as 'llama3*' [default: all]")
]
_Devices = Annotated[list[str] | None, typer.Option("--device", help="allow devices of this pattern [default: all]")]
_Rpm = Annotated[
    int | None, typer.Option("--rpm", min=1, max=1_000_000, help="questions a minute at most; reading is none")
]
_Parallel = Annotated[int | None, typer.Option("--parallel", min=1, max=100_000, help="jobs at once at most")]
_Budgets = Annotated[
    list[str] | None,
    typer.Option("--budget", help="100000tokens/day, 5usd/month, 2kWh/month, 500J; may be given several times"),
]
_Expires = Annotated[str | None, typer.Option("--expires", help="90d, 12h, or a date of UTC [default: never]")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="what people call it; no other key of the tenant has it")],
    *,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="whom its jobs count for [default: DROVER_HTTP_TENANT]")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="whose conversations it opens [default: its own]")] = None,
    scope: _Scopes = None,
    model: _Models = None,
    device: _Devices = None,
    rpm: _Rpm = None,
    parallel: _Parallel = None,
    budget: _Budgets = None,
    expires: _Expires = None,
    as_json: _Json = False,
) -> None:
    """Make a key. Its secret is shown this once, on standard output."""
    from dispatcher.cli import keys, running  # noqa: PLC0415  # each verb imports only what it needs

    wanted = keys.Wanted(
        name=name,
        tenant=tenant,
        user=user,
        scopes=scope or None,
        models=model or None,
        devices=device or None,
        rpm=rpm,
        parallel=parallel,
        budgets=budget or None,
        expires=expires,
    )
    raise typer.Exit(running.run(keys.add(wanted, as_json=as_json)))


@app.command("list")
def list_keys(
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", help="of this tenant only")] = None,
    ended: Annotated[bool, typer.Option("--all", help="also those that are revoked or expired")] = False,
    as_json: _Json = False,
) -> None:
    """List keys, with what is used of their budgets: spent, and set aside for jobs that run."""
    from dispatcher.cli import keys, running  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(keys.show_all(tenant=tenant, ended=ended, as_json=as_json)))


@app.command()
def show(which: _Which, *, as_json: _Json = False) -> None:
    """Show one key, but for its secret."""
    from dispatcher.cli import keys, running  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(keys.show(which, as_json=as_json)))


@app.command()
def change(
    which: _Which,
    *,
    name: Annotated[str | None, typer.Option("--name", help="another name")] = None,
    scope: _Scopes = None,
    model: _Models = None,
    any_model: Annotated[bool, typer.Option("--any-model", help="allow all models")] = False,
    device: _Devices = None,
    any_device: Annotated[bool, typer.Option("--any-device", help="allow all devices")] = False,
    rpm: _Rpm = None,
    no_rpm: Annotated[bool, typer.Option("--no-rpm", help="requests without limit")] = False,
    parallel: _Parallel = None,
    no_parallel: Annotated[bool, typer.Option("--no-parallel", help="jobs at once without limit")] = False,
    budget: _Budgets = None,
    no_budget: Annotated[bool, typer.Option("--no-budget", help="take all budgets away")] = False,
    expires: _Expires = None,
    no_expiry: Annotated[bool, typer.Option("--no-expiry", help="let it never expire")] = False,
    as_json: _Json = False,
) -> None:
    """Change a key at once: what is not given stays; --scope, --model, --device and --budget replace all there are."""
    from common.key_requests import Liftable  # noqa: PLC0415  # as above
    from dispatcher.cli import keys, running  # noqa: PLC0415  # as above

    given = (("model", model, any_model), ("device", device, any_device), ("budget", budget, no_budget))
    for option, some, none in given:
        if some and none:
            running.say(f"--{option} is given and taken away: do one of it")
            raise typer.Exit(running.FAILED)
    wanted = keys.Wanted(
        name=name,
        scopes=scope or None,
        models=() if any_model else model or None,
        devices=() if any_device else device or None,
        rpm=rpm,
        parallel=parallel,
        budgets=() if no_budget else budget or None,
        expires=expires,
    )
    lift = [one for one, yes in zip(Liftable, (no_rpm, no_parallel, no_expiry), strict=True) if yes]
    raise typer.Exit(running.run(keys.change(which, wanted, lift=lift, as_json=as_json)))


@app.command()
def rotate(
    which: _Which,
    *,
    overlap: Annotated[str, typer.Option("--overlap", help="how long the old secret is good: 0, 1h, 7d")] = "0",
    as_json: _Json = False,
) -> None:
    """Give a key another secret, which is shown this once; sessions of browsers end with the old one."""
    from dispatcher.cli import keys, running  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(keys.rotate(which, overlap=overlap, as_json=as_json)))


@app.command()
def revoke(which: _Which) -> None:
    """End a key and its sessions, at once and for ever."""
    from dispatcher.cli import keys, running  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(keys.revoke(which)))


@app.command()
def refill(which: _Which, *, as_json: _Json = False) -> None:
    """Forget what is spent of a key's budgets, so that their periods begin anew."""
    from dispatcher.cli import keys, running  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(keys.refill(which, as_json=as_json)))


@app.command()
def adopt(which: _Which) -> None:
    """Give a key's user the conversations from before there were keys: those of its tenant that belong to nobody."""
    from dispatcher.cli import keys, running  # noqa: PLC0415  # as above

    raise typer.Exit(running.run(keys.adopt(which)))

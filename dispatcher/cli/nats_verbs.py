"""The verbs of `drover nats`, `drover device` and `drover tenant`: who may come onto the bus; what they do stands elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

nats = typer.Typer(name="nats", help="The NATS server's users: one for each process.", no_args_is_help=True)
device = typer.Typer(name="device", help="The devices that may come onto the bus.", no_args_is_help=True)
tenant = typer.Typer(name="tenant", help="The tenants whose own programs may come onto the bus.", no_args_is_help=True)

DIRECTORY = Path("drover-nats")

_Dir = Annotated[Path, typer.Option("--dir", "-d", help="where `drover nats init` made the fleet's users")]
_Name = Annotated[str, typer.Argument(help="1 to 64 of A-Z a-z 0-9 _ -")]


@nats.command("init")
def nats_init(
    directory: Annotated[Path, typer.Argument(help="directory to make")] = DIRECTORY,
    *,
    url: Annotated[
        str | None, typer.Option("--url", help="how all reach the server", show_default="nats://<this host>:<port>")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="address on which it listens")] = "0.0.0.0",  # noqa: S104  # devices reach it
    port: Annotated[int, typer.Option("--port", min=1, max=65_535)] = 4222,
    first: Annotated[str, typer.Option("--tenant", help="the first tenant")] = "default",
    prefix: Annotated[str, typer.Option("--prefix", help="prefix of all subjects (DROVER_SUBJECT_PREFIX)")] = "llm.v1",
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="the server's certificate (PEM)")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="its key (PEM)")] = None,
    tls_ca: Annotated[Path | None, typer.Option("--tls-ca", help="what it is signed by, for all clients (PEM)")] = None,
) -> None:
    """Make a server's configuration, and one user for each process of the fleet."""
    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key belong together")

    def work() -> None:
        from dispatcher.cli.nats_words import init  # noqa: PLC0415  # each verb imports only what it needs

        init(directory, url=url, host=host, port=port, tenant=first, prefix=prefix, tls=(tls_cert, tls_key, tls_ca))

    _run(work)


@nats.command("update")
def nats_update(*, directory: _Dir = DIRECTORY) -> None:
    """Write all users' permissions anew, as after an update of Drover."""

    def work() -> None:
        from dispatcher.cli.nats_words import update  # noqa: PLC0415  # as above

        update(directory)

    _run(work)


def _add(role: str, name: str, directory: Path, tar: Path | None) -> None:
    def work() -> None:
        from dispatcher.cli.nats_roles import Role  # noqa: PLC0415  # as above
        from dispatcher.cli.nats_words import add  # noqa: PLC0415  # as above

        add(Role(role), name, directory, tar)

    _run(work)


def _list(role: str, directory: Path) -> None:
    def work() -> None:
        from dispatcher.cli.nats_roles import Role  # noqa: PLC0415  # as above
        from dispatcher.cli.nats_words import show  # noqa: PLC0415  # as above

        show(Role(role), directory)

    _run(work)


def _remove(role: str, name: str, directory: Path) -> None:
    def work() -> None:
        from dispatcher.cli.nats_roles import Role  # noqa: PLC0415  # as above
        from dispatcher.cli.nats_words import remove  # noqa: PLC0415  # as above

        remove(Role(role), name, directory)

    _run(work)


_Tar = Annotated[
    Path | None,
    typer.Option("--tar", help="write what the machine gets into this archive, and keep no copy of its seed"),
]


@device.command("add")
def device_add(name: _Name, *, tar: _Tar = None, directory: _Dir = DIRECTORY) -> None:
    """Let a device onto the bus: make its seed and its settings, to be copied onto it."""
    _add("device", name, directory, tar)


@device.command("list")
def device_list(*, directory: _Dir = DIRECTORY) -> None:
    """List the devices that may come onto the bus; `drover devices` shows those that are there."""
    _list("device", directory)


@device.command("remove")
def device_remove(name: _Name, *, directory: _Dir = DIRECTORY) -> None:
    """Take a device off the bus: its seed opens nothing any more."""
    _remove("device", name, directory)


@tenant.command("add")
def tenant_add(name: _Name, *, tar: _Tar = None, directory: _Dir = DIRECTORY) -> None:
    """Let a tenant's own programs onto the bus."""
    _add("producer", name, directory, tar)


@tenant.command("list")
def tenant_list(*, directory: _Dir = DIRECTORY) -> None:
    """List the tenants that have a user of the bus."""
    _list("producer", directory)


@tenant.command("remove")
def tenant_remove(name: _Name, *, directory: _Dir = DIRECTORY) -> None:
    """Take a tenant's programs off the bus."""
    _remove("producer", name, directory)


def _run(work: Callable[[], None]) -> None:
    from common.errors import FleetError  # noqa: PLC0415  # as above
    from dispatcher.cli import running  # noqa: PLC0415  # as above

    try:
        work()
    except FleetError as error:
        raise typer.Exit(running.fail(error)) from error

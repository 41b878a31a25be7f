"""What `drover nats`, `drover device` and `drover tenant` print: what was made, and what to do with it."""

from __future__ import annotations

import io
import os
import shutil
import socket
import sys
import tarfile
from pathlib import Path
from urllib.parse import urlsplit

from common.errors import ConfigError
from dispatcher.cli.nats_config import Certificate
from dispatcher.cli.nats_fleet import FleetDir
from dispatcher.cli.nats_reload import reload_line
from dispatcher.cli.nats_roles import SINGLE, Role

Tls = tuple[Path | None, Path | None, Path | None]
"""The server's certificate, its key, and what it is signed by."""


def init(directory: Path, *, url: str | None, host: str, port: int, tenant: str, prefix: str, tls: Tls) -> None:
    """Make a fleet's users."""
    cert, key, ca = tls
    certificate = Certificate(cert_file=cert, key_file=key) if cert is not None and key is not None else None
    scheme = "nats" if certificate is None else "tls"
    fleet = FleetDir(directory)
    found = fleet.init(
        url=url or f"{scheme}://{socket.gethostname()}:{port}",
        host=host,
        port=port,
        tenant=tenant,
        prefix=prefix,
        certificate=certificate,
        ca_file=ca,
    )
    _say(f"{fleet.path} is made: a seed and settings for each process of the fleet.")
    _say(f"  the server:   nats-server -c {fleet.server_file}")
    if (named := urlsplit(found.url).port) not in {None, port}:
        _say(
            f"  it listens on port {port}, and all look for it on {named}: pass that on, or begin again with --port {named}"
        )
    for role in SINGLE:
        if role in _COMMANDS:
            _say(f"  {role + ':':<13} cd {fleet.pack(role)} && {_COMMANDS[role]}")
    _say(f"  producer:     {fleet.pack(Role.PRODUCER, tenant)}")
    _say(f"  a device:     drover device add NAME --dir {directory}")
    _say(
        f"All reach the server at {found.url}; a pack can be moved to another machine, whole: its .env names its seed."
    )
    if certificate is None:
        _say(
            "The line is not encrypted: who can listen on it reads questions and answers. See --tls-cert, or use a VPN."
        )


def update(directory: Path) -> None:
    """Write the permissions anew."""
    fleet = FleetDir(directory)
    users = fleet.update().users
    _say(f"{fleet.path}: the permissions of {len(users)} users are written.")
    _say(reload_line(fleet))


def add(role: Role, name: str, directory: Path, tar: Path | None) -> None:
    """Add a user, and say how it comes to its machine."""
    if tar is not None and tar.exists():
        raise ConfigError(f"{tar} is there already, and nothing is overwritten: name another file")
    fleet = FleetDir(directory)
    pack = fleet.add(role, name)
    called = f"drover-{name}"
    if tar is not None:
        try:
            _archive(pack, tar, called)
        except OSError as error:
            raise ConfigError(f"{tar} can't be written ({error.strerror}): {pack} has the same files") from error
        shutil.rmtree(pack)
    _say(f"{role} {name} may come onto the bus.")
    _say(reload_line(fleet))
    if role is Role.PRODUCER:
        _say(f"Its programs:  {_place(pack, tar)}  holds its seed (nats.nk) and its settings (.env).")
        return
    copied = f"scp -r {pack} {name}:{called}" if tar is None else f"ssh {name} tar x < {tar}"
    _say(f"Copy it there:   {copied}")
    _say(f"and there run:   cd {called} && drover-agent --check")
    _say("                 drover-agent")


def show(role: Role, directory: Path) -> None:
    """List the users of a role, with their public keys."""
    for user in sorted(FleetDir(directory).read().of(role), key=lambda user: user.name):
        sys.stdout.write(f"{user.name:<24} {user.nkey}\n")


def remove(role: Role, name: str, directory: Path) -> None:
    """Take a user out."""
    fleet = FleetDir(directory)
    fleet.remove(role, name)
    _say(f"{role} {name} is taken off: once the server has read that, its seed opens nothing.")
    _say(reload_line(fleet))


_COMMANDS = {
    Role.DISPATCHER: "drover dispatcher",
    Role.LEDGER: "drover ledger serve",
    Role.BRIDGE: "drover bridge",
    Role.OPERATOR: "drover devices",
}


def _place(pack: Path, tar: Path | None) -> Path:
    return pack if tar is None else tar


def _archive(pack: Path, tar: Path, called: str) -> None:
    """Put the pack into an archive that nobody else may read, as its owner's files wherever it is unpacked."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(pack, called, filter=_nobodys)
    handle = os.open(tar, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(buffer.getvalue())


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")

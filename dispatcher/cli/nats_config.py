"""The NATS server's configuration for a fleet with one user for each process: text from values; it writes no file.

Two files: what the server is, which its owner may change, and who its users are, which is written anew with each user. Strings are
quoted as in JSON, which the server reads too. It works on nats-server 2.9.10 and all newer ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dispatcher.cli.nats_roles import Role, rights

SERVER_FILE = "nats-server.conf"
USERS_FILE = "users.conf"
PID_FILE = "nats-server.pid"

ACCOUNT = "FLEET"
SYSTEM_ACCOUNT = "SYS"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One user of the bus. The server knows `nkey`, the public half; the seed lies on the user's own machine."""

    role: Role
    name: str = ""
    nkey: str

    @property
    def shown(self) -> str:
        """What it is called in messages."""
        return f"{self.role} {self.name}" if self.name else str(self.role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """With what the server shows who it is: paths of PEM files."""

    cert_file: Path
    key_file: Path


def server_text(*, host: str, port: int, directory: Path, certificate: Certificate | None = None) -> str:
    """Write what the server is; `directory` is where both files lie, and where it keeps its streams."""
    where = directory.absolute()
    tls = "" if certificate is None else _tls(certificate)
    return f"""\
# The NATS server of a fleet. `drover nats init` has written it; it is yours to change, and is not written again.
#   nats-server -c {where / SERVER_FILE}

server_name: drover
host: {json.dumps(host)}
port: {port}

# Its state, on this machine only: what it shows there names connections and subjects.
http: "127.0.0.1:8222"
pid_file: {_quoted(where / PID_FILE)}

# Messages have 1 MB at most: that is a long conversation; pictures are made smaller before they are sent.
max_payload: 1MB
max_connections: 4096
max_subscriptions: 10000
max_pending: 32MB
write_deadline: "5s"
ping_interval: "20s"
ping_max: 2
{tls}
jetstream {{
  store_dir: {_quoted(where / "streams")}
  max_memory_store: 256MB
  max_file_store: 8GB
}}

# Who may do what. Written by `drover nats update`, `drover device` and `drover tenant`; don't change it by hand.
include {USERS_FILE}
"""


def users_text(users: Iterable[User], *, prefix: str) -> str:
    """Write who may do what. Nobody is let in without a key: there is no `no_auth_user`."""
    known = sorted(users, key=lambda user: (list(Role).index(user.role), user.name))
    fleet = "\n".join(_user(user, prefix) for user in known if user.role is not Role.SYSTEM)
    system = "\n".join(_system(user) for user in known if user.role is Role.SYSTEM)
    return f"""\
# Written by drover: one user for each process, with what it may publish on and hear; the rest is refused. Keys are public ones.

accounts {{
  {ACCOUNT} {{
    jetstream: enabled
    users: [
{fleet}
    ]
  }}
  {SYSTEM_ACCOUNT} {{
    users: [
{system}
    ]
  }}
}}
system_account: {SYSTEM_ACCOUNT}
"""


def _user(user: User, prefix: str) -> str:
    given = rights(user.role, user.name, prefix=prefix)
    if given is None:
        raise ValueError(f"{user.shown} has no rights in the fleet's account")
    return f"""\
      {{ # {user.shown}
        nkey: {user.nkey}
        permissions: {{
          publish: {{ allow: {_list(given.publish)} }}
          subscribe: {{ allow: {_list(given.subscribe)} }}
        }}
      }}"""


def _system(user: User) -> str:
    return f"      {{ nkey: {user.nkey} }} # {user.shown}"


def _list(subjects: Iterable[str]) -> str:
    rows = "".join(f"\n            {json.dumps(subject)}" for subject in subjects)
    return f"[{rows}\n          ]"


def _tls(certificate: Certificate) -> str:
    return f"""
tls {{
  cert_file: {_quoted(certificate.cert_file.absolute())}
  key_file: {_quoted(certificate.key_file.absolute())}
  timeout: 5
}}
"""


def _quoted(path: Path) -> str:
    return json.dumps(str(path))

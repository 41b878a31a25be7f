"""The directory in which a fleet's NATS users are kept: made once, added to, taken from; it connects to nothing.

`fleet.json` says who there is, and the server's `users.conf` is written from it. Each user has a pack: a directory with its seed
and a `.env`, to be copied to where that process runs. Nothing is overwritten; files are 0600, directories 0700, and each is whole
or absent.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from common.bus.nats.seeds import new_seed, public_key
from common.errors import BadRequest, ConfigError
from common.subjects import Subjects, require_token
from dispatcher.cli.nats_config import PID_FILE, SERVER_FILE, USERS_FILE, Certificate, User, server_text, users_text
from dispatcher.cli.nats_roles import NAMED, SINGLE, Role, inbox_of

FLEET_FILE = "fleet.json"
SEED_FILE = "nats.nk"
CA_FILE = "ca.pem"
ENV_FILE = ".env"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What is known of a fleet: where its server is, and its users."""

    url: str
    prefix: str = "llm.v1"
    ca: bool = False
    users: tuple[User, ...] = ()

    def of(self, role: Role) -> tuple[User, ...]:
        """Give the users of a role."""
        return tuple(user for user in self.users if user.role is role)


class FleetDir:
    """One such directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    def init(
        self,
        *,
        url: str,
        host: str,
        port: int,
        tenant: str,
        prefix: str,
        certificate: Certificate | None = None,
        ca_file: Path | None = None,
    ) -> Fleet:
        """Make all of it, with one producer, that of `tenant`. Raises `ConfigError` when something is there already."""
        require_name(Role.PRODUCER, tenant)
        ca = None if ca_file is None else _read(ca_file)
        _make(self.path)
        with self._held():
            if left := sorted(path.name for path in self.path.iterdir()):
                raise ConfigError(
                    f"{self.path} holds {', '.join(left[:3])} already, and nothing is overwritten: name another directory, or use "
                    "`drover device add` and `drover tenant add` to add to this one"
                )
            if ca is not None:
                _write(self.path / CA_FILE, ca)
            fleet = Fleet(url=url, prefix=prefix, ca=ca is not None)
            _write(
                self.path / SERVER_FILE,
                server_text(host=host, port=port, directory=self.path, certificate=certificate),
            )
            for role, name in (*((role, "") for role in SINGLE), (Role.PRODUCER, tenant)):
                fleet, _ = self._added(fleet, role, name)
            self._save(fleet)
        return fleet

    def read(self) -> Fleet:
        """Read who there is. Raises `ConfigError` where no fleet was made, or its file can't be read."""
        path = self.path / FLEET_FILE
        try:
            wire = json.loads(path.read_text(encoding="utf-8"))
            users = tuple(
                User(role=Role(one["role"]), name=str(one["name"]), nkey=str(one["nkey"])) for one in wire["users"]
            )
            return Fleet(url=str(wire["url"]), prefix=str(wire["prefix"]), ca=bool(wire["ca"]), users=users)
        except FileNotFoundError as error:
            raise ConfigError(f"{self.path} is no fleet: make one with `drover nats init {self.path}`") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} can't be read ({type(error).__name__}: {error}): restore it") from error

    def add(self, role: Role, name: str) -> Path:
        """Add a user, and give its pack. Raises `ConfigError` when there is one of that name, `BadRequest` for a bad name."""
        require_name(role, name)
        with self._held():
            fleet = self.read()
            if any(user.name == name for user in fleet.of(role)):
                raise ConfigError(
                    f"{role} {name!r} is there already: `drover {_verb(role)} remove {name}` first, for a new seed"
                )
            fleet, pack = self._added(fleet, role, name)
            self._save(fleet)
        return pack

    def remove(self, role: Role, name: str) -> None:
        """Take a user out, and its pack: after the server has read that, its seed opens nothing. Raises `ConfigError`."""
        with self._held():
            fleet = self.read()
            left = tuple(user for user in fleet.users if (user.role, user.name) != (role, name))
            if len(left) == len(fleet.users):
                known = ", ".join(user.name for user in fleet.of(role)) or "none"
                raise ConfigError(f"there is no {role} {name!r} in {self.path}: there is {known}")
            self._save(replace(fleet, users=left))
            shutil.rmtree(self.pack(role, name), ignore_errors=True)

    def update(self) -> Fleet:
        """Write the users' permissions anew, as this version has them."""
        with self._held():
            fleet = self.read()
            self._save(fleet)
        return fleet

    def pack(self, role: Role, name: str = "") -> Path:
        """Give where a user's seed and settings lie."""
        return self.path / f"{role}s" / name if role in NAMED else self.path / "services" / role

    @property
    def pid_file(self) -> Path:
        return self.path / PID_FILE

    @property
    def server_file(self) -> Path:
        return self.path / SERVER_FILE

    def _added(self, fleet: Fleet, role: Role, name: str) -> tuple[Fleet, Path]:
        pack, seed = self.pack(role, name), new_seed()
        # One that is not in the file was left behind by an addition that was broken off: nobody has that seed's rights.
        shutil.rmtree(pack, ignore_errors=True)
        _make(pack)
        _write(pack / SEED_FILE, seed + "\n")
        _write(pack / ENV_FILE, "".join(f"{key}={value}\n" for key, value in settings_of(fleet, role, name).items()))
        if fleet.ca:
            _write(pack / CA_FILE, _read(self.path / CA_FILE))
        return replace(fleet, users=(*fleet.users, User(role=role, name=name, nkey=public_key(seed)))), pack

    def _save(self, fleet: Fleet) -> None:
        wire = {
            "url": fleet.url,
            "prefix": fleet.prefix,
            "ca": fleet.ca,
            "users": [{"role": user.role, "name": user.name, "nkey": user.nkey} for user in fleet.users],
        }
        _write(self.path / FLEET_FILE, json.dumps(wire, indent=1) + "\n")
        _write(self.path / USERS_FILE, users_text(fleet.users, prefix=fleet.prefix))

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Keep others from changing it meanwhile; the kernel ends that with the process."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ConfigError(f"{self.path} is no fleet: make one with `drover nats init {self.path}`") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def require_name(role: Role, name: str) -> None:
    """Raise `BadRequest` that says how names are written."""
    try:
        require_token(str(role), name)
    except BadRequest as error:
        raise BadRequest(f"{error.message} (it stands in subjects)", param=str(role)) from error


def settings_of(fleet: Fleet, role: Role, name: str) -> Mapping[str, str]:
    """Give the settings of a user's process; paths are of the directory in which it runs."""
    found = {"NATS_URL": fleet.url, "NATS_NKEY": SEED_FILE}
    if fleet.ca:
        found["NATS_CA"] = CA_FILE
    if fleet.prefix != Subjects().prefix:
        found["DROVER_SUBJECT_PREFIX"] = fleet.prefix
    match role:
        case Role.DEVICE:
            found["DROVER_DEVICE"] = name
        case Role.PRODUCER:
            found |= {"DROVER_HTTP_TENANT": name, "NATS_INBOX_PREFIX": inbox_of(role, name)}
        case Role.OPERATOR | Role.OBSERVER | Role.SYSTEM:
            found["NATS_INBOX_PREFIX"] = inbox_of(role)
        case _:
            pass  # these processes know their own
    return found


def _verb(role: Role) -> str:
    return "tenant" if role is Role.PRODUCER else str(role)


def _make(path: Path) -> None:
    """Make a directory, and those above it that are missing; one that is there stays as it is."""
    try:
        for one in (*reversed(path.parents), path):
            if not one.is_dir():
                one.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError(f"{path} can't be made: {error.strerror}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error


def _write(path: Path, text: str) -> None:
    """Write a file that is there whole, or not at all, and that nobody else may read."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}") from error

"""A real PostgreSQL of one's own: a temporary cluster on a socket in its own directory, always stopped by its handle."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

START_S = 60.0
"""A hang guard; a start takes a fifth of a second on an idle machine."""

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)

needs_postgres = pytest.mark.skipif(
    BIN is None or not (BIN / "initdb").exists(), reason="PostgreSQL is not installed: deploy/setup.sh dev installs it"
)

_QUIET = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "listen_addresses=", "shared_buffers=16MB")


@dataclass(slots=True)
class PostgresServer:
    """One running server, and the databases in it."""

    directory: Path
    process: subprocess.Popen[bytes] | None = None
    databases: int = 0

    def database(self) -> str:
        """Make an empty database, and give its address; the password in it is one that must not be shown."""
        self.databases += 1
        name = f"ledger{self.databases}"
        self._sql(f"CREATE DATABASE {name}")
        return f"postgresql://postgres:hidden-word@/{name}?host={self.directory}"

    def shut(self, url: str) -> None:
        """Let nobody into a database, and throw out who is in it."""
        name = urlsplit(url).path.strip("/")
        self._sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        self._sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    def reopen(self, url: str) -> None:
        """Let them in again."""
        self._sql(f"ALTER DATABASE {urlsplit(url).path.strip('/')} ALLOW_CONNECTIONS true")

    def start(self) -> None:
        """Start it, and return when it answers."""
        options = [word for setting in _QUIET for word in ("-c", setting)]
        command = [
            *_as_postgres(),
            str(_bin("postgres")),
            "-D",
            str(self.directory / "data"),
            "-k",
            str(self.directory),
        ]
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen([*command, *options], stdout=log, stderr=log, cwd="/")
        guard_s = time.monotonic() + START_S
        while subprocess.run([_bin("pg_isready"), "-q", "-h", self.directory], check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > guard_s:
                raise RuntimeError(f"PostgreSQL did not start: {(self.directory / 'server.log').read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once; its children go with it."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(START_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _sql(self, text: str) -> None:
        command = [_bin("psql"), "-q", "-h", self.directory, "-U", "postgres", "-d", "postgres", "-c", text]
        subprocess.run(command, check=True, capture_output=True, timeout=START_S)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server for the life of the context. Nothing of it is safe from a power cut, which no test of ours makes."""
    with tempfile.TemporaryDirectory(prefix="drover-pg-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(directory, "postgres")
        make = [
            str(_bin("initdb")),
            "-D",
            str(directory / "data"),
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        subprocess.run(
            [*_as_postgres(), *make, "--locale=C.UTF-8"], check=True, capture_output=True, timeout=START_S, cwd="/"
        )
        server = PostgresServer(directory)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def _as_postgres() -> list[str]:
    """Give what runs a command as somebody who is not root, and ends it when this process ends."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    guard = [setpriv, "--pdeathsig", "KILL"]
    if os.geteuid() != 0:
        return guard
    user = pwd.getpwnam("postgres")
    return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--pdeathsig", "KILL"]


def _bin(name: str) -> Path:
    assert BIN is not None
    return BIN / name

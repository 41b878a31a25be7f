"""The state directory of `drover up`: its lock, its logs, and where the fleet listens; it starts and stops nothing."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from common.errors import ConfigError

LOG_TAIL_BYTES = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a running fleet listens, and the process that runs it."""

    pid: int
    nats_url: str
    http_url: str


class StateDir:
    """One directory: `up.lock`, `up.json`, `log/`, `nats/`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.nats_store = self.path / "nats"
        self.nats_config = self.path / "nats-server.conf"
        self._lock = self.path / "up.lock"
        self._addresses = self.path / "up.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory for this process. Raises `ConfigError` when another `drover up` has it, or when it can't be written.

        The kernel drops the lock with its process, however that ends: a lock file that was left behind holds nobody up.
        """
        try:
            (self.path / "log").mkdir(parents=True, exist_ok=True)
            handle = self._lock.open("a+", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"the state directory {self.path} can't be written ({error.strerror}): set DROVER_STATE_DIR to another one"
            ) from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                handle.seek(0)
                raise ConfigError(
                    f"drover up runs already in {self.path} (process {handle.read().strip() or 'unknown'}): "
                    "stop that one, or set DROVER_STATE_DIR to another directory"
                ) from error
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            try:
                yield
            finally:
                self._addresses.unlink(missing_ok=True)
                handle.truncate(0)

    def publish(self, addresses: Addresses) -> None:
        """Write where the fleet listens, for `drover ask` and the like; nobody else may read it, since a NATS URL may
        hold a password."""
        draft = self._addresses.with_suffix(".tmp")
        draft.unlink(missing_ok=True)  # one that was left behind would keep its mode
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
            json.dump(asdict(addresses), handle)
        draft.replace(self._addresses)

    def running(self) -> Addresses | None:
        """Tell where the fleet of this directory listens; None when none runs."""
        try:
            with self._lock.open(encoding="utf-8") as handle:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._read()
        except OSError:
            return None
        return None

    def holder(self) -> int | None:
        """Give the `drover up` that has this directory, also while it still starts; None when none has."""
        try:
            with self._lock.open(encoding="utf-8") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(handle.read().strip() or 0) or None
        except (OSError, ValueError):
            return None
        return None

    def log_file(self, name: str) -> Path:
        """Give the log of one process; what it held of the run before moves to `<name>.log.1`."""
        path = self.path / "log" / f"{name}.log"
        if path.exists():
            path.replace(path.with_suffix(".log.1"))
        return path

    def _read(self) -> Addresses | None:
        try:
            return Addresses(**json.loads(self._addresses.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None  # it is still starting


def tail(path: Path, lines: int) -> list[str]:
    """Give the last lines of a log, without reading all of it; nothing when there is no log."""
    try:
        with path.open("rb") as handle:
            handle.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
            text = handle.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-lines:]

"""Tells a NATS server on this machine to read its users anew; whether there is one its file with the process id says."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from dispatcher.cli.nats_fleet import FleetDir

_PROC = Path("/proc")


def reload_line(fleet: FleetDir) -> str:
    """Have the server read its users, and say what was done, or what is to be done by hand."""
    pid = _server(fleet.pid_file)
    by_hand = f"nats-server --signal reload={fleet.pid_file}"
    if pid is None:
        return f"no NATS server runs on {fleet.server_file} here; one elsewhere has to read its users anew: {by_hand}"
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return f"the NATS server has just ended: start it with  nats-server -c {fleet.server_file}"
    except PermissionError:
        return f"the NATS server (process {pid}) is another user's; have it read its users anew:  sudo {by_hand}"
    return f"the NATS server (process {pid}) reads its users anew"


def _server(pid_file: Path) -> int | None:
    """Give the process that wrote the file; a number that now belongs to another program is left alone."""
    try:
        pid = int(pid_file.read_text(encoding="utf-8"))
        program = (_PROC / str(pid) / "comm").read_text(encoding="utf-8").strip() if _PROC.is_dir() else "nats-server"
    except (OSError, ValueError):
        return None
    return pid if pid > 1 and program == "nats-server" else None

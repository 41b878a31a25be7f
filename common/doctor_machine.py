"""What every machine is looked at for: Python, packages, files that hold secrets, memory, disk, clock; it asks no server.

All of it blocks: run it by `doctor.aside`.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from common import settings
from common.doctor import Finding, fault, ok, warning
from common.errors import ConfigError
from common.origins import by_name, told

OLDEST = (3, 11)
LEAST_DISK_BYTES = 200_000_000
LOW_DISK_BYTES = 1_000_000_000
SMALL_BOARD_BYTES = 9_000_000_000
"""Of a board with 8 GB or less a model takes most."""
LOW_MEMORY = 0.08
_UNSYNCHRONISED = 0x40
"""STA_UNSYNC of adjtimex(2)."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MADE = {
    "NATS_NKEY": "copy it there from where drover nats init, drover device add or drover tenant add made it",
    "NATS_CREDS": "have whoever runs the NATS server make it (nsc)",
    "NATS_KEY": "copy it there from where the certificate of NATS_CERT was made",
}


def python() -> Sequence[Finding]:
    """The interpreter, and our own version."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST:
        return fault("python", f"Python {found}", "install Python 3.11 or newer")
    return ok("python", f"Python {found}, drover {metadata.version('drover')}")


def packages() -> Sequence[Finding]:
    """What drover needs is there, and nothing else has the names of our packages."""
    missing = [name for name in _needed() if not _installed(name)]
    if missing:
        do = "install drover again, with its dependencies"
        return fault("packages", f"not installed: {', '.join(missing)}", do)
    owners = metadata.packages_distributions()
    for package in ("agents", "common", "dispatcher"):
        others = sorted({name for name in owners.get(package, []) if name.lower() != "drover"})
        if others:
            do = f"give drover an environment of its own, or uninstall {others[0]}"
            return fault("packages", f"{', '.join(others)} has a package {package}, as drover has", do)
    return ok("packages", f"{len(_needed())} needed ones are installed; nobody else has our names")


def _needed() -> list[str]:
    rows = metadata.requires("drover") or []
    return [
        _name(row) for row in rows if "extra ==" not in row and "sys_platform" not in row and "platform_" not in row
    ]


def _name(requirement: str) -> str:
    end = next((at for at, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), len(requirement))
    return requirement[:end]


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def env_file(*trees: Any) -> Sequence[Finding]:
    """`.env` is nobody else's to read while it holds secrets."""
    path = settings.ENV_FILE.absolute()
    try:
        mode = path.stat().st_mode
        file = by_name()
    except FileNotFoundError:
        return ok(".env", f"there is none in {path.parent}: defaults, and the environment")
    except (ConfigError, OSError) as error:
        return fault(".env", str(error), "mend or remove it")
    knobs = [one for tree in trees for one in told(tree)]
    lines = sorted({one.knob for one in knobs if one.origin.line is not None and settings.HIDDEN in one.value})
    if lines and mode & _OTHERS:
        seen = f"{path} has mode {stat.S_IMODE(mode):04o}, and holds {', '.join(lines)}"
        return fault(".env", seen, f"chmod 600 {path}")
    return ok(".env", f"{path}, {len(file)} settings, mode {stat.S_IMODE(mode):04o}")


def secret_files(bus: settings.BusSection) -> Sequence[Finding]:
    """Seeds, credentials and keys are there, and nobody else may read them."""
    files = {"NATS_NKEY": bus.nkey_file, "NATS_CREDS": bus.creds_file, "NATS_KEY": bus.key_file}
    found: list[Finding] = []
    for knob, name in files.items():
        if name:
            found += _secret_file(knob, Path(name).expanduser())
    return found or ok("seeds", "no NATS seed, credentials or key is set")


def _secret_file(knob: str, path: Path) -> list[Finding]:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return fault(
            "seeds", f"{knob}={path.absolute()}: {error.strerror}", f"name the right file in {knob}, or {_MADE[knob]}"
        )
    if mode & _OTHERS:
        return fault(
            "seeds", f"{knob}={path} has mode {stat.S_IMODE(mode):04o}: others may read it", f"chmod 600 {path}"
        )
    if not os.access(path, os.R_OK):
        return fault("seeds", f"{knob}={path} can't be read by this user", "run this as the user that Drover runs as")
    return ok("seeds", f"{knob}={path}, mode {stat.S_IMODE(mode):04o}")


def memory() -> Sequence[Finding]:
    """There is memory left, and on a small board swap behind it."""
    found = _meminfo()
    total, free = found.get("MemTotal", 0), found.get("MemAvailable", 0)
    swap, swapped = found.get("SwapTotal", 0), found.get("SwapTotal", 0) - found.get("SwapFree", 0)
    if not total:
        return warning("memory", "/proc/meminfo tells nothing", "this is no Linux: nothing is known of its memory")
    seen = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB available, {swapped / 1e9:.1f} of {swap / 1e9:.1f} GB swap used"
    if free < LOW_MEMORY * total:
        return warning(
            "memory", seen, "choose smaller models, or fewer slots: models that are swapped out answer in minutes"
        )
    if total < SMALL_BOARD_BYTES and not swap:
        return warning(
            "memory",
            f"{seen}: no swap",
            "make some (zram, or a file of 4 GB): else the kernel kills what loads a model",
        )
    return ok("memory", seen)


def _meminfo() -> dict[str, int]:
    try:
        rows = [row.split() for row in Path("/proc/meminfo").read_text(encoding="ascii").splitlines()]
    except OSError:
        return {}
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) > 1 and row[1].isdigit()}


def directory(path: Path, what: str) -> Sequence[Finding]:
    """A directory can be written, and has room."""
    path = path.absolute()
    nearest = next(one for one in (path, *path.parents) if one.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return fault(
            what, f"{nearest} can't be written", "set DROVER_STATE_DIR to another directory, or chown this one"
        )
    free = shutil.disk_usage(nearest).free
    seen = f"{path}{'' if nearest == path else ' (not made yet)'}, {free / 1e9:.1f} GB free"
    mode = path.stat().st_mode if nearest == path else 0
    if free < LEAST_DISK_BYTES:
        return fault(what, seen, "make room: queues, logs and the ledger need some")
    if mode & stat.S_IWOTH:
        return fault(what, f"{seen}, and everybody may write there", f"chmod o-w {path}")
    if free < LOW_DISK_BYTES:
        return warning(what, seen, "make room soon")
    return ok(what, seen)


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as it is looked at; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_char * 512),
    )


def clock() -> Sequence[Finding]:
    """Something keeps the clock right: deadlines are moments of the clock."""
    if Path("/run/systemd/timesync/synchronized").exists():
        return ok("clock", "synchronised (systemd-timesyncd)")
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0 or timex.status & _UNSYNCHRONISED:
        do = "have it kept right: timedatectl set-ntp true, or install chrony (in a container, look at the host)"
        return warning("clock", "nobody keeps this clock right, says the kernel", do)
    return ok("clock", "synchronised, says the kernel")

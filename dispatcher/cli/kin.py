"""The processes on this machine that a `drover up` has started, by its logs: those of one that runs, and those that were left.

It reads the process table, and asks and changes nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dispatcher.cli.state import StateDir

_FROZEN = "Tt"
"""States of a process that was stopped by a signal, or by a debugger."""
_GONE = "ZX"

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kin:
    """One of them; `name` is that of its log, as agent-nano."""

    pid: int
    name: str
    parent: int

    @property
    def frozen(self) -> bool:
        """Whether it is stopped at this moment: who is told to stop goes on for a while yet on a busy machine."""
        return _state(self.pid)[0] in _FROZEN

    def __str__(self) -> str:
        """Name it as people look for it."""
        return f"{self.name} (process {self.pid})"


def started_in(state: StateDir) -> Sequence[Kin]:
    """Give all whose standard error is a log in this directory, by name."""
    logs = (state.path / "log").resolve()
    return sorted(_started_in(logs), key=lambda one: (one.name, one.pid))


def _started_in(logs: Path) -> Iterator[Kin]:
    for process in _PROC.glob("[0-9]*"):
        try:
            log = (process / "fd" / "2").readlink()
        except OSError:
            continue  # gone meanwhile, or another user's
        state, parent = _state(int(process.name))
        if log.parent == logs and state not in _GONE:
            # A log that was moved aside while its process wrote on is called nano.log.1.
            name = log.name.partition(".log")[0]
            yield Kin(pid=int(process.name), name=name, parent=parent)


def family(state: StateDir) -> Sequence[Kin]:
    """Give the processes of the fleet that runs here, `drover up` itself first; none where none does."""
    holder = state.holder()
    if holder is None:
        return ()
    own = Kin(pid=holder, name="drover up", parent=0)
    return (own, *(one for one in started_in(state) if one.parent == holder))


def orphans(state: StateDir) -> Sequence[Kin]:
    """Give those whose `drover up` is gone: the parent of a process that it started is itself, or one of its own processes."""
    everyone, holder = started_in(state), state.holder()
    parents = {one.pid for one in everyone} | ({holder} if holder is not None else set())
    return [one for one in everyone if one.parent not in parents]


def lives(pid: int) -> bool:
    """Tell whether there is such a process."""
    return _state(pid)[0] not in _GONE


def _state(pid: int) -> tuple[str, int]:
    """Give a process's state, as a letter, and its parent."""
    try:
        told = (_PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return told[0], int(told[1])
    except (OSError, ValueError, IndexError):
        return "X", 0

"""One task from standard input to standard output: the border where whatever goes wrong becomes a sentence, or an exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dispatcher.bridge.files.wire import framed, parts_of
from dispatcher.bridge.files.worker.confining import confine, shut_off
from dispatcher.bridge.files.worker.refusing import Refused

Json = dict[str, Any]
Task = Callable[[Json, list[bytes]], tuple[Json, list[bytes]]]

TOO_MUCH = "it takes more memory than it may: send a smaller one"


def main() -> int:
    """Do the task that the command line names, within its limits, and give the exit status."""
    _, name, memory_bytes, cpu_s = sys.argv
    confine(int(memory_bytes), int(cpu_s))
    task = _task(name)
    with Path("/proc/self/status").open(
        encoding="ascii", errors="replace"
    ) as status:  # read in the end, when nothing can be opened
        shut_off()
        head, *given = parts_of(sys.stdin.buffer.read())
        told, parts = _done(task, json.loads(head), given)
        _write({**told, "peak_kib": _peak_kib(status.read())}, parts)
    return 0


def _peak_kib(status: str) -> int | None:
    """Give the most memory that this process has had at once, where the kernel tells."""
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines["VmHWM"].split()[0]) if "VmHWM" in lines else None


def _task(name: str) -> Task:
    """Import what the task needs, and nothing else: a PDF's reader takes four times as long as the images'."""
    if name == "pdf":
        from dispatcher.bridge.files.worker import documents  # noqa: PLC0415  # see above

        return documents.task
    from dispatcher.bridge.files.worker import pictures  # noqa: PLC0415  # see above

    return pictures.task


def _done(task: Task, head: Json, given: list[bytes]) -> tuple[Json, list[bytes]]:
    try:
        return task(head, given)
    except Refused as refused:
        return {"refused": str(refused)}, []
    except MemoryError:
        return {"refused": TOO_MUCH}, []


def _write(head: Json, parts: list[bytes]) -> None:
    for piece in framed([json.dumps(head).encode(), *parts]):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


sys.exit(main())

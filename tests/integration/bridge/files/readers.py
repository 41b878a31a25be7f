"""Many files, each in a process of its own that is confined like the bridge's, but forked from one that has imported its reader:
what takes longest is importing it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from dispatcher.bridge.files.wire import framed

HANG_S = 120.0

FORKING = """
import importlib, json, os, sys
from dispatcher.bridge.files.wire import parts_of
from dispatcher.bridge.files.worker.confining import confine, shut_off
from dispatcher.bridge.files.worker.refusing import Refused

reader = importlib.import_module("dispatcher.bridge.files.worker." + sys.argv[1])
head, *files = parts_of(sys.stdin.buffer.read())
for given in files:
    child = os.fork()
    if child == 0:
        confine(512 << 20, 20)
        shut_off()
        try:
            reader.task(json.loads(head), [given])
            said = "taken"
        except Refused as refused:
            said = str(refused)
        except MemoryError:
            said = "it takes more memory than it may"
        print(json.dumps(said), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        print('"it broke its reader"', flush=True)
"""


def said_of(reader: str, head: Mapping[str, Any], files: Mapping[str, Callable[[], bytes]]) -> dict[str, str]:
    """Give what a reader says of each file, by the names that these have."""
    given = b"".join(framed([json.dumps(head).encode(), *(file() for file in files.values())]))
    command = [sys.executable, "-I", "-c", FORKING, reader]
    done = subprocess.run(command, input=given, capture_output=True, check=True, timeout=HANG_S)
    return dict(zip(files, map(json.loads, done.stdout.splitlines()), strict=True))

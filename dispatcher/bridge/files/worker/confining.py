"""What this process may take and do, set by itself before it reads a byte, and for good: the limits are hard ones."""

from __future__ import annotations

import resource
import sys


def confine(memory_bytes: int, cpu_s: int) -> None:
    """Bound memory and CPU time. No file is written, no core is left behind, and no process or thread is started.

    Root may raise hard limits again, and starts processes as it likes: the bridge should not run as root.
    """
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CPU, cpu_s)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NPROC, 0)


def shut_off() -> None:
    """Open no file and no socket from now on, not even in the place of one that is closed; what is open stays.

    This keeps it off the network without a namespace of its own, which many kernels give to root alone. What is imported too late
    fails as that, and not as a file that is broken.
    """
    sys.meta_path.clear()
    _limit(resource.RLIMIT_NOFILE, 0)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))

"""How a verb ends: exit statuses, one clear line per typed error, cancellation on Ctrl-C; it knows no verb."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from common.errors import FleetError

FAILED = 1
INTERRUPTED = 128 + signal.SIGINT


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a verb to its exit status. A signal cancels it, so that it can call off its jobs on the way out."""
    try:
        return asyncio.run(_cancelled_by_sigterm(main))
    except KeyboardInterrupt:
        return INTERRUPTED
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except FleetError as error:
        return fail(error)
    except BrokenPipeError:
        # Whoever read our output has gone, and Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def fail(error: FleetError) -> int:
    """Write the error as one line to standard error and give the exit status."""
    say(error.message if error.retry_after_s is None else f"{error.message} (try again in {error.retry_after_s:.0f} s)")
    return FAILED


def say(line: str) -> None:
    """Write a line about the run, not of its result, to standard error."""
    sys.stderr.write(f"drover: {line}\n")
    sys.stderr.flush()


async def _cancelled_by_sigterm(main: Coroutine[Any, Any, int]) -> int:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await main

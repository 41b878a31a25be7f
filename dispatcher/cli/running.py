"""How a verb ends: exit statuses, one clear line per typed error, cancellation on Ctrl-C; it knows no verb."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from common.errors import FleetError, rounded_up
from common.lifecycle import heeds_hangup
from dispatcher.cli.cache_words import plain

FAILED = 1
INTERRUPTED = 128 + signal.SIGINT


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a verb to its exit status. A signal cancels it, so that it can call off its jobs on the way out."""
    heard: list[signal.Signals] = []
    gc.freeze()  # as in `common.lifecycle`: at the exit of a short verb the collector has little else to look at
    try:
        return asyncio.run(_cancelled(main, by=heard))
    except KeyboardInterrupt:
        return INTERRUPTED
    except asyncio.CancelledError:
        return 128 + (heard[0] if heard else signal.SIGTERM)
    except FleetError as error:
        return fail(error)
    except BrokenPipeError:
        # Whoever read our output has gone, and Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def fail(error: FleetError) -> int:
    """Write the error as one line to standard error and give the exit status."""
    wait_s = error.retry_after_s
    say(error.message if wait_s is None else f"{error.message} (try again in {rounded_up(wait_s, 0):.0f} s)")
    return FAILED


def say(line: str) -> None:
    """Write a line about the run, not of its result, to standard error; it may quote what came over the bus."""
    sys.stderr.write(plain(f"drover: {line}\n", keep="\n\t"))
    sys.stderr.flush()


async def _cancelled(main: Coroutine[Any, Any, int], *, by: list[signal.Signals]) -> int:
    """Await `main`; SIGTERM and, unless nohup has it ignored, SIGHUP cancel it, and are noted in `by`."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def cancel(number: signal.Signals) -> None:
        by.append(number)
        if task is not None:
            task.cancel()

    for number in (signal.SIGTERM, *([signal.SIGHUP] if heeds_hangup() else [])):
        loop.add_signal_handler(number, cancel, number)
    return await main

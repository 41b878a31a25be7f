"""Asks a board's own tool, seldom enough and never for long: one that hangs or is missing is left alone for a while; it does not
know what is said."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence

LIMIT_S = 2.0
"""A tool that takes longer is killed: these take some ten milliseconds."""

AGAIN_S = 300.0
"""How long one that hangs, fails or is missing is left alone."""

_MOST_CHARS = 10_000


class Command:
    """One question to one tool. `every_s` is for how long an answer serves."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        every_s: float,
        limit_s: float = LIMIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._arguments = tuple(arguments)
        self._every_s = every_s
        self._limit_s = limit_s
        self._clock = clock
        self._said = ""
        self._due_s = float("-inf")

    def ask(self) -> str:
        """Give what it says, now or lately; empty where it says nothing."""
        if self._clock() >= self._due_s:
            said = self._run()
            self._said = said or ""
            self._due_s = self._clock() + (AGAIN_S if said is None else self._every_s)
        return self._said

    def _run(self) -> str | None:
        try:
            done = subprocess.run(  # noqa: S603  # the board's own tool, and no word of a stranger in it
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=self._limit_s,
                check=False,
            )
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
        return None if done.returncode else done.stdout[:_MOST_CHARS].decode("utf-8", "replace")

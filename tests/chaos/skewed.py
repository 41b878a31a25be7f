"""An agent whose wall clock is off, run as `python -m tests.chaos.skewed <seconds>`; nothing else about it is different."""

from __future__ import annotations

import sys
import time

from agents.app import main
from common.clock import LoopClock


def _skew(by_s: float) -> None:
    def unix_s(self: LoopClock) -> float:
        return time.time() + by_s

    LoopClock.unix_s = unix_s  # type: ignore[method-assign]  # in this process alone


if __name__ == "__main__":
    _skew(float(sys.argv[1]))
    raise SystemExit(main())

"""Figures from a process of their own, with one thread for products of matrices, as a dispatcher has it; it measures nothing."""

from __future__ import annotations

import os
import subprocess
import sys

from common import codec

_ENV = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def measured(module: str, *arguments: str) -> dict[str, float]:
    """Run a module that prints figures as JSON, and give them. Raises `RuntimeError` with what it said when it failed."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, env={**os.environ, **_ENV})  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{module} could not be measured: {done.stderr.decode(errors='replace')[-800:]}")
    told: dict[str, float] = codec.decode(done.stdout)
    return told

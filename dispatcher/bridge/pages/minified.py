"""Our own modules as they travel: without comments and spaces, and with short names inside functions; it knows no page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from common.logs import get_logger

log = get_logger("bridge")

WORKER = Path(__file__).with_name("minifier.py")

PATIENCE_S = 30.0
"""It takes a tenth of a second; on a Pi that has just been switched on everything takes longer."""


def minified(modules: Mapping[str, bytes], worker: Path = WORKER) -> dict[str, bytes]:
    """Give modules as they are sent, by name. Nobody does without a page for this: where there is no minifier (it has no wheel for
    32-bit machines), or it fails, they are sent as they are written, half as large again, and the log says why."""
    sources = json.dumps({name: module.decode() for name, module in modules.items()})
    command = [sys.executable, "-I", str(worker)]
    try:
        done = subprocess.run(command, input=sources, capture_output=True, text=True, timeout=PATIENCE_S, check=True)  # noqa: S603 - ours
        smaller: dict[str, str] = json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        log.warning("page_as_written", why=(error.stderr.strip() or str(error)).splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        log.warning("page_as_written", why=str(error))
    else:
        return {name: module.encode() for name, module in smaller.items()}
    return dict(modules)

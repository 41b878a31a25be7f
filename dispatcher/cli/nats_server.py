"""The NATS server that `drover up` starts: where the program is, and its configuration; it runs nothing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from common.errors import ConfigError

_SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where distributions keep nats-server; an ordinary user's PATH lacks these on Debian."""


def program(name: str, path: str | None = None) -> str:
    """Find nats-server, by name along PATH or by its own path. Raises `ConfigError` that says how to install it."""
    found = shutil.which(name, path=path if path is not None else f"{os.environ.get('PATH', '')}:{_SYSTEM_PROGRAMS}")
    if found is None:
        raise ConfigError(
            f"{name} was not found: install it with  sudo apt-get install nats-server, "
            "or set NATS_URL to a server that runs already"
        )
    return found


def config(*, host: str, port: int, store: Path) -> str:
    """Write the configuration. Strings are quoted as in JSON, which the server reads too."""
    return (
        "server_name: drover\n"
        f"host: {json.dumps(host)}\n"
        f"port: {port}\n"
        "jetstream {\n"
        f"  store_dir: {json.dumps(str(store))}\n"
        "}\n"
    )

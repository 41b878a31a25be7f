"""A virtual environment for each client, of pinned and hashed packages; it knows no bridge.

They stay below `.venv-clients/` for the next run, and are made anew when their lock has changed. `make clean-all` removes them.
"""

from __future__ import annotations

import asyncio
import hashlib
import platform
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "deploy" / "locks"
ENVIRONMENTS = ROOT / ".venv-clients"
INSTALL_S = 1800.0
CPU_TORCH = "https://download.pytorch.org/whl/cpu/torch/"
"""Where torch without CUDA is, which no index of one's own need have."""


class NotInstalled(Exception):
    """A client's packages could not be had; the words say which, as pip does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One environment: its lock `clients-NAME.txt`, and the program that is run in it. `only` tells where that lock holds."""

    name: str
    program: str
    only: str = ""

    @property
    def fits(self) -> bool:
        here = f"{platform.system()} {platform.machine()} {platform.python_implementation()} " + ".".join(
            map(str, sys.version_info[:2])
        )
        return self.only in ("", here)


KINDS: Mapping[str, Kind] = {
    one.name: one
    for one in (
        Kind(name="openai", program="openai_client.py"),
        Kind(name="ollama", program="ollama_client.py"),
        Kind(name="anthropic", program="anthropic_client.py"),
        Kind(name="langchain", program="langchain_clients.py"),
        Kind(name="llm", program="llm_cli.py"),
        Kind(name="litellm", program="litellm_client.py"),
        # Its torch is one without CUDA, and those are wheels for one machine and one Python.
        Kind(name="open-webui", program="open_webui.py", only="Linux x86_64 CPython 3.11"),
    )
}


async def ready(kind: Kind) -> Path:
    """Have a client's environment, and give its Python. Raises `NotInstalled`."""
    lock, place = LOCKS / f"clients-{kind.name}.txt", ENVIRONMENTS / kind.name
    mark, wanted = place / ".lock-of-drover", hashlib.sha256(lock.read_bytes()).hexdigest()
    python = place / "bin" / "python"
    if mark.exists() and mark.read_text() == wanted:
        return python
    shutil.rmtree(place, ignore_errors=True)
    await _run(sys.executable, "-m", "venv", str(place))
    # The lock is whole, so nothing is resolved; the cache is left out for the gigabytes that it would keep besides.
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-deps")
    wheels = (*pip, "--require-hashes", "-r", str(lock))
    try:
        await _run(*wheels)
    except NotInstalled:
        if not kind.only:
            raise
        await _run(*wheels, "--find-links", CPU_TORCH)
    mark.write_text(wanted)
    return python


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    try:
        async with asyncio.timeout(INSTALL_S):
            said, _ = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        lines = [line for line in said.decode(errors="replace").splitlines() if not line.startswith("WARNING")]
        raise NotInstalled(" ".join(lines[-3:])[-400:] or f"status {process.returncode}")

"""What holds for the whole run of the tests, whoever starts it; it knows no test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from common import logs

_TOGETHER = ("tests/e2e/web/",)
"""Folders whose files share what is dear to start, a browser and whole houses: one worker has all of a folder's."""

_HANDED_DOWN = (signal.SIGINT, signal.SIGHUP)
"""A shell's `&` and nohup ignore these, and every process below inherits that."""

# Workers side by side leave no core for a second thread of one product, which is waited for in a busy loop: fits took ten times as
# long. Read when numpy is imported, which no plugin of pytest does; the processes that tests start inherit it.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# Hundreds of processes are started. Where no bytecode is kept, each compiles all our modules anew, a fifth of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# An example's 200 ms are measured by the clock on the wall, and a busy machine takes that long to begin with one.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


def pytest_configure(config: pytest.Config) -> None:
    """Let the processes that tests start have their signals as from a terminal, also where this run was told to ignore them.

    A handler, unlike `SIG_IGN`, is not inherited over an exec. It does nothing, so that this run still ignores the signal.
    """
    for number in _HANDED_DOWN:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


class _ByFolder(LoadFileScheduling):
    """Files are spread over workers, but for those of some folders, which stay together."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in _TOGETHER if nodeid.startswith(folder)), super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Take over where files are spread, as `make test` has it."""
    return _ByFolder(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A verb that runs in the tests' own process says how it logs: for itself, and not for the tests after it."""
    before = structlog.get_config()
    yield
    if structlog.get_config() != before:
        structlog.configure(**before)
        structlog.contextvars.clear_contextvars()
        for logger in logs._loggers:
            vars(logger).pop("bind", None)

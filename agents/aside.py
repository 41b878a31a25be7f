"""Blocking calls beside the event loop, each in a thread that nobody waits for at the end; it does not know what they do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Aside(Executor):
    """Runs each call in a thread of its own. A pool's would be waited for at the end of the process, also one that hangs; and a few
    that hang would be all of the pool."""

    def __init__(self, name: str) -> None:
        self._name = name

    def submit(self, call: Callable[Given, Result], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Result]:
        """Begin the call."""
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()
        threading.Thread(
            target=_run, args=(future, lambda: call(*args, **kwargs)), name=self._name, daemon=True
        ).start()
        return future


def _run(future: Future[Result], call: Callable[[], Result]) -> None:
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001  # it is raised where the result is awaited
        future.set_exception(error)
    finally:
        del future  # else an error, its traceback and this frame would hold one another

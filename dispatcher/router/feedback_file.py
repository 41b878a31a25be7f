"""The file in which a dispatcher keeps what feedback taught it, written by a thread; it does not know what that is.

The loop hands over the latest state, and asks whether the file was taken away; the thread writes, and looks. A disk that does not
take it is told once, and tried again each time.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from common import codec
from common.logs import get_logger
from dispatcher.files import write_whole

log = get_logger("router.feedback")


class FeedbackFile:
    """Keeps the state that was handed over last. `written` says that the file is there, as far as we know; without a path nothing
    is kept. All but `keep` belong to the event loop."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.written = False
        self._held: object | None = None
        self._taken = False
        self._failing = False
        self._lock = Lock()  # for what stands above: never held while the disk is waited for
        self._writing = Lock()  # one writes at a time, also at the end

    def hold(self, state: object) -> None:
        """Hand over a state that nobody changes any more; one that was not written yet gives way to it."""
        with self._lock:
            self._held = state

    def taken_away(self) -> bool:
        """Tell, once, that somebody deleted the file."""
        with self._lock:
            taken, self._taken = self._taken, False
        return taken

    def keep(self) -> None:
        """Look whether the file is there still, then write what was handed over. A thread may do it. What cannot be written is
        told once, and waits for the next time."""
        if self.path is None:
            return
        with self._writing:
            if self.written and _gone(self.path):
                with self._lock:
                    self.written, self._taken, self._held = False, True, None
                return
            with self._lock:
                state, self._held = self._held, None
            if state is not None:
                self._write(self.path, state)

    def _write(self, path: Path, state: object) -> None:
        try:
            write_whole(path, codec.encode(codec.plain(state)))
        except OSError as error:
            if not self._failing:
                log.warning("feedback.unwritten", path=str(path), error=str(error))
            self._failing = True
            with self._lock:
                self._held = state if self._held is None else self._held
            return
        if self._failing:
            log.warning("feedback.written", path=str(path))
        self.written, self._failing = True, False


def _gone(path: Path) -> bool:
    """True when the file is not there; one that can't be looked at is."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False

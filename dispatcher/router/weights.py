"""The trained parts that a router uses, as their files have them now: topics, the weak-or-strong router, the judge of answers.

It trains nothing.

A file that is missing, damaged or of another embedder costs its part and nothing else, with one line in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from common.errors import ConfigError
from common.logs import get_logger
from dispatcher.files import Stamp, stamp_of
from dispatcher.router.multi_file import read_either
from dispatcher.router.topics_file import read_topics
from dispatcher.router.trained_file import read_router
from dispatcher.routing.answer_signals import ANSWER_SIGNALS
from dispatcher.routing.centroids import Topics
from dispatcher.routing.multi import MultiRouter
from dispatcher.routing.prompt_signals import SIGNALS
from dispatcher.routing.trained import TrainedRouter
from dispatcher.weights_file import card_path

log = get_logger("router.weights")

P = TypeVar("P")


class _Followed(Generic[P]):
    """One file, read when it is there and again when it changes."""

    def __init__(self, name: str, path: Path | None, read: Callable[[Path], P]) -> None:
        self._name = name
        self._path = path
        self._read = read
        self._stamps: tuple[Stamp | None, Stamp | None] | None = None
        self.part: P | None = None
        self.lacks = f"no {name} file is set" if path is None else f"{path} is not there"

    def refresh(self) -> None:
        """Read the file if it or its card changed; a part that can't be read anew stays as it was, whatever is in the files."""
        if self._path is None:
            return
        stamps = stamp_of(self._path), stamp_of(card_path(self._path))
        if stamps == self._stamps:
            return
        self._stamps = stamps
        if stamps[0] is None:
            self.part, self.lacks = None, f"{self._path} is not there"
            log.warning("weights.missing", part=self._name, path=str(self._path))
            return
        try:
            self.part, self.lacks = self._read(self._path), ""
        except ConfigError as error:
            self._refuse(error.message)
        except Exception as error:  # noqa: BLE001  # a border: what a stranger put into a file ends no dispatcher
            self._refuse(f"{self._path} is damaged: {type(error).__name__}")
        else:
            log.info("weights.read", part=self._name, path=str(self._path))

    def _refuse(self, reason: str) -> None:
        self.lacks = reason if self.part is None else ""
        log.warning("weights.refused", part=self._name, path=str(self._path), error=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFiles:
    """Where the trained parts lie; None for none."""

    topics: Path | None = None
    router: Path | None = None
    cascade: Path | None = None


class Weights:
    """The trained parts. `embedder` is the identity of the one whose vectors they will be asked with; None for no embedder."""

    def __init__(self, files: WeightFiles, embedder: str | None) -> None:
        self._topics = _Followed("topics", files.topics, lambda path: read_topics(path, embedder=embedder or "none"))
        self._router = _Followed(
            "router", files.router, lambda path: read_either(path, signals=SIGNALS, embedder=embedder)
        )
        self._cascade = _Followed(
            "cascade",
            files.cascade,
            lambda path: read_router(path, signals=(*SIGNALS, *ANSWER_SIGNALS), embedder=embedder)[0],
        )
        self._named = files.topics is not None
        self.refresh()

    @property
    def topics(self) -> Topics | None:
        """Trained centroids, if there are any."""
        return self._topics.part

    @property
    def router(self) -> TrainedRouter | MultiRouter | None:
        """The trained router, if there is one: of two tiers, or of several models."""
        return self._router.part

    @property
    def lacks_topics(self) -> str:
        """Say why there are no trained topics though a file was named; empty when none was."""
        return self._topics.lacks if self._named else ""

    @property
    def lacks_router(self) -> str:
        """Say why there is no trained router."""
        return self._router.lacks

    @property
    def cascade(self) -> TrainedRouter | None:
        """The trained judge of weak answers, if there is one."""
        return self._cascade.part

    def refresh(self) -> None:
        """Read what changed."""
        self._cascade.refresh()
        self._topics.refresh()
        self._router.refresh()

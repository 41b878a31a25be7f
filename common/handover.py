"""Whether a dispatcher may have a job that is sent, maybe several times; it sends nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from common import frames
from common.errors import FleetError, NoDispatcher, NotPermitted


@dataclass(slots=True)
class Sending:
    """One sending of a job, by what is heard of it."""

    published: bool = False
    accepted: bool = False
    begins_nothing: bool = False
    """True for what is proven: see `Handover`."""

    def hear(self, frame: frames.Frame) -> None:
        """Take in a frame."""
        self.accepted = self.accepted or isinstance(frame, frames.Ack)
        if isinstance(frame, frames.Err):
            self.begins_nothing = not self.accepted
        elif isinstance(frame, frames.End):
            self.begins_nothing = bool((frame.route or {}).get("replayed"))


@dataclass(slots=True)
class Handover:
    """Tells of one job whether a dispatcher may have it: `begun` from the moment in which it is sent, whatever comes then.

    It is taken back for what proves that this sending begins nothing: 1. it could not be published, or nobody listens; 2. it is
    refused before it is accepted; 3. its answer was there before, and is told again. What an earlier sending of the same job has
    begun no later one takes back.
    """

    begun: bool = False

    @contextmanager
    def sending(self) -> Iterator[Sending]:
        """Watch one sending, for the life of the context."""
        before, one, self.begun = self.begun, Sending(), True
        try:
            yield one
        except FleetError as error:  # 1
            unheard = isinstance(error, NoDispatcher | NotPermitted) and not one.accepted
            one.begins_nothing = one.begins_nothing or unheard or not one.published
            raise
        finally:
            if one.begins_nothing:  # 2, 3
                self.begun = before

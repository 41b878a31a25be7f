"""One answer told over any number of tries, so that nothing is given twice, and when to give up; it sends nothing itself."""

from __future__ import annotations

import random
from dataclasses import replace

from common import frames
from common.clock import loop_s
from common.errors import TORN, BusDisconnected, BusTimeout, FleetError, Interrupted, NoDispatcher, Stopping
from common.messages import ChatRequest

PATIENCE_S = 15.0
"""So long a producer goes on sending a job again that was accepted once; a broker and a dispatcher are back by then."""

FIRST_CONTACT_S = 6.0
"""So long it tries to find a dispatcher at all: a lone one that is started anew is back by then."""

PAUSE_MIN_S, PAUSE_MAX_S = 0.05, 1.0
"""Between two tries, doubled each time, and jittered: producers should not come back in step."""


class Retelling:
    """One answer as its reader gets it, over any number of tries: each begins from the start, and nothing is given twice."""

    def __init__(self, request: ChatRequest, *, patience_s: float) -> None:
        self.over = False
        """True when the reader has the terminal frame."""
        self._request = request
        self._patience_s = patience_s
        self._began_s = loop_s()
        self._sent_s = self._began_s
        self._failing_s: float | None = None
        self._tries = 0
        self._pauses = 0
        self._acked = False
        self._given: list[str] = []
        self._tokens = 0
        self._before = ""
        self._heard = 0

    def request(self) -> ChatRequest:
        """Give what to send next; the time that is left, and the text that the reader has, as they are now."""
        self._tries += 1
        self._sent_s = loop_s()
        if self._tries == 1:
            return self._request
        self._before, self._heard = "".join(self._given), 0
        again = replace(self._request, resends=(self._request.resends or 0) + self._tries - 1, resume=self._before)
        if (left_s := self._left_s()) is not None:
            again = replace(again, timeout_s=left_s)
        return again

    def take(self, frame: frames.Frame) -> list[frames.Frame]:
        """Give what the reader is to see of a frame. Raises the error of a dispatcher that gave the job up as it stopped."""
        if isinstance(frame, frames.Err) and _gave_up(frame.error):
            raise frame.error
        match frame:
            case frames.Ack():
                first, self._acked = not self._acked, True
                return [frame] if first else []
            case frames.Token():
                return self._text(frame.text)
            case frames.End() if self._heard < len(self._before):
                return [self._differs()]
            case frames.End():
                self.over = True
                return [frame if frame.tokens == self._tokens else replace(frame, tokens=self._tokens)]
            case frames.Err():
                self.over = True
        return [frame]

    def _text(self, text: str) -> list[frames.Frame]:
        known = self._before[self._heard : self._heard + len(text)]
        self._heard += len(text)
        if not text.startswith(known):
            return [self._differs()]
        new = text[len(known) :]
        if not new:
            return []
        self._given.append(new)
        self._failing_s, self._pauses = None, 0
        self._tokens += 1
        return [frames.Token(self._tokens - 1, new)]

    def _differs(self) -> frames.Err:
        self.over = True
        have = len(self._before)
        return frames.Err(
            Interrupted(
                f"the answer broke off after {have} characters, and came again with other words: ask again",
                delivered_chars=have,
            )
        )

    def pause_s(self, error: FleetError) -> float:
        """Give the seconds until the next try; raises `error` when there is to be none."""
        now_s = loop_s()
        if self._failing_s is None or now_s - self._sent_s > self._patience_s:
            # New text, or a long time in good order: this is another trouble than the one before.
            self._failing_s = now_s
        patience_s = self._patience_s if self._acked else min(self._patience_s, FIRST_CONTACT_S)
        left_s = self._left_s()
        spent = now_s - self._failing_s >= patience_s or (left_s is not None and left_s <= PAUSE_MIN_S)
        if spent or not _mendable(error):
            raise error
        pause_s = min(PAUSE_MAX_S, PAUSE_MIN_S * 2**self._pauses)
        self._pauses = min(self._pauses + 1, 10)
        return random.uniform(pause_s / 2, pause_s)  # noqa: S311  # jitter, not a secret

    def _left_s(self) -> float | None:
        if self._request.timeout_s is None:
            return None
        return max(PAUSE_MIN_S, self._request.timeout_s - (loop_s() - self._began_s))


def _gave_up(error: FleetError) -> bool:
    """True when the dispatcher ended the job because it stops, and another one takes it; or when it could not send it all."""
    return isinstance(error, Stopping) or error.details.get("cause") in {Stopping.code, TORN}


def _mendable(error: FleetError) -> bool:
    """True when sending the job again may help: what was lost is on the way, not in the request."""
    return isinstance(error, BusTimeout | BusDisconnected | NoDispatcher | Interrupted | Stopping)

"""Those who wait for one answer: who hears what is said now, and who is still being told what was said before; it says nothing."""

from __future__ import annotations

from collections.abc import Iterator

from dispatcher.delivery.listener import Listener


class Listeners:
    """The listeners of one answer. `live` counts those that see text as it comes, `framed` those that hear steps; `keep_s` is the
    longest time for which any of them wanted the job to live on."""

    __slots__ = ("_arriving", "_here", "framed", "keep_s", "live")

    def __init__(self) -> None:
        self._arriving: list[Listener] = []
        self._here: list[Listener] = []
        self.live = 0
        self.framed = 0
        self.keep_s = 0.0

    def __iter__(self) -> Iterator[Listener]:
        """Give those who hear what is said now, as they are at this moment: one that fails leaves while others are told."""
        return iter(tuple(self._here))

    def __len__(self) -> int:
        return len(self._here)

    def __contains__(self, listener: Listener) -> bool:
        return listener in self._here

    @property
    def gone(self) -> bool:
        """True when nobody is here, and nobody is coming."""
        return not self._here and not self._arriving

    def at(self, reply: str) -> Listener | None:
        """Give the listener of a reply subject."""
        return next((one for one in (*self._here, *self._arriving) if one.seat.reply == reply), None)

    def add(self, listener: Listener) -> None:
        """Let one hear all that is said from now on."""
        self._here.append(listener)
        self.live += listener.live
        self.framed += listener.seat.framed
        self.keep_s = max(self.keep_s, listener.seat.keep_s)

    def remove(self, listener: Listener) -> None:
        """Let one go; nothing happens when it is not here."""
        if listener in self._here:
            self._here.remove(listener)
            self.live -= listener.live
            self.framed -= listener.seat.framed

    def clear(self) -> tuple[Listener, ...]:
        """Let all go, and give them."""
        given, self._here, self.live, self.framed = tuple(self._here), [], 0, 0
        return given

    def arrives(self, listener: Listener) -> None:
        """Count one that is told what was said so far."""
        self._arriving.append(listener)

    def arrived(self, listener: Listener) -> None:
        """Count it no more: it has joined the others, or is told all."""
        self._arriving.remove(listener)

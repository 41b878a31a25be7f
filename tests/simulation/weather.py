"""The streams of the simulated server in bad weather: it falls silent, and loses answers; all that is kept is witnessed."""

from __future__ import annotations

from collections.abc import Callable

from common.bus import Delivery
from common.bus.memory_store import MemoryStream
from common.bus.memory_streams import MemoryStreams
from common.bus.streams import Kept
from tests.simulation.network import QuickBroker
from tests.simulation.queue_ledger import QueueLedger

Watch = Callable[[Delivery], None]


class Weather(MemoryStreams):
    """The twin, in bad weather."""

    def __init__(self, broker: QuickBroker, ledger: QueueLedger) -> None:
        super().__init__(broker)
        self.mute = False
        """It hears nothing and says nothing, and nobody is told."""
        self.lose_next = 0
        """So many of its next answers are lost: what was asked for has happened."""
        self.watches: list[Watch] = []
        """Called with all that it has heard, when that has had its effect."""
        self._ledger = ledger
        ledger.streams = self.streams

    def hear(self, handler: Callable[[Delivery], None], delivery: Delivery) -> None:
        """Take in what was sent, or not."""
        if self.mute:
            return
        handler(delivery)
        for watch in tuple(self.watches):
            watch(delivery)

    def say(self, delivery: Delivery, to: str) -> None:
        """Send, or not."""
        if self.mute:
            return
        if self.lose_next and not delivery.reply:
            self.lose_next -= 1
            return
        super().say(delivery, to)

    def stored(self, stream: MemoryStream, kept: Kept) -> None:
        """Tell the ledger."""
        self._ledger.stored(stream.name, kept)

    def removed(self, stream: MemoryStream, kept: Kept) -> None:
        """Tell the ledger."""
        self._ledger.removed(stream.name, kept)

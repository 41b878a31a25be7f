"""What a device is to the world: something that lives, is stopped, is cut off; how it treats its jobs is its own affair."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from common.bus.memory import MemoryBroker
from common.subjects import Subjects
from tests.simulation.ledger import Ledger
from tests.simulation.moods import MOODS, Mood
from tests.simulation.network import Wire

MODEL = "llama3.2:1b"
RARE_MODEL = "qwen3:8b"


def models_of(name: str) -> list[str]:
    """Give the models that a device has on disk."""
    return [MODEL, RARE_MODEL] if name == "ant" else [MODEL]


class Node(ABC):
    """One device, through all its lives."""

    def __init__(
        self,
        broker: MemoryBroker,
        subjects: Subjects,
        ledger: Ledger,
        name: str,
        *,
        slots: int,
        continues: bool,
    ) -> None:
        self.name = name
        self.slots = slots
        self.continues = continues
        self.mood: Mood = MOODS[0]
        self.alive = False
        self.stopped = False
        self.cut = False
        self.draining = False
        self.faulty = False
        self.delay_s = 0.0
        self.last_beat = b""
        self.wire: Wire
        self.ledger = ledger
        self._broker = broker
        self._subjects = subjects

    @abstractmethod
    async def start(self, group: asyncio.TaskGroup) -> None:
        """Begin a new life; its tasks, if it has any, belong to the group."""

    def reborn(self, wire: Wire) -> None:
        """Forget the life before."""
        self.alive, self.stopped, self.cut, self.draining, self.faulty = True, False, False, False, False
        self.wire = wire
        wire.up.delay_s = wire.down.delay_s = self.delay_s
        wire.up.dropped = wire.down.dropped = self.disturb

    def kill(self) -> None:
        """Die, as by SIGKILL: the server knows at once."""
        self.alive = False
        self.disturb()
        self.wire.close()

    def stop(self) -> None:
        """Freeze, as by SIGSTOP: messages wait in both directions."""
        self.stopped = True
        self.disturb()
        self.wire.up.hold()
        self.wire.down.hold()

    def go_on(self) -> None:
        """Thaw."""
        self.stopped = False
        self.wire.up.release()
        self.wire.down.release()

    def sever(self, *, up: bool, down: bool) -> None:
        """Swallow what passes, and tell nobody."""
        self.cut = True
        self.disturb()
        self.wire.up.cut, self.wire.down.cut = up, down

    def join(self) -> None:
        """End that."""
        self.cut = self.wire.up.cut = self.wire.down.cut = False

    def disturb(self) -> None:
        """Note that what runs here now may not be reached by a cancel in time."""
        for execution in self.ledger.executions.values():
            if execution.device == self.name:
                execution.disturbed = True

    def drain(self, *, on: bool) -> None:
        """Take no new jobs, or take them again."""
        self.draining = on

    def fault(self, *, on: bool) -> None:
        """Lose the backend, or find it again."""
        self.faulty = on

    def mend(self) -> None:
        """Work as it should from now on."""
        self.drain(on=False)
        self.fault(on=False)
        self.join()
        if self.stopped:
            self.go_on()
        self.mood = MOODS[0]

"""What a run consists of: a layout and a list of actions, read from bytes; a seed stands for the bytes that it draws.

Any bytes are a schedule, zeros are its tamest part, and each action has its own four: so Hypothesis can draw, cut and shrink them,
and whoever gets the hexadecimal digits can run the very same.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

HEADER = 4
STEP = 4

PAUSES_S = (0.0, 0.0, 0.005, 0.02, 0.02, 0.1, 0.1, 0.25, 0.25, 0.6, 0.6, 1.1, 2.2)
DELAYS_S = (0.0, 0.0, 0.0, 0.001, 0.01, 0.06)
MOST_ACTIONS = 24


class Kind(StrEnum):
    """What may happen."""

    WAIT = "wait"
    SUBMIT = "submit"
    CANCEL = "cancel"
    HANG_UP = "hang_up"
    RESUBMIT = "resubmit"
    COME_BACK = "come_back"
    STATUS = "status"
    MOOD = "mood"
    KILL = "kill"
    RESTART = "restart"
    STOP = "stop"
    CONTINUE = "continue"
    CUT = "cut"
    CUT_ONE_WAY = "cut_one_way"
    HEAL = "heal"
    DELAY = "delay"
    DROP = "drop"
    REPEAT = "repeat"
    DRAIN = "drain"
    FAULTY = "faulty"
    DISPATCHER_STOP = "dispatcher_stop"
    DISPATCHER_KILL = "dispatcher_kill"
    DISPATCHER_OFFLINE = "dispatcher_offline"
    DISPATCHER_START = "dispatcher_start"
    REPLAY_BEAT = "replay_beat"
    QUEUE = "queue"
    QUEUE_AGAIN = "queue_again"
    QUEUE_RAW = "queue_raw"
    QUEUE_CANCEL = "queue_cancel"
    AMBUSH = "ambush"
    DISPATCHER_FREEZE = "dispatcher_freeze"
    STREAMS_MUTE = "streams_mute"
    STREAMS_LOSE = "streams_lose"
    STREAMS_CRASH = "streams_crash"


_WEIGHTS = {
    Kind.WAIT: 5,
    Kind.SUBMIT: 44,
    Kind.CANCEL: 9,
    Kind.HANG_UP: 3,
    Kind.RESUBMIT: 4,
    Kind.STATUS: 1,
    Kind.MOOD: 26,
    Kind.KILL: 5,
    Kind.RESTART: 8,
    Kind.STOP: 6,
    Kind.CONTINUE: 9,
    Kind.CUT: 3,
    Kind.CUT_ONE_WAY: 3,
    Kind.HEAL: 9,
    Kind.DELAY: 4,
    Kind.DROP: 4,
    Kind.REPEAT: 4,
    Kind.DRAIN: 2,
    Kind.FAULTY: 2,
    Kind.DISPATCHER_STOP: 1,
    Kind.DISPATCHER_KILL: 1,
    Kind.DISPATCHER_OFFLINE: 2,
    Kind.DISPATCHER_START: 6,
    Kind.REPLAY_BEAT: 2,
}
_QUEUE_WEIGHTS = {
    Kind.WAIT: 8,
    Kind.SUBMIT: 14,
    Kind.COME_BACK: 14,
    Kind.MOOD: 22,
    Kind.KILL: 3,
    Kind.RESTART: 7,
    Kind.STOP: 2,
    Kind.CONTINUE: 5,
    Kind.HEAL: 3,
    Kind.CUT: 2,
    Kind.DELAY: 4,
    Kind.DROP: 2,
    Kind.DISPATCHER_STOP: 3,
    Kind.DISPATCHER_KILL: 4,
    Kind.DISPATCHER_OFFLINE: 3,
    Kind.DISPATCHER_START: 14,
    Kind.QUEUE: 46,
    Kind.QUEUE_AGAIN: 8,
    Kind.QUEUE_RAW: 7,
    Kind.QUEUE_CANCEL: 12,
    Kind.AMBUSH: 12,
    Kind.DISPATCHER_FREEZE: 6,
    Kind.STREAMS_MUTE: 4,
    Kind.STREAMS_LOSE: 6,
    Kind.STREAMS_CRASH: 4,
}
"""Where there is a durable queue."""


def _spread(weights: Mapping[Kind, int]) -> tuple[Kind, ...]:
    return tuple(kind for kind, weight in weights.items() for _ in range(weight))


_KINDS = _spread(_WEIGHTS)
_QUEUE_KINDS = _spread(_QUEUE_WEIGHTS)


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that happens, after a pause. `who` and `how` are read by whoever acts."""

    pause_s: float
    kind: Kind
    who: int
    how: int

    def __str__(self) -> str:
        return f"{self.kind} who={self.who} how={self.how}"


@dataclass(frozen=True, slots=True)
class Layout:
    """The world at the start."""

    seed: int
    dispatchers: int
    devices: int
    slots: tuple[int, ...]
    delays_s: tuple[float, ...]
    """Of the dispatchers, then of the devices."""
    durable: bool
    """The server keeps streams, and there are durable jobs; two dispatchers are as likely as one."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A run, as bytes."""

    data: bytes

    @classmethod
    def of_seed(cls, seed: int) -> Schedule:
        """Draw one; the same seed gives the same, on every machine."""
        rng = random.Random(seed)
        return cls(rng.randbytes(HEADER + STEP * rng.randint(4, MOST_ACTIONS)))

    @classmethod
    def durable(cls, *actions: tuple[Kind, int], pause_s: float = 0.1) -> Schedule:
        """Spell one out for one dispatcher, one device and a queue: what happens, and how, each after a pause of `PAUSES_S`."""
        pause = PAUSES_S.index(pause_s)
        codes = {kind: -(-_QUEUE_KINDS.index(kind) * 256 // len(_QUEUE_KINDS)) for kind in _QUEUE_WEIGHTS}
        return cls(bytes((0, 0, 28, 0)) + b"".join(bytes((codes[kind], 0, how, pause)) for kind, how in actions))

    @property
    def layout(self) -> Layout:
        """Read the head."""
        head = self.data[:HEADER].ljust(HEADER, b"\0")
        rng = random.Random(head[0])
        devices = (1, 2, 3, 3)[head[1] % 4]
        durable = head[2] // 4 % 8 == 7
        return Layout(
            seed=head[0],
            durable=durable,
            dispatchers=1 + (head[2] % 4 >= (2 if durable else 3)),
            devices=devices,
            slots=tuple(1 + (head[1] >> (3 + n)) % 2 for n in range(devices)),
            delays_s=tuple(rng.choice(DELAYS_S) if head[3] % 4 else 0.0 for _ in range(2 + devices)),
        )

    @property
    def actions(self) -> list[Action]:
        """Read the rest; what is left of an action at the end counts for nothing."""
        body = self.data[HEADER:]
        steps = [body[at : at + STEP] for at in range(0, len(body) - STEP + 1, STEP)][:MOST_ACTIONS]
        kinds = _QUEUE_KINDS if self.layout.durable else _KINDS
        return [
            Action(PAUSES_S[pause % len(PAUSES_S)], kinds[kind * len(kinds) // 256], who, how)
            for kind, who, how, pause in steps
        ]

    def without(self, first: int, last: int) -> Schedule:
        """Give the schedule without some of its actions."""
        return Schedule(self.data[: HEADER + STEP * first] + self.data[HEADER + STEP * last :])

    def tamed(self, index: int, at: int) -> Schedule:
        """Give the schedule with one byte of one action, or of the head (`index` -1), at zero."""
        place = at if index < 0 else HEADER + STEP * index + at
        return Schedule(self.data[:place] + b"\0" + self.data[place + 1 :])

    @property
    def length(self) -> int:
        """Count the actions."""
        return max(0, len(self.data) - HEADER) // STEP

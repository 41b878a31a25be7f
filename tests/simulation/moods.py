"""How a device treats the jobs that it gets, as values: from a plain answer to every way of not giving one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Door(StrEnum):
    """What happens to a dispatch."""

    OPEN = "open"
    DEAF = "deaf"  # not even a refusal
    BUSY = "busy"
    LATE = "late"  # accepted when nobody believes in it any more
    NO_MODEL = "no_model"
    BAD_REQUEST = "bad_request"


class Ending(StrEnum):
    """How an answer stops."""

    END = "end"
    HANG = "hang"  # keep-alives for ever: the agent lives, its backend does not
    MUTE = "mute"  # nothing at all
    BROKEN = "broken"
    CLOSED = "closed"  # the stream ends without an end frame
    GAP = "gap"
    MISCOUNT = "miscount"
    GARBAGE = "garbage"
    CHATTER = "chatter"  # goes on after its own end
    FULL = "full"  # the backend's own queue is full
    NOT_LOADABLE = "not_loadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """One way of treating jobs; seconds are virtual."""

    name: str
    door: Door = Door.OPEN
    load_s: float = 0.0
    first_s: float = 0.02
    tokens: int = 3
    gap_s: float = 0.05
    ending: Ending = Ending.END


MOODS = (
    Mood(name="plain"),
    Mood(name="at once", first_s=0.0, gap_s=0.0),
    Mood(name="one word", tokens=1, first_s=0.3),
    Mood(name="long", tokens=14, gap_s=0.15),
    Mood(name="slow first token", first_s=1.4),
    Mood(name="slow tokens", tokens=4, gap_s=1.2),
    Mood(name="loads", load_s=2.2),
    Mood(name="empty answer", tokens=0),
    Mood(name="loads for ever", load_s=1e6),
    Mood(name="prefill for ever", first_s=1e6),
    Mood(name="deaf", door=Door.DEAF),
    Mood(name="busy", door=Door.BUSY),
    Mood(name="accepts late", door=Door.LATE),
    Mood(name="lost the model", door=Door.NO_MODEL),
    Mood(name="refuses the request", door=Door.BAD_REQUEST),
    Mood(name="hangs in the middle", tokens=2, ending=Ending.HANG),
    Mood(name="mute after the first token", tokens=1, ending=Ending.MUTE),
    Mood(name="mute after the ack", tokens=0, ending=Ending.MUTE),
    Mood(name="fails at once", tokens=0, first_s=0.0, ending=Ending.BROKEN),
    Mood(name="fails in the middle", tokens=2, ending=Ending.BROKEN),
    Mood(name="text and failure together", tokens=2, first_s=0.0, gap_s=0.0, ending=Ending.BROKEN),
    Mood(name="closes the stream", tokens=2, ending=Ending.CLOSED),
    Mood(name="skips a number", tokens=2, ending=Ending.GAP),
    Mood(name="miscounts", tokens=2, ending=Ending.MISCOUNT),
    Mood(name="sends garbage", tokens=1, ending=Ending.GARBAGE),
    Mood(name="chatters on", tokens=2, ending=Ending.CHATTER),
    Mood(name="backend full", tokens=0, first_s=0.0, ending=Ending.FULL),
    Mood(name="cannot load", tokens=0, first_s=0.0, ending=Ending.NOT_LOADABLE),
    # Once more what begins well: an answer is continued elsewhere only when it has begun.
    Mood(name="long", tokens=14, gap_s=0.15),
    Mood(name="very long", tokens=9, gap_s=0.6),
    Mood(name="hangs in the middle", tokens=4, ending=Ending.HANG),
    Mood(name="mute in the middle", tokens=3, ending=Ending.MUTE),
    Mood(name="fails after a while", tokens=6, gap_s=0.3, ending=Ending.BROKEN),
    Mood(name="closes after a while", tokens=5, gap_s=0.3, ending=Ending.CLOSED),
)

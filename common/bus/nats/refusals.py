"""What a server says when a user may not publish or hear somewhere, and who waits for an answer to it; it opens no connection.

The server names the subject and nothing else, and the vendor's client writes it in small letters. Whoever has published there with
a reply subject waits for an answer that can't come: it is told there, as the server itself tells that nobody listens.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from common.bus import REFUSED, Delivery

_SAID = re.compile(
    r'permissions violation for (publish|subscription)(?: with reply of)?(?: to)? "([^"]*)"', re.IGNORECASE
)

MOST_ASKED = 1024
"""Publications with a reply subject that a refusal can still be told of: the server's word takes one round trip."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One such word. `subject` is in small letters."""

    publishing: bool
    subject: str


def read_refusal(error: Exception) -> Refusal | None:
    """Read what the vendor hands on; None when it says something else."""
    found = _SAID.search(str(error))
    return None if found is None else Refusal(found[1].lower() == "publish", found[2].lower())


class Asked:
    """The reply subjects of what was published last."""

    def __init__(self) -> None:
        self._asked: deque[tuple[str, str]] = deque(maxlen=MOST_ASKED)

    def note(self, subject: str, reply: str) -> None:
        """Remember where an answer is awaited."""
        self._asked.append((subject, reply))

    def reply(self, subject: str) -> str:
        """Give the oldest reply subject for what was refused, once; empty when there is none."""
        for pair in self._asked:
            if pair[0].lower() == subject:
                self._asked.remove(pair)
                return pair[1]
        return ""

    def clear(self) -> None:
        """Forget them: the connection is lost, and who waits is told of that."""
        self._asked.clear()


def answer(reply: str, why: str) -> Delivery:
    """Give the bus's own answer to what was refused."""
    return Delivery(reply, b"", "", {"Status": REFUSED, "Description": why})


def hears(pattern: str, subject: str) -> bool:
    """Tell whether a subscription to `pattern` gets what is published on `subject`."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for number, one in enumerate(wanted):
        if one == ">":
            return len(tokens) > number
        if number >= len(tokens) or one not in {"*", tokens[number]}:
            return False
    return len(wanted) == len(tokens)

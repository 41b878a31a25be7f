"""Tells a kept answer as if it were made now: at once, or at the speed of a reader."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from common.clock import loop_s
from dispatcher.delivery.sink import AnswerSink

PIECE_CHARS = 24
"""Some words at a time, as devices tell them."""

SHARE = 0.5
"""Of the time that is left to the deadline: a slow reader must not lose an answer that is there."""


async def replay(out: AnswerSink, text: str, *, chars_s: float, deadline_s: float) -> None:
    """Tell a text; `chars_s` is in characters a second, and 0, or that nobody watches, is at once."""
    if chars_s <= 0 or not out.streams:
        await out.token(text)
        return
    began_s = loop_s()
    speed = max(chars_s, len(text) / max(1e-3, SHARE * (deadline_s - began_s)))
    told = 0
    for piece in pieces(text):
        await out.token(piece)
        told += len(piece)
        if told < len(text):
            await asyncio.sleep(began_s + told / speed - loop_s())


def pieces(text: str) -> Iterator[str]:
    """Cut a text between words; together they are the text."""
    piece = ""
    for word in re.findall(r"\s*\S{1,200}|\s+", text):
        piece += word
        if len(piece) >= PIECE_CHARS:
            yield piece
            piece = ""
    if piece:
        yield piece

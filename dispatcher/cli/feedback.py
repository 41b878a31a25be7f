"""`drover feedback`: says how an answer was; what follows from it is not known here."""

from __future__ import annotations

import sys
from typing import Any

from common.errors import BadRequest
from dispatcher.cli import running
from dispatcher.cli.connect import open_producer, shell_settings

THUMBS = frozenset({"up", "down"})


def said(rating: str, reason: str | None) -> dict[str, Any]:
    """Give what the command line says as the fleet hears it. Raises `BadRequest` for what is neither a thumb nor a score."""
    words: dict[str, Any] = {"rating": rating} if rating in THUMBS else {"score": _score(rating)}
    return words if reason is None else {**words, "reason": reason}


async def feedback(job: str, words: dict[str, Any], *, tenant: str | None = None) -> int:
    """Say it, and print what becomes of it. Raises the errors of `Drover.rate`."""
    async with open_producer(shell_settings(), tenant=tenant) as drover:
        told = await drover.rate(job, words)
    if told["counted"]:
        sys.stdout.write(f"{job} rated {words.get('rating', words.get('score'))}\n")
    else:
        running.say(f"job {job}: nothing is learned from it: {told.get('why') or _why(told)}")
    return 0


def _why(told: dict[str, Any]) -> str:
    return "feedback is off (DROVER_FEEDBACK)" if told.get("mode") == "off" else "it was rated before"


def _score(rating: str) -> float:
    try:
        score = float(rating)
    except ValueError:
        score = -1.0
    if not 0.0 <= score <= 1.0:
        raise BadRequest(f"{rating[:40]!r} is no rating: say up, down, or a score from 0 to 1", param="rating")
    return score

"""What a job has taken of its devices, from what its attempts told or are held to have taken. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from common.energy import Energy, lost, total
from dispatcher.outcomes import Attempt, Delivered
from dispatcher.tariff import Rate, priced

OK = "ok"
CACHED = Energy(measured=True, source="cache", uncertainty=0.0)
"""An answer that no device gives now takes nothing of one; what looking it up took of the dispatcher is not counted."""


def taken(delivered: Delivered, rate: Rate) -> Energy | None:
    """Add up all attempts, those that came to nothing apart, and price them; None where no attempt ran on a device of ours."""
    if delivered.cached is not None and delivered.cached.hit:
        return priced(replace(CACHED, tokens=delivered.answer_usage.completion_tokens), rate)
    given = _given(delivered.attempts) if delivered.end is not None else frozenset()
    parts = [
        one.energy if place in given else lost(one.energy)
        for place, one in enumerate(delivered.attempts)
        if one.energy is not None
    ]
    spent = total(parts)
    if spent is None:
        return None
    return priced(replace(spent, tokens=delivered.answer_usage.completion_tokens), rate)


def _given(attempts: Sequence[Attempt]) -> frozenset[int]:
    """Give the places of those whose text is in the answer: the last that ended well, and those whose text it went on with. One
    that ended well before that is a weak answer that nobody saw."""
    last = max((place for place, one in enumerate(attempts) if one.outcome == OK), default=None)
    given: set[int] = set()
    while last is not None:
        given.add(last)
        last = _begun_by(attempts, last) if attempts[last].continues else None
    return frozenset(given)


def _begun_by(attempts: Sequence[Attempt], place: int) -> int | None:
    """Give the place of the attempt whose text another one went on with: the last before it that had any."""
    before = (at for at in range(place - 1, -1, -1) if attempts[at].first_token_s is not None)
    return next((at for at in before if attempts[at].outcome != OK), None)

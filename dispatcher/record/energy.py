"""What a job has taken of its devices, from what its attempts told or are held to have taken; worked out once, for all that tell
of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from common.energy import Energy, lost, parted, total
from dispatcher.outcomes import Attempt, Delivered
from dispatcher.tariff import Rate, priced

OK = "ok"
CACHED = Energy(measured=True, source="cache", uncertainty=0.0)
"""An answer that no device gives now takes nothing of one; what looking it up took of the dispatcher is not counted."""


def accounted(delivered: Delivered, rate: Rate) -> Delivered:
    """Give how it went with what it took: in all, priced, in its end, and in each attempt its part of it.

    All of an attempt whose text nobody was given is lost; the others have the answer's tokens. Whoever accounts again, because the
    answer could not be sent after all, gets what holds then.
    """
    tokens = delivered.answer_usage.completion_tokens
    hit = delivered.cached is not None and delivered.cached.hit
    given = _given(delivered.attempts) if delivered.end is not None else ()
    attempts = tuple(_parts(delivered.attempts, given, tokens))
    spent = CACHED if hit else total(one.energy for one in attempts if one.energy is not None)
    if spent is not None:
        spent = priced(parted(spent, lost_joules=spent.lost_joules, tokens=tokens), rate)
    end = None if delivered.end is None else replace(delivered.end, energy=spent)
    return replace(delivered, attempts=attempts, end=end, energy=spent)


def _parts(attempts: Sequence[Attempt], given: Sequence[int], tokens: int) -> Iterator[Attempt]:
    """Tell of each what of its energy was lost, and which of the answer's tokens it wrote: who began the answer has those that its
    device counted, and who ended it has the rest."""
    left = tokens
    for place, one in enumerate(attempts):
        if one.energy is None:
            yield one
        elif place not in given:
            yield replace(one, energy=lost(one.energy))
        else:
            wrote = left if place == max(given) else min(left, one.energy.tokens)
            left -= wrote
            energy = parted(one.energy, lost_joules=0.0, tokens=wrote)
            yield one if energy is one.energy else replace(one, energy=energy)


def _given(attempts: Sequence[Attempt]) -> tuple[int, ...]:
    """Give the places of those whose text is in the answer: the last that ended well, and those whose text it went on with. One
    that ended well before that is a weak answer that nobody saw."""
    last = max((place for place, one in enumerate(attempts) if one.outcome == OK), default=None)
    given: list[int] = []
    while last is not None:
        given.append(last)
        last = _begun_by(attempts, last) if attempts[last].continues else None
    return tuple(given)


def _begun_by(attempts: Sequence[Attempt], place: int) -> int | None:
    """Give the place of the attempt whose text another one went on with: the last before it that had any."""
    before = (at for at in range(place - 1, -1, -1) if attempts[at].first_token_s is not None)
    return next((at for at in before if attempts[at].outcome != OK), None)

"""Adds up what was said of answers: who won over whom, how often, and how sure that is. Pure; it knows no table."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from common.votes import MOST_CONTENDERS, Contender, Contest, Pair, Place, Votes

Z95 = 1.959963984540054
"""Standard errors on both sides that hold 95 % of a normal distribution."""

HALF = 0.5


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of a vote, or of a thumb: then `place` is absent. `contender` is absent where nothing is known of it, as of an
    answer from the cache."""

    group: tuple[str, str]
    contender: str | None
    place: Place | None
    score: float


@dataclass(slots=True)
class _Sum:
    votes: int = 0
    wins: int = 0
    losses: int = 0
    ties: int = 0
    up: int = 0
    down: int = 0
    decided: int = 0
    """Votes in which it won or lost."""


@dataclass(slots=True)
class _Tally:
    sums: defaultdict[str, _Sum] = field(default_factory=lambda: defaultdict(_Sum))
    pairs: defaultdict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    votes: int = 0
    thumbs: int = 0


def tally(said: Iterable[Said], by: Contest, *, more: bool = False) -> Votes:
    """Add up what was said; `more` passes on that there was more of it."""
    found, groups = _Tally(), defaultdict[tuple[str, str], list[Said]](list)
    for one in said:
        if one.place is None:
            _thumb(found, one)
        else:
            groups[one.group].append(one)
    for group in groups.values():
        _vote(found, group)
    order = sorted(found.sums, key=lambda key: (-found.sums[key].votes, -_thumbs(found.sums[key]), key))
    shown = set(order[:MOST_CONTENDERS])
    return Votes(
        by=by,
        contenders=tuple(_contender(key, found.sums[key]) for key in order[:MOST_CONTENDERS]),
        pairs=tuple(
            Pair(one=one, other=other, wins=wins, losses=losses, ties=ties)
            for (one, other), (wins, losses, ties) in sorted(found.pairs.items())
            if {one, other} <= shown
        ),
        votes=found.votes,
        thumbs=found.thumbs,
        more=more or len(order) > MOST_CONTENDERS,
    )


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """Give the 95 % score interval of a share (Wilson 1927): it stays within 0 and 1, and is honest for few trials."""
    share, square = successes / trials, Z95**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    reach = Z95 / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _thumb(found: _Tally, one: Said) -> None:
    found.thumbs += 1
    if one.contender is not None:
        found.sums[one.contender].up += one.score > HALF
        found.sums[one.contender].down += one.score < HALF


def _vote(found: _Tally, group: Sequence[Said]) -> None:
    """Count a vote between those contenders that differ. One that both won and lost, as it gave two of the answers, won."""
    places = dict[str, Place]()
    for one in group:
        if one.contender is not None and one.place is not None and places.get(one.contender) is not Place.WON:
            places[one.contender] = one.place
    outcomes = list(_outcomes(places))
    if not outcomes:
        return
    found.votes += 1
    for key, place in places.items():
        found.sums[key].votes += 1
        found.sums[key].decided += place is not Place.TIED
    for first, second, sign in outcomes:
        _count(found, first, second, sign)


def _outcomes(places: dict[str, Place]) -> Iterator[tuple[str, str, int]]:
    """Give pairs in the order of their names, with 1 where the first won, -1 where it lost, and 0 for a tie. Between two that lost
    to a third nothing was decided."""
    for one, other in combinations(sorted(places), 2):
        match places[one], places[other]:
            case Place.WON, _:
                yield one, other, 1
            case _, Place.WON:
                yield one, other, -1
            case Place.TIED, Place.TIED:
                yield one, other, 0


def _count(found: _Tally, one: str, other: str, sign: int) -> None:
    first, second = found.sums[one], found.sums[other]
    if sign == 0:
        first.ties += 1
        second.ties += 1
    else:
        winner, loser = (first, second) if sign > 0 else (second, first)
        winner.wins += 1
        loser.losses += 1
    found.pairs[one, other][{1: 0, -1: 1, 0: 2}[sign]] += 1


def _contender(key: str, one: _Sum) -> Contender:
    counts = Contender(
        key=key, votes=one.votes, wins=one.wins, losses=one.losses, ties=one.ties, up=one.up, down=one.down
    )
    played = one.wins + one.losses
    if not played:
        return counts
    share = one.wins / played
    low, high = wilson(share * one.decided, one.decided)
    return Contender(
        key=key, votes=one.votes, wins=one.wins, losses=one.losses, ties=one.ties, up=one.up, down=one.down,
        win_share=share, win_share_low=low, win_share_high=high,
    )  # fmt: skip


def _thumbs(one: _Sum) -> int:
    return one.up + one.down

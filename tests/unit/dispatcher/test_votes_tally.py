"""What votes and thumbs add up to, by hand; and the interval against figures that others have published."""

from __future__ import annotations

import pytest

from common.votes import MOST_CONTENDERS, Contest, Pair, Place
from dispatcher.ledger.votes.tally import Said, tally, wilson

WON, LOST, TIED = Place.WON, Place.LOST, Place.TIED


def vote(name: str, **places: Place) -> list[Said]:
    return [Said(("ann", name), key, place, 0.0) for key, place in places.items()]


def thumb(key: str | None, score: float) -> Said:
    return Said(("ann", ""), key, None, score)


@pytest.mark.parametrize(
    ("wins", "of", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0000),
    ],
)
def test_the_interval_is_wilsons(wins: int, of: int, low: float, high: float) -> None:
    """To the four digits that are published."""
    assert (low, high) == tuple(round(one, 4) for one in wilson(wins, of))


def test_a_vote_is_won_over_each_of_the_others() -> None:
    """nano beats orin twice and pi once; orin beats nano once, and pi and orin never met but as losers."""
    said = [*vote("a", nano=WON, orin=LOST, pi=LOST), *vote("b", nano=WON, orin=LOST), *vote("c", nano=LOST, orin=WON)]
    found = tally(said, Contest.DEVICE)
    nano, orin, pi = found.contenders

    assert ("nano", 3, 3, 1, 0) == (nano.key, nano.votes, nano.wins, nano.losses, nano.ties)
    assert ("orin", 3, 1, 2) == (orin.key, orin.votes, orin.wins, orin.losses)
    assert ("pi", 1, 0, 1) == (pi.key, pi.votes, pi.wins, pi.losses)
    assert (Pair(one="nano", other="orin", wins=2, losses=1), Pair(one="nano", other="pi", wins=1)) == found.pairs
    assert 3 == found.votes


def test_one_vote_over_many_is_one_fact() -> None:
    """The share is that of pairs, three of three; the interval is that of one vote, which says next to nothing."""
    won, *_ = tally(vote("a", nano=WON, orin=LOST, pi=LOST, shed=LOST), Contest.DEVICE).contenders

    assert (3, 1.0, *wilson(1, 1)) == (won.wins, won.win_share, won.win_share_low, won.win_share_high)


def test_ties_decide_nothing() -> None:
    """They are counted, and neither a share nor an interval comes of them alone."""
    found = tally(vote("a", nano=TIED, orin=TIED), Contest.DEVICE)

    assert [("nano", 1, 1, None), ("orin", 1, 1, None)] == [
        (one.key, one.votes, one.ties, one.win_share) for one in found.contenders
    ]
    assert (Pair(one="nano", other="orin", ties=1),) == found.pairs


def test_a_vote_among_answers_of_one_is_none() -> None:
    """By model, two devices with the same one are no contest; and one that gave the best answer and another one won."""
    same = [Said(("ann", "a"), "llama", WON, 1.0), Said(("ann", "a"), "llama", LOST, 0.0)]
    both = [Said(("ann", "b"), key, place, 0.0) for key, place in (("llama", LOST), ("llama", WON), ("qwen", LOST))]

    assert (0, ()) == (tally(same, Contest.MODEL).votes, tally(same, Contest.MODEL).contenders)
    assert (Pair(one="llama", other="qwen", wins=1),) == tally(both, Contest.MODEL).pairs


def test_what_no_device_answered_is_nobodys() -> None:
    """An answer from the cache: the others are still compared, and its thumbs are counted in all."""
    said = [Said(("ann", "a"), None, WON, 1.0), *vote("a", nano=LOST, orin=LOST), thumb(None, 1.0)]
    found = tally(said, Contest.DEVICE)

    assert (0, 1, ()) == (found.votes, found.thumbs, found.contenders)


def test_thumbs_stand_beside_votes() -> None:
    """Above a half is up and below is down; a half is neither."""
    found = tally([*(thumb("nano", score) for score in (1.0, 0.7, 0.5, 0.2)), thumb("pi", 0.0)], Contest.DEVICE)

    assert [("nano", 2, 1), ("pi", 0, 1)] == [(one.key, one.up, one.down) for one in found.contenders]
    assert (5, 0) == (found.thumbs, found.votes)


def test_two_voters_on_the_same_jobs_are_two_votes() -> None:
    """An administrator may judge what somebody else asked."""
    other = [Said(("bob", one.group[1]), one.contender, one.place, one.score) for one in vote("a", nano=LOST, orin=WON)]
    found = tally([*vote("a", nano=WON, orin=LOST), *other], Contest.DEVICE)

    assert (2, (Pair(one="nano", other="orin", wins=1, losses=1),)) == (found.votes, found.pairs)


def test_contenders_are_bounded_and_it_is_told() -> None:
    """With them the pairs, whose number is theirs squared."""
    said = [one for at in range(MOST_CONTENDERS) for one in vote(str(at), nano=WON, **{f"d{at:03}": LOST})]
    found = tally(said, Contest.DEVICE)

    assert (MOST_CONTENDERS, MOST_CONTENDERS - 1, True) == (len(found.contenders), len(found.pairs), found.more)
    assert "nano" == found.contenders[0].key

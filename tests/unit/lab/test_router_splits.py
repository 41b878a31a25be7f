"""Splits never leak."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.lab.router.splits import WHOLE, alike, domain_folds, fingerprints, folds, groups, holdout

prompts = st.lists(
    st.sampled_from([f"{head * 120} question {tail}" for head in "abcdefgh" for tail in range(3)]), min_size=4
)
seeds = st.integers(0, 1000)


def _shared(group: np.ndarray, train: np.ndarray, test: np.ndarray) -> set[int]:
    return set(group[train].tolist()) & set(group[test].tolist())


def test_prompts_that_begin_alike_are_one_group() -> None:
    """A passage with two questions is one group; spaces and case are no difference."""
    passage = (
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness."
    )

    assert groups([f"{passage} Who?", f"{passage.upper()}  When?", "Another."]).tolist() == [0, 0, 1]


def test_copies_alone_are_a_group_by_the_whole_text() -> None:
    """For passages that are meant to be on both sides; a copy never is."""
    passage = "x" * 200

    assert groups([f"{passage} Who?", f"{passage} When?", f"{passage} who? "], WHOLE).tolist() == [0, 1, 0]


def test_a_copy_has_the_same_fingerprint() -> None:
    """Spaces and case are no difference, another word is; and none is the text."""
    one, again, other = fingerprints(["How many  hats?", "how many hats? ", "How many boats?"]).tolist()

    assert (one == again, one == other) == (True, False)


def test_what_over_half_begin_with_is_no_passage() -> None:
    """An instruction before every question says nothing of what belongs together: copies do. A passage of two questions does."""
    said = "Answer the following question as briefly as you can, and show how you came to what you say, step by step, please: "
    asked = [f"{said}What is {number} times 7?" for number in range(6)]

    assert alike([*asked, "Hello?"])[1] is False
    assert alike([*asked, asked[0]])[0].tolist() == [0, 1, 2, 3, 4, 5, 0]
    assert alike([*asked[:2], "Who?", "When?"])[0].tolist() == [0, 0, 1, 2]


@given(prompts, st.integers(2, 5), seeds)
def test_folds_share_no_group(texts: list[str], count: int, seed: int) -> None:
    """What is tested was not trained on, nor anything that begins like it."""
    group = groups(texts)

    assert [shared for split in folds(group, count, seed) if (shared := _shared(group, *split))] == []


@given(prompts, st.integers(2, 5), seeds)
def test_each_row_is_tested_once(texts: list[str], count: int, seed: int) -> None:
    """The test parts of all folds are the whole."""
    tested = np.concatenate([test for _, test in folds(groups(texts), count, seed)])

    assert sorted(tested.tolist()) == list(range(len(texts)))


@given(prompts, st.integers(1, 50), seeds)
def test_a_holdout_shares_no_group_and_keeps_to_its_size(texts: list[str], rows: int, seed: int) -> None:
    """Whole groups are trained on, no more rows than asked for."""
    group = groups(texts)
    train, test = holdout(group, rows, seed)

    assert (_shared(group, train, test), len(train) <= rows, len(train) + len(test)) == (set(), True, len(texts))


@given(st.lists(st.tuples(st.sampled_from("wxyz"), st.sampled_from("abcdefgh")), min_size=4), seeds)
def test_unseen_domains_are_unseen(rows: list[tuple[str, str]], seed: int) -> None:
    """Neither a domain nor a group of the test part stands in training."""
    domains = [domain for domain, _ in rows]
    group = groups([text * 100 for _, text in rows])
    for train, test in domain_folds(domains, group, 3, seed):
        seen = {domains[row] for row in train} & {domains[row] for row in test}

        assert (seen, _shared(group, train, test)) == (set(), set())


def test_the_same_seed_divides_alike() -> None:
    """Splits are seeded."""
    group = np.arange(50)
    first, again = (holdout(group, 20, 7)[0].tolist() for _ in range(2))

    assert first == again

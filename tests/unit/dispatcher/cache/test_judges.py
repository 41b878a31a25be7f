"""Which judge there is for an embedder, the verifier that is shipped, and files that can't be used."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from common.errors import ConfigError, WeightsError, WeightsMismatch
from dispatcher.cache.guard.near_features import NEIGHBOURS
from dispatcher.cache.guard.rules import RuleJudge
from dispatcher.cache.guard.together import Alike, judged, neighbours
from dispatcher.cache.guard.verifier import VerifierJudge
from dispatcher.cache.judges import SHIPPED_FILE, open_judge, trained
from dispatcher.cache.verifier_file import read_verifier, write_verifier
from dispatcher.embed import Bounds, EmbedderId, EmbeddingService, Tier, open_embedder
from dispatcher.embed.protocol import Embedder, Vectors
from dispatcher.embed.static import StaticEmbedder
from dispatcher.lab.cache.pairs_report import served
from dispatcher.lab.cache.verbs import swap_pairs

MOST_SERVED = 0.01
"""Of pairs in which one thing was exchanged: the project's own bound."""

LEAST_KEPT = 0.5
"""Of pairs that say the same in other words: a judge that refuses all would pass the other bound."""

STATIC = StaticEmbedder.open()


class Another:
    """An embedder that no verifier was trained with."""

    identity = EmbedderId(name="another", version="0", dimensions=256)

    def embed(self, texts: list[str]) -> Vectors:
        return STATIC.embed(texts)


def service(embedder: Embedder | None) -> EmbeddingService:
    return EmbeddingService(embedder, Bounds())


@pytest.fixture(scope="module")
def shipped() -> VerifierJudge:
    """The judge that a dispatcher has by default."""
    judge = open_judge("shipped", service(open_embedder(Tier.STATIC)), error_rate=0.01)
    assert isinstance(judge, VerifierJudge)
    return judge


def test_exchanged_pairs_are_not_served_by_default(shipped: VerifierJudge) -> None:
    """Negations, numbers, names, roles and others of the part that nothing was made with; those that are served are listed."""
    pairs = [pair for pair in swap_pairs() if pair.part == "test" and not pair.same]
    wrong = [f"{one.pair.asked} | {one.pair.kept}" for one in served(pairs, shipped, STATIC) if one.given]

    assert len(pairs) >= 300
    assert len(wrong) <= MOST_SERVED * len(pairs), wrong


def test_most_of_what_says_the_same_is_served(shipped: VerifierJudge) -> None:
    """Of the part that nothing was made with."""
    pairs = [pair for pair in swap_pairs() if pair.part == "test" and pair.same]

    assert sum(one.given for one in served(pairs, shipped, STATIC)) >= LEAST_KEPT * len(pairs)


def test_with_another_embedder_the_rules_judge() -> None:
    """What was learned from other cosines says nothing about these."""
    assert isinstance(open_judge("shipped", service(Another()), error_rate=0.01), RuleJudge)


@pytest.mark.parametrize("embedder", [STATIC, None])
def test_rules_judge_where_they_are_named_and_where_there_is_no_vector(embedder: Embedder | None) -> None:
    """Then nothing is read."""
    assert isinstance(open_judge("rules", service(embedder), error_rate=0.01), RuleJudge)


@pytest.mark.parametrize("rate", [0.0001, 0.4])
def test_an_error_rate_that_nothing_was_calibrated_to_is_refused(rate: float) -> None:
    """With the rates between which there is one."""
    with pytest.raises(ConfigError, match=r"DROVER_CACHE_ERROR_RATE.*between 0.002 and 0.1"):
        open_judge("shipped", service(STATIC), error_rate=rate)


def test_a_smaller_error_rate_serves_no_more(shipped: VerifierJudge) -> None:
    """What is given at 0.2 % is given at 1 % as well."""
    strict = open_judge("shipped", service(STATIC), error_rate=0.002)
    pairs = swap_pairs()
    loose = {one.pair for one in served(pairs, shipped, STATIC) if one.given}

    assert {one.pair for one in served(pairs, strict, STATIC) if one.given} <= loose


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A dispatcher that was given one must not go on with another."""
    with pytest.raises(WeightsError):
        open_judge(str(tmp_path / "none.npz"), service(STATIC), error_rate=0.01)


def test_a_verifier_is_bound_to_its_embedder(tmp_path: Path) -> None:
    """A copy of the shipped one, with another embedder in use."""
    with resources.as_file(resources.files("dispatcher.cache") / "data" / SHIPPED_FILE) as file:
        found, _ = read_verifier(file, embedder=str(STATIC.identity), words=str(STATIC.identity))
    copy = tmp_path / "verifier.npz"
    write_verifier(copy, found, embedder=str(STATIC.identity), words=str(STATIC.identity), card={})

    assert trained(copy, STATIC.identity, 0.01).name == "verifier at 1 %"
    with pytest.raises(WeightsMismatch, match="another-256@0"):
        trained(copy, Another.identity, 0.01)


def test_a_damaged_verifier_is_refused(tmp_path: Path) -> None:
    """By its digest."""
    with resources.as_file(resources.files("dispatcher.cache") / "data" / SHIPPED_FILE) as file:
        copy = tmp_path / file.name
        copy.write_bytes(file.read_bytes()[:-7])
        copy.with_suffix(".json").write_bytes(file.with_suffix(".json").read_bytes())

    with pytest.raises(WeightsError):
        trained(copy, STATIC.identity, 0.01)


def test_entries_are_judged_together(shipped: VerifierJudge) -> None:
    """As many as are wanted, in their order; a judge that looks at one at a time gets them so."""
    near = [
        Alike(question="how do i cook rice", similarity=0.99),
        Alike(question="is rice good for dogs", similarity=0.6),
    ]
    asked = "how do I cook rice?"

    assert [True, False] == [one.same for one in judged(shipped, asked, near, most=2)]
    assert [True, False] == [one.same for one in judged(RuleJudge(), asked, near, most=2)]
    assert (NEIGHBOURS, 4) == (neighbours(shipped, most=4), neighbours(RuleJudge(), most=4))


def test_a_text_that_is_too_long_is_never_the_same(shipped: VerifierJudge) -> None:
    """What stands behind its head would be overlooked."""
    text = "how do i cook rice " * 80

    assert not shipped.judge(text, text, 1.0).same


def test_the_shipped_verifier_is_small() -> None:
    """Every install carries it."""
    assert len((resources.files("dispatcher.cache") / "data" / SHIPPED_FILE).read_bytes()) < 300_000

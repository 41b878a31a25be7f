"""What the verifier reaches on data that nobody here made, beside plain cosine at the same error.

The data lie in the folder that DROVER_DATA names, or in shared/data beside the repository; without the latter these tests skip, and
a folder that was named and is not there fails them. Figures with intervals stand in dispatcher/lab/cache/FINDINGS.md; a bound here
guards the code.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dispatcher.cache.judges import SHIPPED_FILE
from dispatcher.cache.verifier_file import read_verifier
from dispatcher.embed.static import StaticEmbedder
from dispatcher.lab.cache.corpus import Corpus, corpus
from dispatcher.lab.cache.data import read_all
from dispatcher.lab.cache.policies import Cosine, Verified
from dispatcher.lab.cache.runs import stream

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("DROVER_DATA") or Path(__file__).parents[4] / "shared" / "data") / "cache"
NAMED = "DROVER_DATA" in os.environ

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not NAMED and not DATA.is_dir(), reason=f"{DATA} is not there: name the folder of the data in DROVER_DATA"
    ),
]

ASKED = 1000
MOST_WRONG = 0.02
"""Of all requests, at the default of 1 %: 1,000 requests of one topic are few, and ten of them are the interval's width."""


@pytest.fixture(scope="module")
def banking() -> Corpus:
    """Questions of BANKING77's test part: other questions than were learned from, of the same intents."""
    static = StaticEmbedder.open()
    found = read_all([DATA / "banking77_test.csv.gz"])
    return corpus(found.questions, static, static.pieces, chars=20_000, progress=lambda _, __: None)


def test_the_shipped_verifier_keeps_its_error_rate_and_finds_more_than_a_cosine_that_keeps_it(banking: Corpus) -> None:
    """A stream of questions about one bank, in scopes of 200 entries. The cosine has its best threshold, chosen afterwards."""
    identity = str(StaticEmbedder.open().identity)
    verifier, _ = read_verifier(
        ROOT / "dispatcher" / "cache" / "data" / SHIPPED_FILE, embedder=identity, words=identity
    )
    order = np.random.default_rng(0).permutation(len(banking))[:ASKED]
    cut = verifier.cut(0.01)
    found = stream(banking, order, Verified(verifier), cut)
    hits, wrong = found.hits(cut).mean(), (found.hits(cut) & ~found.right).mean()

    assert wrong <= MOST_WRONG
    plain = [0.0]
    for threshold in np.arange(0.80, 1.0, 0.01):
        one = stream(banking, order, Cosine(), float(threshold))
        if (one.hits(threshold) & ~one.right).mean() <= wrong:
            plain.append(float(one.hits(threshold).mean()))
    assert hits > max(plain)

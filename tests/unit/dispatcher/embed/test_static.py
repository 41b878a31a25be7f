"""The shipped table: rows of norm 1 for any text, no bit of them from a neighbour, and meaning in their angles."""

from __future__ import annotations

import hashlib
import threading
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.embed.static import StaticEmbedder


@pytest.fixture(scope="module")
def shipped() -> StaticEmbedder:
    """The table that comes with the package."""
    return StaticEmbedder.open()


EMBEDDER = StaticEmbedder.open()  # hypothesis takes no fixtures of a module's scope with ease
ODD = [
    "",
    " \t\n",
    "\x00",
    "\ud800 half",
    "word " * 50_000,
    "é" * 5000,
    "日本語のテキスト",
    "🚀🚀",
    "a" * 100_000,
    "\u200b",
    "ß İ ǅ",
]


@given(st.lists(st.text(), max_size=6))
def test_any_texts_give_rows_of_norm_one(texts: list[str]) -> None:
    """One row of float32 for each text, finite, on the unit sphere."""
    rows = EMBEDDER.embed(texts)

    assert ((len(texts), EMBEDDER.identity.dimensions), np.float32) == (rows.shape, rows.dtype)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)


@given(st.lists(st.text(), min_size=1, max_size=6))
def test_a_batch_gives_what_single_texts_give_in_order(texts: list[str]) -> None:
    """Bit by bit: sums of integers know no order."""
    assert np.array_equal(EMBEDDER.embed(texts), np.concatenate([EMBEDDER.embed([text]) for text in texts]))


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_odd_texts_have_a_vector(shipped: StaticEmbedder, text: str) -> None:
    """Empty, blank, NUL, half a character, huge, other scripts."""
    assert 1.0 == pytest.approx(float(np.linalg.norm(shipped.embed([text]))), abs=1e-5)


def test_texts_without_pieces_share_one_vector(shipped: StaticEmbedder) -> None:
    """Nothing is nothing, however it is written."""
    rows = shipped.embed(["", "\n\n", "\x00"])

    assert np.array_equal(rows, np.stack([shipped.table.nothing] * 3))


def test_a_pair_of_lone_surrogates_is_read_as_what_replaces_it(shipped: StaticEmbedder) -> None:
    """They are no Unicode; the rest of the text still counts."""
    assert np.array_equal(shipped.embed(["cats \ud800 dogs"]), shipped.embed(["cats ? dogs"]))


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("How do I sort a list in Python?", "python code that sorts an array", "a recipe for tomato soup"),
        ("book a table for two tonight", "make a dinner reservation", "the derivative of a polynomial"),
        ("What causes inflation?", "why do prices rise in an economy", "my laptop does not boot"),
        ("Translate this into French", "how do you say good morning in french", "solve the equation for x"),
    ],
)
def test_what_means_alike_is_nearer(shipped: StaticEmbedder, text: str, near: str, far: str) -> None:
    """Paraphrases stand closer than other topics, by a tenth at least."""
    here, close, away = shipped.embed([text, near, far])

    assert float(here @ close) > float(here @ away) + 0.1


def test_its_identity_names_the_file(shipped: StaticEmbedder) -> None:
    """Name, hash of the content, dimensions: what a trained router is bound to."""
    again = StaticEmbedder.open()

    assert shipped.identity == again.identity
    assert (12, "minilm-static") == (len(shipped.identity.version), shipped.identity.name)


def test_it_has_the_whole_vocabulary_of_bert(shipped: StaticEmbedder) -> None:
    """30,522 pieces, in the order of bert-base-uncased's vocab.txt, as is known by its hash."""
    digest = hashlib.sha256(("\n".join(shipped.table.pieces) + "\n").encode()).hexdigest()

    assert (30_522, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3") == (
        len(shipped.table.pieces),
        digest,
    )


def test_its_card_says_where_it_comes_from(shipped: StaticEmbedder) -> None:
    """Origin and licence travel in the file."""
    card = shipped.table.card

    assert ("sentence-transformers/all-MiniLM-L6-v2", "Apache-2.0") == (card["from"], card["licence"])


def test_other_threads_run_while_a_long_text_is_taken_apart(shipped: StaticEmbedder) -> None:
    """A thread of its own would help nobody if the splitter kept the interpreter to itself: the longest pause of another thread is
    far shorter than the work."""
    ended = threading.Event()

    def work() -> None:
        shipped.embed([("ж" * 100 + " ") * 1000])
        ended.set()

    thread = threading.Thread(target=work)
    turns = [perf_counter()]
    thread.start()
    while not ended.is_set():
        turns.append(perf_counter())
    thread.join()

    assert max(np.diff(turns)) < (turns[-1] - turns[0]) / 2

"""Topics of one's own: centroids, how well they part, and the file that the dispatcher reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import LabelsError, WeightsError, WeightsMismatch
from dispatcher.lab.centroids.examples import TopicExamples, read_examples
from dispatcher.lab.centroids.parting import clustered, labelled
from dispatcher.lab.centroids.verb import train_topics
from dispatcher.router.topics_file import read_topics, write_topics
from dispatcher.routing.centroids import Topics

NAMES = ("billing", "cooking", "travel")


def _vectors(each: int, spread: float, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Three heaps on three axes."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.eye(3, 6, dtype=np.float32), each, axis=0) + spread * rng.normal(size=(3 * each, 6))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), [
        name for name in NAMES for _ in range(each)
    ]


def test_topics_that_lie_apart_are_told_apart() -> None:
    """Nothing is confused, and each centroid is its heap's direction."""
    vectors, names = _vectors(20, 0.05)
    topics, parting = labelled(vectors, names, "toy")

    assert (parting.confusion, parting.counts, parting.accuracy) == (
        ((20, 0, 0), (0, 20, 0), (0, 0, 20)),
        (20, 20, 20),
        1.0,
    )
    assert topics.centroids @ np.eye(6, 3) == pytest.approx(np.eye(3), abs=0.05)


def test_topics_that_lie_together_are_seen_to() -> None:
    """Labels without meaning: the confusion matrix is judged by examples that did not move the centroid, so it is near chance."""
    vectors, names = _vectors(40, 0.05)
    _, parting = labelled(vectors, np.random.default_rng(1).permutation(names).tolist(), "toy")

    assert parting.accuracy < 0.5
    assert parting.silhouette < 0.05


def test_clusters_are_found_without_labels() -> None:
    """As many as there are heaps, each named by its words."""
    vectors, names = _vectors(20, 0.05)
    topics, parting = clustered(vectors, [f"question about {name}" for name in names], "toy", count=None, seed=0)

    assert sorted(name.partition("-")[0] for name in topics.names) == list(NAMES)
    assert sorted(parting.counts) == [20, 20, 20]


def test_similarities_use_the_whole_range() -> None:
    """1 at a topic's own examples, 0 at those of others, whatever the embedder's cosines are."""
    vectors, names = _vectors(20, 0.05)
    topics, _ = labelled(vectors, names, "toy")
    found = topics.similarities(topics.centroids[0])

    assert (found["billing"], round(found["cooking"], 1), round(found["travel"], 1)) == (1.0, 0.0, 0.0)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """The same centroids, and a table for people."""
    vectors, names = _vectors(10, 0.1)
    examples = TopicExamples(tuple(names), tuple(names))
    said = train_topics(examples, vectors, "toy-6@1", tmp_path / "t.npz", count=None, seed=0)
    topics = read_topics(tmp_path / "t.npz", embedder="toy-6@1")

    assert (topics.names, topics.centroids.shape) == (NAMES, (3, 6))
    assert "nearest centroid right 100.0 %" in said


def test_clusters_do_not_claim_that_they_never_saw_an_example(tmp_path: Path) -> None:
    """They were found among all of them, and the table says so."""
    vectors, names = _vectors(10, 0.1)
    examples = TopicExamples(tuple(names), None)
    said = train_topics(examples, vectors, "toy-6@1", tmp_path / "t.npz", count=3, seed=0)

    assert "the clusters were found among all of them: it flatters" in said


def test_another_embedder_is_refused(tmp_path: Path) -> None:
    """By name."""
    vectors, names = _vectors(10, 0.1)
    write_topics(tmp_path / "t.npz", labelled(vectors, names, "toy-6@1")[0], {})
    with pytest.raises(WeightsMismatch, match="trained with the embedder toy-6@1, and other is in use"):
        read_topics(tmp_path / "t.npz", embedder="other")


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "b"], "abc", [1, 2, 3], None])
def test_a_card_that_does_not_fit_is_refused(tmp_path: Path, names: object) -> None:
    """Topics without names, or names without topics."""
    vectors, labels = _vectors(10, 0.1)
    write_topics(tmp_path / "t.npz", labelled(vectors, labels, "toy")[0], {})
    card = json.loads((tmp_path / "t.json").read_text())
    (tmp_path / "t.json").write_text(json.dumps({**card, "topics": names}))
    with pytest.raises(WeightsError, match="is damaged"):
        read_topics(tmp_path / "t.npz", embedder="toy")


def test_a_vector_of_another_length_is_refused() -> None:
    """Instead of a number that means nothing."""
    topics = Topics(names=("a",), centroids=np.eye(1, 4, dtype=np.float32), embedder="toy", near=1.0, far=0.0)
    with pytest.raises(WeightsMismatch, match="with 4 numbers, and the vector has 3"):
        topics.similarities(np.ones(3, dtype=np.float32))


@pytest.mark.parametrize(
    ("topics", "said"), [(["a"] * 6, "there is one topic"), (["a"] * 5 + ["b"], "these topics have one example: b")]
)
def test_too_little_to_part_is_refused(topics: list[str], said: str) -> None:
    """With what is missing."""
    with pytest.raises(LabelsError, match=said):
        labelled(np.eye(6, dtype=np.float32), topics, "toy")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("topic\na\n", "lacks the column text"),
        ("text,topic\nhi,a\n,b\nho,\n", "line 3: text is empty; line 4: topic is empty"),
        ("text\nhi\n", "has 1 examples"),
    ],
)
def test_a_table_of_examples_is_checked(tmp_path: Path, text: str, said: str) -> None:
    """Bad rows are named by line."""
    (tmp_path / "e.csv").write_text(text)
    with pytest.raises(LabelsError, match=said):
        read_examples(tmp_path / "e.csv")

"""`drover lab centroids`: examples in, a small file of topics out, and how well they part as a table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from common.errors import ConfigError
from dispatcher.lab.centroids.examples import TopicExamples, read_examples
from dispatcher.lab.embedding import Choice
from dispatcher.lab.router.vectors import cache_dir, embed_all
from dispatcher.router.topics_file import write_topics
from dispatcher.routing.centroids import Topics

_SHOWN_TOPICS = 20


def centroids_verb(source: Path, output: Path, choice: Choice, *, count: int | None, seed: int) -> str:
    """Train and write. Raises `LabelsError`, `WeightsError`, or what the embedder raises."""
    examples = read_examples(source)
    embedder = choice.open()
    if embedder is None:
        raise ConfigError("topics are centroids of vectors: choose an embedder, --embedder static is the quickest")
    vectors = embed_all(embedder, examples.texts, cache_dir(), chars=choice.chars)
    return train_topics(examples, vectors, str(embedder.identity), output, count=count, seed=seed)


def train_topics(
    examples: TopicExamples, vectors: np.ndarray, identity: str, output: Path, *, count: int | None, seed: int
) -> str:
    """Train on vectors that are there, write, and give the table."""
    try:
        from dispatcher.lab.centroids.parting import Parting, clustered, labelled  # noqa: PLC0415  # scikit-learn is an extra
    except ModuleNotFoundError as error:
        raise ConfigError("topics need scikit-learn: install the extra lab of Drover's wheel") from error
    if examples.topics is not None:
        topics, parting = labelled(vectors, examples.topics, identity)
    else:
        topics, parting = clustered(vectors, examples.texts, identity, count=count, seed=seed)
    how = (
        "each example judged by the others"
        if examples.topics is not None
        else "each example judged by the others' centroids, but the clusters were found among all of them: it flatters"
    )
    assert isinstance(parting, Parting)  # noqa: S101  # for the reader: both give the same
    write_topics(output, topics, {"parting": asdict(parting), "labelled": examples.topics is not None, "seed": seed})
    return _table(topics, parting.counts, parting.silhouettes, parting.confusion) + (
        f"\nseparation {parting.separation:.3f}, silhouette {parting.silhouette:.3f}, nearest centroid right "
        f"{100 * parting.accuracy:.1f} % ({how})\nwritten: {output}"
    )


def _table(
    topics: Topics, counts: tuple[int, ...], silhouettes: tuple[float, ...], confusion: tuple[tuple[int, ...], ...]
) -> str:
    """Write a line for each topic: how many, its silhouette, and with which others it is confused most."""
    lines = [f"{'topic':28} examples  silhouette  right  confused with"]
    for one, name in list(enumerate(topics.names))[:_SHOWN_TOPICS]:
        row = confusion[one]
        wrong = sorted(((count, other) for other, count in enumerate(row) if other != one and count), reverse=True)[:3]
        mixed = ", ".join(f"{topics.names[other]} {count}" for count, other in wrong) or "none"
        right = 100 * row[one] / max(1, sum(row))
        lines.append(f"{name[:28]:28} {counts[one]:8}  {silhouettes[one]:10.3f} {right:5.0f} %  {mixed}")
    if len(topics.names) > _SHOWN_TOPICS:
        lines.append(f"… and {len(topics.names) - _SHOWN_TOPICS} more; the whole confusion matrix stands in the card")
    return "\n".join(lines)

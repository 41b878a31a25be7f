"""The topics that come with Drover: made from the shipped examples, and better than words on questions that nobody here wrote."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from dispatcher.embed import Tier, open_embedder
from dispatcher.lab.centroids.examples import read_examples
from dispatcher.lab.centroids.verb import train_topics
from dispatcher.router.life import SHIPPED_TOPICS, shipped_topics
from dispatcher.router.topics_file import read_topics
from dispatcher.routing.centroids import Topics
from dispatcher.routing.topics import SEEDS, topic_similarities, word_counts

# What people ask, in words of this test's own: none of them is among the examples.
ASKED = {
    "code": (
        "my javascript promise never resolves",
        "write a makefile for a c project",
        "sort a dictionary by value in python",
    ),
    "reasoning": (
        "a bat and a ball cost 1.10 together, the bat 1 more than the ball; what does the ball cost?",
        "what is 17 percent of 340?",
        "how many ways can I arrange the letters of the word level?",
    ),
    "writing": (
        "write a sonnet about an old bicycle",
        "make this text friendlier and shorter",
        "draft an email to my team about the summer party",
    ),
    "chat": ("hey, what's going on?", "i feel sad today", "tell me something funny"),
    "knowledge": ("what is the capital of peru?", "how do volcanoes erupt?", "who was cleopatra?"),
}


@pytest.fixture(scope="module")
def topics() -> Topics:
    embedder = open_embedder(Tier.STATIC)
    assert embedder is not None
    return read_topics(SHIPPED_TOPICS, embedder=str(embedder.identity))


def test_they_are_of_the_shipped_embedder_alone(topics: Topics) -> None:
    """They are used with it, and with no other one; their names are those of the words that stand in for them."""
    assert (SHIPPED_TOPICS, None, None) == (shipped_topics(topics.embedder), shipped_topics(None), shipped_topics("x"))
    assert set(SEEDS) == set(topics.names)


def test_they_can_be_made_again(topics: Topics, tmp_path: Path) -> None:
    """The shipped examples and the shipped embedder give the shipped file."""
    with resources.as_file(resources.files("dispatcher.lab.centroids") / "topics.csv") as source:
        examples = read_examples(source)
    embedder = open_embedder(Tier.STATIC)
    assert embedder is not None
    train_topics(
        examples, embedder.embed(examples.texts), str(embedder.identity), tmp_path / "t.npz", count=None, seed=0
    )
    again = read_topics(tmp_path / "t.npz", embedder=str(embedder.identity))

    assert topics.names == again.names
    assert np.allclose(topics.centroids, again.centroids, atol=1e-6)
    assert pytest.approx((topics.near, topics.far), abs=1e-6) == (again.near, again.far)


def test_they_know_what_is_asked(topics: Topics) -> None:
    """Of questions that are not among the examples four of five are placed right, and more than by words."""
    embedder = open_embedder(Tier.STATIC)
    assert embedder is not None
    right = by_words = 0
    for topic, questions in ASKED.items():
        for question in questions:
            near = topics.similarities(embedder.embed([question])[0])
            words = topic_similarities(word_counts(question))
            right += max(near, key=lambda one: near[one]) == topic
            by_words += max(words, key=lambda one: words[one]) == topic

    assert right >= 12  # of 15
    assert right > by_words

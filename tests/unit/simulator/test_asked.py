"""JSON that a prompt asks for in words, as Open WebUI does for titles, tags and follow-ups."""

from __future__ import annotations

import json

import pytest

from agents.simulator import asked

TITLE = '### Task:\nGenerate a concise title.\n### Output:\nJSON format: { "title": "your title here" }\n### Chat History:\n…'
TAGS = 'JSON format: { "tags": ["tag1", "tag2"], "n": 3 }'


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (TITLE, {"title": "[sim] queue"}),
        (TAGS, {"tags": ["[sim] queue 1", "[sim] queue 2"], "n": 3}),
    ],
)
def test_an_object_of_the_same_form(prompt: str, expected: dict[str, object]) -> None:
    """Every key of the example, with texts of our own."""
    form = asked.example(prompt)
    assert form is not None

    assert expected == json.loads(asked.fill(form, label="[sim] ", topic="queue"))


@pytest.mark.parametrize(
    "prompt", ["Why is the sky blue?", "Which JSON format: { is that?", "JSON format: {not json}", "JSON format: [1]"]
)
def test_an_ordinary_question_asks_for_none(prompt: str) -> None:
    """Only an object, at the beginning of a line behind those words."""
    assert asked.example(prompt) is None

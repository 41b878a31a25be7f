"""Writes the JSON that a prompt asks for in words, by the example it gives: what chat pages send for a title or for tags.

Pure; a form that is asked for by the API's own field is `structured`'s.
"""

from __future__ import annotations

import json
import re
from typing import Any

_EXAMPLE = re.compile(r"^JSON format:\s*(?=\{)", re.MULTILINE)


def example(question: str) -> dict[str, Any] | None:
    """Give the object that stands as an example in a prompt; None where there is none."""
    found = _EXAMPLE.search(question)
    if found is None:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(question, found.end())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def fill(example: dict[str, Any], *, label: str, topic: str) -> str:
    """Write an object of the same form; its texts carry the label, so that they stay marked as simulated."""
    return json.dumps({key: _like(value, f"{label}{topic}") for key, value in example.items()}, ensure_ascii=False)


def _like(value: object, text: str) -> object:
    """Give a value of the same kind; of several texts each is another."""
    if isinstance(value, str):
        return text
    if isinstance(value, list):
        return [f"{text} {number}" if isinstance(one, str) else one for number, one in enumerate(value, start=1)]
    return value

"""Reading files of durable jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import BadRequest
from common.messages import Priority
from dispatcher.cli.ask import Wish
from dispatcher.cli.requests import requests


def test_a_row_is_a_whole_request(tmp_path: Path) -> None:
    """What the row says wins; what it does not say comes from the command line."""
    path = tmp_path / "jobs.jsonl"
    path.write_text(
        '{"prompt":"one"}\n'
        '{"messages":[{"role":"user","content":"two"}],"model":"a:1b","priority":"batch","job":"mine","options":{"seed":7}}\n'
    )
    one, two = requests(path, Wish(model="b:1b", max_tokens=9), Priority.INTERACTIVE)

    assert ("one", "b:1b", Priority.INTERACTIVE, 9) == (
        one.messages[0].content,
        one.model,
        one.priority,
        one.options.max_tokens,
    )
    assert ("two", "a:1b", Priority.BATCH, "mine", 7, 9) == (
        two.messages[0].content,
        two.model,
        two.priority,
        two.job,
        two.options.seed,
        two.options.max_tokens,
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"prompt":"a","modle":"x"}', "line 2: unknown field 'modle'"),
        ('{"prompt":"a","priority":"soon"}', "line 2: "),
        ('{"prompt":"a","options":{"max_tokens":0}}', "line 2: "),
        ('{"turns":["a","b"]}', "line 2: several questions"),
        ('{"prompt":"a","job":"mine"}', "line 2: the job 'mine' stands in line 1 already"),
        ('{"prompt":"a","stream":true}', "line 2: unknown field 'stream'"),
        ("nonsense", "line 2: not JSON"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, words: str) -> None:
    """By file and line, before anything is sent."""
    path = tmp_path / "jobs.jsonl"
    path.write_text(f'{{"prompt":"fine","job":"mine"}}\n{row}\n')
    with pytest.raises(BadRequest) as raised:
        requests(path, Wish(), Priority.NORMAL)

    assert (True, True) == (raised.value.message.startswith(str(path)), words in raised.value.message)

"""What both clients of OpenAI's API have in common: the name of the limit, keys, waits; prices and errors are tested where used."""

from __future__ import annotations

import pytest

from common.openai_api import Said, Trouble, backoff_s, limit_name, trouble_of, usable_key


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://api.openai.com:443/v1", "max_completion_tokens"),
        ("https://openrouter.ai/api/v1", "max_tokens"),
        ("https://api.openai.com.example.net/v1", "max_tokens"),
        ("http://127.0.0.1:8080/v1", "max_tokens"),
    ],
)
def test_the_limit_has_two_names(url: str, expected: str) -> None:
    """OpenAI's newer models refuse the name that everybody else knows."""
    assert limit_name(url) == expected


def test_a_key_is_taken_without_white_space_around_it() -> None:
    """Tokens of a cloud that stand in for keys may be long."""
    assert usable_key(" " + "k" * 3000 + "\r\n") == "k" * 3000


@pytest.mark.parametrize("text", ["", " ", "a b", "a\nb", "ключ", "a\x00b"])
def test_a_key_that_fits_no_header_is_refused(text: str) -> None:
    """Without being quoted."""
    with pytest.raises(ValueError, match=r"^a key is printable ASCII characters without spaces$"):
        usable_key(text)


@pytest.mark.parametrize(("tried", "jitter", "expected"), [(0, 1.0, 0.5), (1, 1.0, 1.0), (1, 0.0, 0.5), (9, 1.0, 8.0)])
def test_waits_grow_up_to_a_limit(tried: int, jitter: float, expected: float) -> None:
    """Half of each is chance."""
    assert backoff_s(tried, jitter=jitter, most_s=8.0) == expected


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (403, "", "flagged", Trouble.DENIED),
        (403, "unsupported_country_region_territory", "", Trouble.KEY),
        (403, "insufficient_quota", "", Trouble.MONEY),
        (404, "", "model x not found", Trouble.MODEL),
        (404, "", "not found", Trouble.PATH),
        (429, "", "", Trouble.BUSY),
        (529, "", "", Trouble.SERVER),
    ],
)
def test_what_an_error_means(status: int, code: str, message: str, expected: Trouble) -> None:
    """What it names goes before its status."""
    assert trouble_of(Said(status=status, code=code, message=message)) is expected

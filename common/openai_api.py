"""What both clients of OpenAI's API have in common: prices, keys, waits, the words for a limit, what an error means; pure.

It sends nothing, does not know the `openai` package, and writes no message: each client knows another way out of a trouble.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from urllib.parse import urlsplit

MOST_USD = 100_000.0
"""Per million tokens; a slip of the pen is above."""

FIRST_WAIT_S = 0.5

_OWN_NAME = ("api.openai.com",)
"""Where the largest number of tokens is called `max_completion_tokens`; its newer models refuse the name that all others know."""

_SECRET = re.compile(r"\b(?:sk|pk|rk|key|sess)-[A-Za-z0-9_*.-]{4,}|(?i:bearer )\S+")
_KEY = re.compile("[!-~]+")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)", re.ASCII)
_IN_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

_NO_KEY = frozenset(
    {"invalid_api_key", "invalid_organization", "account_deactivated", "unsupported_country_region_territory"}
)
_NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_BUSY = frozenset({"rate_limit_exceeded", "rate_limit_error", "server_overloaded", "engine_overloaded"})
_TOO_LONG = ("maximum context length", "context window", "context length", "prompt is too long")
_UNSUPPORTED = ("does not support", "is not supported", "not support")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens. `cached` is what input costs that the provider had in its cache; None is as much as any."""

    input: float
    output: float
    cached: float | None = None

    def usd(self, prompt_tokens: float, answer_tokens: float, cached_tokens: float = 0) -> float:
        """Give what an answer costs; `cached_tokens` is the part of its prompt that was in the cache."""
        known = min(cached_tokens, prompt_tokens)
        again = self.input if self.cached is None else self.cached
        return ((prompt_tokens - known) * self.input + known * again + answer_tokens * self.output) / 1e6


def usable_key(text: str) -> str:
    """Give a key without the white space around it that copying brings. Raises `ValueError`, which does not quote it."""
    key = text.strip()
    if not _KEY.fullmatch(key):
        raise ValueError("a key is printable ASCII characters without spaces")
    return key


def scrubbed(text: str, key: str) -> str:
    """Shorten what a provider wrote, and take out what looks like a key, ours above all: it quotes the key's ends."""
    return _SECRET.sub("(hidden)", text.replace(key, "(hidden)") if key else text).strip()[:300]


def limit_name(url: str) -> str:
    """Say what the server at this address calls the largest number of tokens of an answer."""
    return "max_completion_tokens" if urlsplit(url).hostname in _OWN_NAME else "max_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What came: the status (0 for an error inside a stream that had begun), and the fields of the body's `error`."""

    status: int
    message: str = ""
    kind: str = ""
    code: str = ""
    param: str | None = None
    retry_after_s: float | None = None


class Trouble(StrEnum):
    """What an error answer means."""

    KEY = "key"
    DENIED = "denied"  # a 403 that names nothing: the key's rights, or what this request asks
    MONEY = "money"
    MODEL = "model"
    PATH = "path"
    BUSY = "busy"
    TOO_LONG = "too_long"
    UNSUPPORTED = "unsupported"
    REQUEST = "request"
    SERVER = "server"  # anything else, which may pass


def trouble_of(said: Said) -> Trouble:
    """Say what is wrong: 1. the key 2. the account's money 3. a 403 that names neither 4. the model, or the path 5. too much
    at once 6. the request 7. anything else."""
    names = {said.code, said.kind}
    rules = (
        (Trouble.KEY, said.status == 401 or names & _NO_KEY),  # 1
        (Trouble.MONEY, said.status == 402 or names & _NO_MONEY),  # 2
        (Trouble.DENIED, said.status == 403),  # 3
        (
            Trouble.MODEL,
            said.code == "model_not_found" or (said.status == 404 and "model" in said.message.lower()),
        ),  # 4
        (Trouble.PATH, said.status == 404),
        (Trouble.BUSY, said.status == 429 or names & _BUSY),  # 5
        (_of_request(said), said.status in (400, 413, 415, 422)),  # 6
    )
    return next((trouble for trouble, holds in rules if holds), Trouble.SERVER)  # 7


def _of_request(said: Said) -> Trouble:
    lower = said.message.lower()
    if said.code == "context_length_exceeded" or any(part in lower for part in _TOO_LONG):
        return Trouble.TOO_LONG
    return Trouble.UNSUPPORTED if any(part in lower for part in _UNSUPPORTED) else Trouble.REQUEST


def span_s(text: str | None) -> float | None:
    """Read a time as providers write it: `12ms`, `6m0s`, `1h30m`, or a number of seconds; None for anything else."""
    if text is None:
        return None
    said = text.strip().lower()
    parts = _SPAN.findall(said)
    if parts and "".join(number + unit for number, unit in parts) == said:
        return sum(float(number) * _IN_SECONDS[unit] for number, unit in parts)
    return number_of(said)


def retry_after_s(headers: Mapping[str, str], now_unix_s: float) -> float | None:
    """Give the seconds that an error asks us to wait; None when it does not say."""
    milliseconds = number_of(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after")
    seconds = span_s(said)
    if seconds is not None or said is None:
        return seconds
    try:
        date = parsedate_to_datetime(said)
    except (TypeError, ValueError):
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_unix_s)


def backoff_s(tried: int, *, jitter: float, most_s: float) -> float:
    """Give the wait before another try: twice as long each time, and not all at the same moment. `tried` counts from 0, `jitter` is
    in [0, 1]."""
    return min(most_s, FIRST_WAIT_S * 2.0**tried) * (0.5 + jitter / 2)


def number_of(text: str | None) -> float | None:
    """Read a header that holds a number from 0 on; None for anything else."""
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None

"""What a provider's headers mean, and when it is asked again."""

from __future__ import annotations

import pytest

from agents.backends.openai_limits import LONGEST_PAUSE_S, Quota, pause_s, wait_s
from common.errors import BackendError, BadRequest, BudgetSpent, ConfigError, DeviceBusy, FleetError, UnknownModel
from common.openai_api import retry_after_s, span_s
from tests.unit.agents.hand_clock import HandClock

NOW_S = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the date of the HTTP standard


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12ms", 0.012),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("1h30m", 5400.0),
        ("7.66s", 7.66),
        ("20", 20.0),
        ("0", 0.0),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("5s later", None),
        ("nan", None),
        ("1e99", None),
        (None, None),
    ],
)
def test_a_time_as_providers_write_it(text: str | None, expected: float | None) -> None:
    """Spans with units, bare seconds, and nothing else."""
    assert span_s(text) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "2", "retry-after-ms": "150"}, 0.15),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:47 GMT"}, 10.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:27 GMT"}, 0.0),
        ({"retry-after": "tomorrow"}, None),
    ],
)
def test_when_to_ask_again(headers: dict[str, str], expected: float | None) -> None:
    """In milliseconds, in seconds, or as a date; one that has passed means now."""
    assert retry_after_s(headers, NOW_S) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 0.0),
        ({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "9s"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9s"}, 9.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m0s"}, 60.0),
        ({"x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "0"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "24h"}, LONGEST_PAUSE_S),
    ],
)
def test_a_limit_with_nothing_left_is_a_pause(headers: dict[str, str], expected: float) -> None:
    """Until the reset, and never longer than we dare not to look."""
    assert pause_s(headers) == expected


@pytest.mark.parametrize(
    ("error", "tried", "jitter", "expected"),
    [
        (BackendError(), 0, 1.0, 0.5),
        (BackendError(), 0, 0.0, 0.25),
        (BackendError(), 1, 1.0, 1.0),
        (DeviceBusy(), 1, 1.0, 1.0),
        (BackendError(), 2, 1.0, None),  # often enough
        (DeviceBusy(retry_after_s=3.0), 0, 0.5, 3.0),
        (DeviceBusy(retry_after_s=10.0), 0, 0.5, 10.0),
        (DeviceBusy(retry_after_s=10.1), 0, 0.5, None),  # too late
        (BudgetSpent(), 0, 1.0, None),
        (ConfigError(), 0, 1.0, None),
        (BadRequest(), 0, 1.0, None),
        (UnknownModel(), 0, 1.0, None),
    ],
)
def test_what_is_asked_again(error: FleetError, tried: int, jitter: float, expected: float | None) -> None:
    """Twice at most here: what is busy or fails, at the time that the provider names, or later and later."""
    assert wait_s(error, tried=tried, retries=2, jitter=jitter) == expected


def test_a_long_wait_grows_to_a_limit() -> None:
    """0.5, 1, 2, 4, 8, 8 seconds."""
    waits = [wait_s(BackendError(), tried=tried, retries=10, jitter=1.0) for tried in range(6)]

    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_a_quota_is_used_up_until_its_reset() -> None:
    """A shorter pause that is told later does not shorten it: answers arrive in any order."""
    clock = HandClock()
    quota = Quota(clock)
    quota.pause(10.0)
    quota.note({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2s"})
    clock.now_s += 4
    refusal = quota.refusal()
    clock.now_s += 6

    assert refusal is not None
    assert (refusal.code, refusal.retry_after_s, quota.refusal()) == ("busy", 6.0, None)

"""How the paid models and their prices are read, and what an answer costs."""

from __future__ import annotations

import re

import pytest

from agents.backends.offers import UNSAID, UNSAID_ANSWER_TOKENS, Offer, offers
from common.messages import Usage
from common.openai_api import Price

prices = Price


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("m", (Offer(name="m"),)),
        ("m=0/0", (Offer(name="m", prices=prices(0, 0)),)),
        ("m=0.15/0.60", (Offer(name="m", prices=prices(0.15, 0.6)),)),
        ("m=2/8/0.5", (Offer(name="m", prices=prices(2, 8, 0.5)),)),
        ("m 8192", (Offer(name="m", context_tokens=8192),)),
        ("m 128k vision", (Offer(name="m", context_tokens=128_000, capabilities=("completion", "vision")),)),
        ("m json 1M", (Offer(name="m", context_tokens=1_000_000, capabilities=("completion", "json")),)),
        ("m 128k/16k", (Offer(name="m", context_tokens=128_000, answer_tokens=16_000),)),
        ("m 1.5b 8k", (Offer(name="m", context_tokens=8000, parameters_b=1.5),)),
        ("m text", (Offer(name="m", capabilities=("completion",)),)),
        ("m embedding", (Offer(name="m", capabilities=("embedding",)),)),
        (" a/b:free=1/2 ,\n c ", (Offer(name="a/b:free", prices=prices(1, 2)), Offer(name="c"))),
    ],
)
def test_what_is_offered(text: str, expected: tuple[Offer, ...]) -> None:
    """Names, prices, context and what a model can do; all but the name may be missing."""
    assert offers(text) == expected


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("=1/2", "'=1/2' names no model"),
        ("m=1", "'m=1': prices are"),
        ("m=1/2/3/4", "prices are"),
        ("m=-1/2", "prices are"),
        ("m=nan/2", "prices are"),
        ("m=1e9/2", "prices are"),
        ("m=$1/2", "prices are"),
        ("m 8x", "'8x' is no size"),
        ("m 0k", "'0k' is no size"),
        ("m 8k/", "'8k/' is no size"),
        ("m 8k 16k", "two sizes of a context: 8k and 16k"),
        ("m 8b 70b", "two numbers of parameters: 8b and 70b"),
        ("m magic", "'magic' is nothing that a model can do"),
        ("m, n, m", "'m' stands twice"),
    ],
)
def test_a_slip_of_the_pen_is_quoted(text: str, quoted: str) -> None:
    """The message names the part that is wrong."""
    with pytest.raises(ValueError, match=re.escape(quoted)):
        offers(text)


@pytest.mark.parametrize(
    ("rates", "usage", "cached", "expected"),
    [
        (
            prices(0.15, 0.60),
            Usage(prompt_tokens=1000, completion_tokens=500),
            0,
            0.00045,
        ),  # 1000·0.15 + 500·0.6 = 450 µ$
        (prices(2, 8, 0.5), Usage(prompt_tokens=1000, completion_tokens=100), 600, 0.0019),  # 400·2 + 600·0.5 + 100·8
        (prices(2, 8), Usage(prompt_tokens=1000), 1000, 0.002),  # without a price of its own the cache is no cheaper
        (prices(2, 8, 0), Usage(prompt_tokens=10), 99, 0.0),  # no more can be cached than was sent
        (prices(0, 0), Usage(prompt_tokens=10, completion_tokens=10), 0, 0.0),
    ],
)
def test_what_an_answer_costs(rates: Price, usage: Usage, cached: int, expected: float) -> None:
    """Dollars per million tokens, input and output apart, and what was in the provider's cache at its own price."""
    assert rates.usd(usage.prompt_tokens, usage.completion_tokens, cached) == pytest.approx(expected, abs=1e-12)


def test_a_model_in_the_cloud_is_as_good_as_loaded() -> None:
    """The heartbeat carries its prices, and routing need not wait for a load."""
    [offer] = offers("m=1/2 8k")
    info = offer.info

    assert (info.loaded, info.input_usd_per_mtok, info.output_usd_per_mtok) == (True, 1.0, 2.0)
    assert (info.context_tokens, info.capabilities) == (8000, UNSAID)


@pytest.mark.parametrize(
    ("text", "max_tokens", "answer_tokens"),
    [
        ("m=1/2 128k/16k", None, 16_000),
        ("m=1/2 128k/16k", 500, 500),
        ("m=1/2 8k/16k", None, 8_000),
        ("m=1/2 128k", None, 128_000),
        ("m=1/2", None, UNSAID_ANSWER_TOKENS),
    ],
)
def test_what_an_answer_may_cost_at_most(text: str, max_tokens: int | None, answer_tokens: int) -> None:
    """The least of what the request, the model and its context allow, behind a prompt of 1,000 tokens."""
    [offer] = offers(text)

    assert offer.most_usd(1000, max_tokens) == pytest.approx((1000 + 2 * answer_tokens) / 1e6)

"""Prices, estimates and the cap of a labelling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from common.errors import BudgetSpent, ConfigError
from common.openai_api import Price
from dispatcher.lab.label.asking import Manner, Reply
from dispatcher.lab.label.money import Call, Purse, card_price, estimate, read_price, worst_usd
from dispatcher.lab.label.questions import Question
from dispatcher.lab.label.run import Run, Wish


def test_a_price_is_read_with_its_model() -> None:
    """A model's name may have signs of its own."""
    assert ("qwen2.5:7b@pi=5", Price(0.15, 0.6)) == read_price("qwen2.5:7b@pi=5=0.15/0.60")


@pytest.mark.parametrize("text", ["gpt", "gpt=1", "=1/2", "gpt=1/2/3", "gpt=-1/2", "gpt=nan/2", "gpt=1e9/2"])
def test_a_bad_price_is_refused(text: str) -> None:
    """By name, with the right form."""
    with pytest.raises(ConfigError, match="model=input/output"):
        read_price(text)


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ({"pricing": {"prompt": "0.00000015", "completion": "0.0000006"}}, Price(0.15, 0.6)),
        ({"x_drover": {"input_usd_per_mtok": 2, "output_usd_per_mtok": 8.0}}, Price(2.0, 8.0)),
        ({"pricing": {"prompt": "-1", "completion": "-1"}}, None),
        ({"pricing": "free"}, None),
        ({"id": "x"}, None),
    ],
)
def test_prices_of_a_card(card: dict[str, object], expected: Price | None) -> None:
    """By the token or by the million; what varies (OpenRouter says -1) is not known."""
    found = card_price(card)

    assert (found and (round(found.input, 9), round(found.output, 9))) == (
        expected and (expected.input, expected.output)
    )


def test_an_estimate_by_hand() -> None:
    """1,000 tokens at $1 and likely 250 of at most 1,000 at $2 per million, twice; what has no price is named."""
    calls = [Call("a", 1000, 1000), Call("a", 1000, 1000), Call("b", 10, 10)]
    found = estimate(calls, {"a": Price(1, 2)})

    assert (3, 2 * 0.0015, 2 * 0.003, ("b",)) == (found.calls, found.likely_usd, found.most_usd, found.unpriced)


def test_the_purse_counts_what_is_held() -> None:
    """What runs may still cost its worst."""
    purse = Purse(1.0, spent_usd=0.4)
    with purse.hold(0.5) as held:
        inside = purse.room(0.1), purse.room(0.2)
        held.draw(0.3)
        held.pay(0.3, 0.1)

    assert ((True, False), True, False) == (inside, purse.room(0.5), purse.room(0.51))


def test_a_try_must_fit_what_is_left() -> None:
    """Two tries that came to nothing have used up the row's own money and the purse's: a third is not begun."""
    purse = Purse(1.0)
    with purse.hold(0.6) as held:
        for _ in range(2):
            held.draw(0.5)
            held.pay(0.5, 0.5)
        with pytest.raises(BudgetSpent, match="raise --max-usd"):
            held.draw(0.5)

    assert (purse.spent_usd, purse.room(0.01)) == (1.0, False)


def test_tries_at_once_share_what_is_held() -> None:
    """The second one needs more than the first has left, and gets it from the purse, which has it once."""
    purse = Purse(1.0)
    with purse.hold(0.5) as held:
        held.draw(0.5)
        held.draw(0.5)
        with pytest.raises(BudgetSpent):
            held.draw(0.1)


class Deaf:
    """Models that fall silent five times, the default of `--retries`, before each answer."""

    async def ask(
        self, model: str, messages: Sequence[Mapping[str, str]], manner: Manner, lost: Callable[[], None]
    ) -> Reply:
        for _ in range(5):
            lost()
        text = '{"reason":"r","first":3,"second":7}' if manner.schema else f"{model} says so"
        return Reply(text=text, prompt_tokens=20, answer_tokens=manner.max_tokens, cut=False, cost_usd=None)


async def test_silent_tries_don_t_break_the_cap() -> None:
    """A row whose calls are all computed for nothing is stopped, not paid for: the cap is one row's worst case."""
    prices = dict.fromkeys("wsj", Price(1, 2))
    wish = Wish(weak="w", strong="s", judge="j")
    cap_usd = 1.01 * sum(worst_usd(call, prices[call.model]) for call in wish.worst("hello"))
    purse = Purse(cap_usd)
    run = Run(Deaf(), wish=wish, prices=prices, purse=purse, keep=lambda _: None, tell=lambda _: None)
    await run.all([Question(2, "hello", "", None)], 1)

    assert (run.tally.done, "the cap is reached" in (run.tally.stopped or "")) == (0, True)
    assert cap_usd / 2 < purse.spent_usd <= cap_usd


def test_the_worst_case_is_never_below_the_likely_one() -> None:
    """Longer answers to read for the judge, and each verdict asked for twice."""
    wish = Wish(weak="w", strong="s", judge="j", max_tokens=2000)
    likely, worst = list(wish.calls("hello")), wish.worst("hello")

    assert [2, 2, 4] == [
        sum(call.model in ("w", "s") for call in likely),
        sum(call.model == "j" for call in likely),
        sum(call.model == "j" for call in worst),
    ]
    assert min(call.prompt_tokens for call in worst[2:]) > 2 * 2000 > likely[2].prompt_tokens

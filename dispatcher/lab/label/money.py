"""What labelling costs: prices of models, an estimate beforehand, and a cap that holds while it runs; it asks nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from common.errors import BudgetSpent, ConfigError
from common.openai_api import MOST_USD, Price

LIKELY_TOKENS = 250
"""What an answer of a chat model is taken to have where nothing is known: the means of MT-Bench's lie between 150 and 350."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it is expected: to which model, with how many tokens of prompt, and at most how many of answer."""

    model: str
    prompt_tokens: int
    most_tokens: int


def read_price(text: str) -> tuple[str, Price]:
    """Read `model=input/output`. Raises `ConfigError`."""
    name, mark, figures = text.rpartition("=")
    try:
        given, made = (float(part) for part in figures.split("/"))
    except ValueError:
        given = made = -1.0
    if not mark or not name or not (0 <= given <= MOST_USD and 0 <= made <= MOST_USD):
        raise ConfigError(
            f"--price {text!r}: write model=input/output in US dollars per million tokens, as in gpt-4o=2.5/10"
        )
    return name, Price(given, made)


def card_price(card: Mapping[str, Any]) -> Price | None:
    """Read the prices of a card of /v1/models: Drover's own, or `pricing` by the single token as OpenRouter has it."""
    facts, pricing = card.get("x_drover"), card.get("pricing")
    ours = (
        (facts.get("input_usd_per_mtok"), facts.get("output_usd_per_mtok"))
        if isinstance(facts, Mapping)
        else (None, None)
    )
    theirs = (pricing.get("prompt"), pricing.get("completion")) if isinstance(pricing, Mapping) else (None, None)
    for (given, made), times in ((ours, 1.0), (theirs, 1e6)):
        try:
            found = Price(float(given) * times, float(made) * times)  # type: ignore[arg-type]  # what is none raises
        except (TypeError, ValueError):
            continue
        if 0 <= found.input <= MOST_USD and 0 <= found.output <= MOST_USD:
            return found
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run costs, in US dollars: likely, and if every answer were as long as it may be. `unpriced` models count nothing."""

    calls: int
    likely_usd: float
    most_usd: float
    unpriced: tuple[str, ...]

    def __str__(self) -> str:
        money = f"about ${self.likely_usd:.4f}, at most ${self.most_usd:.4f}"
        if self.unpriced:
            return f"{self.calls} calls; {money}, without {', '.join(self.unpriced)}, whose prices are not known"
        return f"{self.calls} calls; {money}"


def estimate(calls: Sequence[Call], prices: Mapping[str, Price]) -> Estimate:
    """Add up calls that are to be made."""
    priced = [(call, prices[call.model]) for call in calls if call.model in prices]
    return Estimate(
        calls=len(calls),
        likely_usd=sum(price.usd(call.prompt_tokens, min(call.most_tokens, LIKELY_TOKENS)) for call, price in priced),
        most_usd=sum(worst_usd(call, price) for call, price in priced),
        unpriced=tuple(dict.fromkeys(call.model for call in calls if call.model not in prices)),
    )


def worst_usd(call: Call, price: Price | None) -> float:
    """Give what a call may cost at most."""
    return price.usd(call.prompt_tokens, call.most_tokens) if price else 0.0


class Purse:
    """The cap: what was spent, and what is held for calls that run. `cap_usd` None never refuses; `keep` hears both whenever they
    change, before the call that they change for is made."""

    def __init__(
        self, cap_usd: float | None, spent_usd: float = 0.0, keep: Callable[[float, float], None] = lambda *_: None
    ) -> None:
        self.spent_usd = spent_usd
        self._cap_usd = cap_usd
        self._held_usd = 0.0
        self._keep = keep

    def room(self, usd: float) -> bool:
        """Tell whether so much may still be spent, all that is held counted as spent."""
        return self._cap_usd is None or self.spent_usd + self._held_usd + usd <= self._cap_usd + 1e-12

    @contextmanager
    def hold(self, usd: float) -> Iterator[Hold]:
        """Keep so much back for a row, whose calls draw from it."""
        held = Hold(self, usd)
        self.move(held_usd=usd)
        try:
            yield held
        finally:
            self.move(held_usd=-held.left_usd)

    def move(self, *, held_usd: float = 0.0, spent_usd: float = 0.0) -> None:
        """Change what is held, and what was spent, by so much."""
        if held_usd or spent_usd:
            self._held_usd = max(0.0, self._held_usd + held_usd)
            self.spent_usd += spent_usd
            self._keep(self.spent_usd, self._held_usd)


class Hold:
    """Money that is kept back for one row. `left_usd` is what of it is not spent yet, drawn or not."""

    def __init__(self, purse: Purse, usd: float) -> None:
        self.left_usd = usd
        self._purse = purse
        self._drawn_usd = 0.0

    def draw(self, usd: float) -> None:
        """Set so much aside for one try, out of what no other try of the row has, else out of the purse. Raises `BudgetSpent` when
        it is in neither."""
        lacking = max(0.0, self._drawn_usd + usd - self.left_usd)
        if lacking and not self._purse.room(lacking):
            raise BudgetSpent(
                f"the cap is reached: another try may cost ${usd:.4f}, and that is no longer there; raise --max-usd"
            )
        self.left_usd += lacking
        self._drawn_usd += usd
        self._purse.move(held_usd=lacking)

    def pay(self, drawn_usd: float, usd: float) -> None:
        """End a try for which so much was set aside: what it cost is spent, and the rest is the row's again."""
        taken = min(usd, self.left_usd)
        self.left_usd -= taken
        self._drawn_usd = max(0.0, self._drawn_usd - drawn_usd)
        self._purse.move(held_usd=-taken, spent_usd=usd)

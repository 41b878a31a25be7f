"""Which models of a provider are offered to the fleet, and at which prices: read from one line of text; pure, and no vendor's.

    gpt-4o-mini=0.15/0.60/0.075 128k/16k 8b vision tools json, my-model

A model's name; `=` and its prices in US dollars per million tokens: input, output, and, where it is cheaper, input that the
provider had in its cache; then, in any order, the size of its context, perhaps with that of its longest answer behind a `/`, how
many billion parameters it is held to be worth (providers do not tell, and routing must know the stronger of two), and what it can
do. Prices change, so none are built in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from common.messages import ModelInfo
from common.openai_api import MOST_USD, Price

CAN = ("vision", "tools", "json", "text", "embedding")
"""What may stand behind a model: `text` alone says that it can do nothing else, and `embedding` that it does not chat."""

UNSAID = ("completion", "tools", "json")
"""What a model can do of which nothing is said: nearly all take tools and JSON, and not all see."""

UNSAID_ANSWER_TOKENS = 16_384
"""How long an answer may be of a model of which neither that nor the context is said; what most of them write at most."""

_CONTEXT = re.compile(r"(\d{1,9})([km]?)", re.IGNORECASE | re.ASCII)
_WORTH = re.compile(r"(\d{1,5}(?:\.\d{1,3})?)b", re.IGNORECASE | re.ASCII)
_PRICE = re.compile(r"\d{1,6}(\.\d{1,9})?", re.ASCII)
_UNITS = {"": 1, "k": 1000, "m": 1_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One model as it is offered. Without prices nobody knows what it costs, and no budget holds it."""

    name: str
    prices: Price | None = None
    context_tokens: int | None = None
    answer_tokens: int | None = None
    parameters_b: float | None = None
    capabilities: tuple[str, ...] = UNSAID

    @property
    def info(self) -> ModelInfo:
        """Give it as a heartbeat carries it; it is as good as in memory."""
        return ModelInfo(
            name=self.name,
            loaded=True,
            context_tokens=self.context_tokens,
            parameters_b=self.parameters_b,
            capabilities=self.capabilities,
            input_usd_per_mtok=self.prices.input if self.prices else None,
            output_usd_per_mtok=self.prices.output if self.prices else None,
        )

    def usd(self, prompt_tokens: int, answer_tokens: int, cached_tokens: int = 0) -> float:
        """Give what an answer costs; 0 where no price is known."""
        return self.prices.usd(prompt_tokens, answer_tokens, cached_tokens) if self.prices else 0.0

    def most_usd(self, prompt_tokens: int, max_tokens: int | None) -> float:
        """Give what an answer may cost: as long as the request, the model and its context allow, whichever is least. The prompt is
        not taken off the context, since its estimate may be too high."""
        known = [bound for bound in (max_tokens, self.answer_tokens, self.context_tokens) if bound is not None]
        return self.usd(prompt_tokens, min(known, default=UNSAID_ANSWER_TOKENS))


def offers(text: str) -> tuple[Offer, ...]:
    """Read them. Raises `ValueError` that quotes the part that is wrong."""
    found = [_offer(part) for part in re.split(r"[,\n]", text) if part.strip()]
    twice = next((one.name for one in found if sum(one.name == other.name for other in found) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} stands twice")
    return tuple(found)


def _offer(part: str) -> Offer:
    """Read one: 1. name and prices 2. what it is held to be worth 3. the sizes of its context and answers 4. what it can do."""
    named, *words = part.split()
    name, mark, prices = named.partition("=")  # 1
    if not name or len(name) > 200:
        raise ValueError(f"{part.strip()!r} names no model: write name=input/output, as in gpt-4o-mini=0.15/0.60")
    worth = [word for word in words if _WORTH.fullmatch(word)]  # 2
    if len(worth) > 1:
        raise ValueError(f"{part.strip()!r} has two numbers of parameters: {' and '.join(worth)}")
    words = [word for word in words if word not in worth]
    sizes = [word for word in words if word[0].isdigit()]
    if len(sizes) > 1:
        raise ValueError(f"{part.strip()!r} has two sizes of a context: {' and '.join(sizes)}")
    context, answer = _sizes(sizes[0]) if sizes else (None, None)  # 3
    return Offer(
        name=name,
        prices=_prices(part, prices) if mark else None,
        context_tokens=context,
        answer_tokens=answer,
        parameters_b=float(worth[0][:-1]) or None if worth else None,
        capabilities=_capabilities(word for word in words if word not in sizes),  # 4
    )


def _prices(part: str, text: str) -> Price:
    figures = [float(figure) if _PRICE.fullmatch(figure) else -1.0 for figure in text.split("/")]
    if len(figures) not in (2, 3) or not all(0 <= figure <= MOST_USD for figure in figures):
        raise ValueError(
            f"{part.strip()!r}: prices are input/output or input/output/cached, in dollars per million tokens, as in 0.15/0.60"
        )
    return Price(*figures)


def _sizes(word: str) -> tuple[int, int | None]:
    context, mark, answer = word.partition("/")
    return _tokens(context, word), _tokens(answer, word) if mark else None


def _tokens(size: str, word: str) -> int:
    found = _CONTEXT.fullmatch(size)
    if found is None or not (tokens := int(found[1]) * _UNITS[found[2].lower()]):
        raise ValueError(
            f"{word!r} is no size of a context: write 8192, 128k or 1m, with the longest answer behind it as in 128k/16k"
        )
    return tokens


def _capabilities(words: Iterable[str]) -> tuple[str, ...]:
    said = tuple(dict.fromkeys(words))
    unknown = next((word for word in said if word not in CAN), None)
    if unknown is not None:
        raise ValueError(f"{unknown!r} is nothing that a model can do: known are {', '.join(CAN)}")
    if "embedding" in said:
        return ("embedding",)
    return ("completion", *(word for word in said if word != "text")) if said else UNSAID

"""`drover lab label`: files, a server and money put together; what is asked and how it is read stand in the modules beside it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import Field

from common.errors import ConfigError
from common.openai_api import Price
from common.settings import ApiKey, Section, load
from dispatcher.cli.running import say
from dispatcher.lab.label import judge
from dispatcher.lab.label.money import Estimate, Purse, estimate, read_price
from dispatcher.lab.label.questions import Question, read_questions
from dispatcher.lab.label.run import Run, Tally, Wish
from dispatcher.lab.label.store import Store, open_store
from dispatcher.lab.label.view import progress, summary

if TYPE_CHECKING:
    from dispatcher.lab.label.server import Server

STOPPED = 3
"""The exit status when the run was stopped before its end: by the cap, the key, or a server that is gone."""


class KeySection(Section):
    """The key of the server that is asked."""

    api_key: ApiKey | None = Field(
        None, validation_alias="OPENAI_API_KEY", description="the server's key; one of your own may need none"
    )


@dataclass(frozen=True, slots=True)
class _Settings:
    key: KeySection


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Everything that the command line says."""

    source: Path
    output: Path
    url: str
    wish: Wish
    prompt_column: str = "prompt"
    domain_column: str = "domain"
    gold: str | None = None
    prices: Sequence[str] = ()
    max_usd: float | None = None
    limit: int | None = None
    concurrency: int = 4
    retries: int = 5
    timeout_s: float = 600.0
    yes: bool = False
    dry_run: bool = False
    asks: bool = field(default_factory=lambda: sys.stdin.isatty() and sys.stderr.isatty())


async def label_verb(order: Order) -> int:
    """Label the questions that have no label yet. Gives 0 when all have one, 1 when some could not be, `STOPPED` when it stopped.

    Raises `LabelsError` for files, and `ConfigError` for what can't be: no price for a cap, no leave to spend.
    """
    _check(order)
    every = read_questions(order.source, prompt=order.prompt_column, domain=order.domain_column, gold=order.gold)
    questions = every[: order.limit]
    key = load(_Settings).key.api_key
    if key is not None and not _is_private(order.url):
        say(
            f"OPENAI_API_KEY goes to {urlsplit(order.url).hostname} unencrypted: give --url with https:// unless that net is yours"
        )
    opened = _opener()(order.url, key, retries=order.retries, timeout_s=order.timeout_s)
    async with opened as server:
        prices = _prices(order, await server.prices())
        with open_store(order.output, _settings(order)) as store:
            left = [question for question in questions if question.prompt not in store.known]
            cost = estimate([call for question in left for call in order.wish.calls(question.prompt)], prices)
            say(f"{len(left)} of {len(questions)} rows to label: {cost}")
            if order.dry_run or not left:
                return 0
            _get_leave(order, cost, has_key=key is not None)
            tally = await _label(order, server, prices, left, store)
    if tally.stopped:
        return STOPPED
    return 1 if tally.failed or tally.unparsable else 0


async def _label(
    order: Order, server: Server, prices: Mapping[str, Price], left: Sequence[Question], store: Store
) -> Tally:
    """Ask, and tell in the end what came of it, also when it is broken off."""
    purse, known = Purse(order.max_usd, store.spent_usd, store.note), len(store.known)
    with progress(len(left), purse) as tell:
        run = Run(server, wish=order.wish, prices=prices, purse=purse, keep=store.add, tell=tell)
        try:
            await run.all(left, order.concurrency)
        finally:
            store.note(purse.spent_usd)
            told = summary(run.tally, purse, known=known, left=len(left))
            sys.stdout.write(f"{told}\nwritten: {order.output}\n")
    return run.tally


def _is_private(url: str) -> bool:
    """Tell whether nobody on the way can read what is sent there."""
    parts = urlsplit(url)
    return (
        parts.scheme == "https"
        or (parts.hostname or "") in ("localhost", "::1")
        or (parts.hostname or "").startswith("127.")
    )


def _check(order: Order) -> None:
    parts = urlsplit(order.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password or parts.query:
        raise ConfigError(
            "--url is a whole URL without a user, a password or a query, such as http://127.0.0.1:8080/v1"
        )
    if (order.wish.judge is None) == (order.gold is None):
        raise ConfigError("give --judge with a model, or --gold with the column of right answers")
    if order.wish.judge in (order.wish.weak, order.wish.strong):
        say(f"{order.wish.judge} judges its own answers: judges like those better, so take another one where you can")


def _prices(order: Order, listed: Mapping[str, Price]) -> dict[str, Price]:
    """Give the price of each model: as said, else as listed; a model that is pinned to a device is listed without it."""
    prices = {**listed, **dict(read_price(text) for text in order.prices)}
    for model in (order.wish.weak, order.wish.strong, order.wish.judge or ""):
        plain = model.rpartition("@")[0]
        if model not in prices and plain in prices:
            prices[model] = prices[plain]
    return prices


def _settings(order: Order) -> dict[str, object]:
    """Give what the labels depend on. Money, patience and the number of rows may change from run to run."""
    wish = {name: value for name, value in asdict(order.wish).items() if name != "system"}
    system = order.wish.system
    digest = None if system is None else hashlib.sha256(system.encode()).hexdigest()[:16]
    columns = {"prompt_column": order.prompt_column, "domain_column": order.domain_column, "gold_column": order.gold}
    return {**wish, "system_sha256": digest, "url": order.url, "judge_words": judge.VERSION, **columns}


def _get_leave(order: Order, cost: Estimate, *, has_key: bool) -> None:
    """See that money is spent only with leave: 1. a cap needs prices 2. free or capped or told so 3. asked for at a terminal."""
    if order.max_usd is not None and cost.unpriced:  # 1
        raise ConfigError(
            f"--max-usd can't hold what has no price: give --price {cost.unpriced[0]}=input/output, 0/0 for what costs nothing"
        )
    may_cost = cost.most_usd > 0 or (cost.unpriced and has_key)
    if not may_cost or order.max_usd is not None or order.yes:  # 2
        return
    if not order.asks:
        raise ConfigError("this may cost money, and nobody is there to ask: give --max-usd with a cap, or --yes")
    sys.stderr.write("drover: go on? [y/N] ")  # 3
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("not begun: give --max-usd with a cap, or --yes")


def _opener() -> Callable[..., AbstractAsyncContextManager[Server]]:
    try:
        from dispatcher.lab.label.server import open_server  # noqa: PLC0415  # its library is an extra, and takes a second
    except ModuleNotFoundError as error:
        raise ConfigError("labels need the openai package: install the extra lab of Drover's wheel") from error
    return open_server

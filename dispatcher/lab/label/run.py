"""One labelling: asks two models and a judge for each question, several at a time, within the money there is; files are not known
here, and no figures are drawn."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from common.errors import BadRequest, BudgetSpent, ConfigError, DeviceBusy, FleetError, UnknownModel
from common.openai_api import Price
from common.prompts import TOKENS_PER_MESSAGE, TOKENS_PER_TEMPLATE, text_tokens
from dispatcher.lab.label import judge
from dispatcher.lab.label.asking import Manner, Models, Reply
from dispatcher.lab.label.gold import matches
from dispatcher.lab.label.judge import Grades, Standing, Verdict
from dispatcher.lab.label.money import LIKELY_TOKENS, Call, Hold, Purse, worst_usd
from dispatcher.lab.label.questions import Question
from dispatcher.lab.label.store import Label

T = TypeVar("T")

IN_A_ROW = 10
"""After so many failures without an answer between them the server is taken to be gone."""

_HOPELESS = (ConfigError, BudgetSpent, UnknownModel)
"""No other row will do better."""

_TURNED_AWAY = (*_HOPELESS, BadRequest, DeviceBusy)
"""Nobody has computed anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Who answers, who judges (nobody where right answers are known), and how."""

    weak: str
    strong: str
    judge: str | None
    swap: bool = True
    system: str | None = None
    max_tokens: int = 512
    temperature: float | None = 0.0
    seed: int | None = None

    def messages(self, prompt: str) -> list[dict[str, str]]:
        """Write what a model is asked."""
        before = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*before, {"role": "user", "content": prompt}]

    def calls(self, prompt: str) -> Iterator[Call]:
        """Give the calls that a prompt takes if nothing goes wrong; tokens are estimates on the safe side."""
        asked = _tokens(self.messages(prompt))
        yield from (Call(model, asked, self.max_tokens) for model in (self.weak, self.strong))
        if self.judge is not None:
            read = _tokens(judge.request(prompt, "", "")) + 2 * min(LIKELY_TOKENS, self.max_tokens)
            for _ in range(2 if self.swap else 1):
                yield Call(self.judge, read, judge.VERDICT_TOKENS)

    def worst(self, prompt: str) -> list[Call]:
        """Give the calls with answers as long as they may be, and verdicts that must be asked for twice."""
        calls = list(self.calls(prompt))
        more = 2 * max(0, self.max_tokens - LIKELY_TOKENS)
        verdicts = [Call(one.model, one.prompt_tokens + more, one.most_tokens) for one in calls[2:]]
        again = [Call(one.model, one.prompt_tokens + 2 * one.most_tokens, one.most_tokens) for one in verdicts]
        return [*calls[:2], *verdicts, *again]


@dataclass(slots=True)
class Tally:
    """What came of it: rows by their standing, and the lines of those that came to nothing, each with the reason."""

    done: int = 0
    standings: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    failed: dict[int, str] = field(default_factory=dict)
    unparsable: list[int] = field(default_factory=list)
    stopped: str | None = None


class Run:
    """A run over questions. `keep` gets each label as it is done, before the next is counted; `tell` hears of progress."""

    def __init__(
        self,
        server: Models,
        *,
        wish: Wish,
        prices: Mapping[str, Price],
        purse: Purse,
        keep: Callable[[Label], None],
        tell: Callable[[Tally], None],
    ) -> None:
        self._server = server
        self._wish = wish
        self._prices = prices
        self._purse = purse
        self._keep = keep
        self._tell = tell
        self._failures = 0
        self.tally = Tally()

    async def all(self, questions: Sequence[Question], concurrency: int) -> None:
        """Label all questions, or as many as the money allows. Cancelling it keeps what is done."""
        waiting = iter(questions)

        async def work() -> None:
            for question in waiting:  # shared: each takes the next one
                if self.tally.stopped is not None:
                    return
                await self._row(question)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(concurrency, len(questions))):
                tasks.create_task(work())

    async def _row(self, question: Question) -> None:
        """Label one question: 1. while there is money for the worst case 2. with its faults named 3. and kept."""
        worst = sum(worst_usd(call, self._prices.get(call.model)) for call in self._wish.worst(question.prompt))
        if not self._purse.room(worst):  # 1
            self.tally.stopped = f"the cap is reached: a row may cost ${worst:.4f}, and that is no longer there"
            return
        with self._purse.hold(worst) as held:
            bill = _Bill(held, self._prices)
            try:
                label = await self._label(question, bill)
            except FleetError as error:  # 2
                self._fail(question, error)
            else:  # 3
                self._failures = 0
                if label is not None:
                    self.tally.done += 1
                    self.tally.standings[label.standing] += 1
                    self._keep(label)
        self._tell(self.tally)

    def _fail(self, question: Question, error: FleetError) -> None:
        self.tally.failed[question.line] = error.message
        self._failures += 1
        if isinstance(error, _HOPELESS):
            self.tally.stopped = error.message
        elif self._failures >= IN_A_ROW:
            self.tally.stopped = f"{self._failures} rows in a row failed, the last one so: {error.message}"

    async def _label(self, question: Question, bill: _Bill) -> Label | None:
        """Ask for both answers at once, then for the grades; None where no verdict could be read."""
        wish = self._wish
        asked = wish.messages(question.prompt)
        manner = Manner(max_tokens=wish.max_tokens, temperature=wish.temperature, seed=wish.seed)
        weak, strong = await _both(
            self._ask(wish.weak, asked, manner, bill), self._ask(wish.strong, asked, manner, bill)
        )
        for name, reply in (("weak", weak), ("strong", strong)):
            self.tally.cut[name] += reply.cut
        grades = (
            _by_gold(weak.text, strong.text, question.gold)
            if wish.judge is None
            else await self._judged(wish.judge, question.prompt, weak.text, strong.text, bill)
        )
        if grades is None:
            self.tally.unparsable.append(question.line)
            return None
        return Label(
            prompt=question.prompt,
            weak=grades.weak,
            strong=grades.strong,
            weak_response=weak.text,
            domain=question.domain,
            strong_response=strong.text,
            standing=grades.standing,
            cost_usd=bill.usd,
        )

    async def _judged(self, model: str, prompt: str, weak: str, strong: str, bill: _Bill) -> Grades | None:
        """Have the pair judged: 1. one answer twice is a tie, whatever its grade 2. in both orders 3. or in one."""
        if weak.strip() == strong.strip():  # 1
            once = await self._verdict(model, prompt, weak, strong, bill)
            level = (once.first + once.second) / 2 if once else 0.0
            return Grades(level, level, Standing.TIE) if once else None
        if self._wish.swap:  # 2
            forth, back = await _both(
                self._verdict(model, prompt, weak, strong, bill), self._verdict(model, prompt, strong, weak, bill)
            )
            return judge.settle(forth, back.turned) if forth and back else None
        if judge.weak_first(prompt):  # 3
            found = await self._verdict(model, prompt, weak, strong, bill)
        else:
            turned = await self._verdict(model, prompt, strong, weak, bill)
            found = turned.turned if turned else None
        return judge.settle(found, None) if found else None

    async def _verdict(self, model: str, prompt: str, first: str, second: str, bill: _Bill) -> Verdict | None:
        """Ask the judge, and once more when its reply can't be read."""
        manner = Manner(
            max_tokens=judge.VERDICT_TOKENS,
            temperature=self._wish.temperature,
            seed=self._wish.seed,
            schema=judge.SCHEMA,
        )
        messages = judge.request(prompt, first, second)
        reply = await self._ask(model, messages, manner, bill)
        verdict = judge.read_verdict(reply.text)
        if verdict is None:
            again = await self._ask(model, judge.repair(messages, reply.text), manner, bill)
            verdict = judge.read_verdict(again.text)
        return verdict

    async def _ask(self, model: str, messages: list[dict[str, str]], manner: Manner, bill: _Bill) -> Reply:
        with bill.open(Call(model, _tokens(messages), manner.max_tokens)) as paid:
            reply = await self._server.ask(model, messages, manner, paid.lost)
            paid.by(reply)
        return reply


class _Bill:
    """What one row costs, out of what is held for it."""

    def __init__(self, held: Hold, prices: Mapping[str, Price]) -> None:
        self.usd = 0.0
        self._held = held
        self._prices = prices

    @contextmanager
    def open(self, call: Call) -> Iterator[_Charge]:
        """Count a call: by what the reply says, and as dear as can be when it broke off, since it may have been computed. Raises
        `BudgetSpent` when not even the first try fits."""
        charge = _Charge(self._held, call, self._prices.get(call.model))
        try:
            yield charge
        except FleetError as error:
            if not isinstance(error, _TURNED_AWAY) and "status" not in error.details:
                charge.broke_off()
            raise
        except asyncio.CancelledError:
            charge.broke_off()
            raise
        finally:
            charge.close()
            self.usd += charge.usd


class _Charge:
    """What one call has cost, and what is set aside for the try that runs."""

    def __init__(self, held: Hold, call: Call, price: Price | None) -> None:
        self.usd = 0.0
        self._held = held
        self._price = price
        self._worst_usd = worst_usd(call, price)
        held.draw(self._worst_usd)
        self._runs = True

    def by(self, reply: Reply) -> None:
        """Count an answer: its tokens at our price, else what the server says."""
        known = self._price.usd(reply.prompt_tokens, reply.answer_tokens) if self._price else None
        self._pay((reply.cost_usd or 0.0) if known is None else known)

    def lost(self) -> None:
        """Count a try of which nothing came, and set aside as much for the next one. Raises `BudgetSpent` when there is no room."""
        self._pay(self._worst_usd)
        self._held.draw(self._worst_usd)
        self._runs = True

    def broke_off(self) -> None:
        """Count the last try as dear as it can be; one that was counted is not counted again."""
        if self._runs:
            self._pay(self._worst_usd)

    def close(self) -> None:
        """Give back what is set aside for a try that cost nothing."""
        if self._runs:
            self._pay(0.0)

    def _pay(self, usd: float) -> None:
        self._runs = False
        self._held.pay(self._worst_usd, usd)
        self.usd += usd


async def _both(one: Coroutine[Any, Any, T], other: Coroutine[Any, Any, T]) -> tuple[T, T]:
    """Await both at once. Of two errors the first is raised, bare."""
    try:
        async with asyncio.TaskGroup() as tasks:
            left, right = tasks.create_task(one), tasks.create_task(other)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return left.result(), right.result()


def _by_gold(weak: str, strong: str, gold: str | None) -> Grades:
    right = gold or ""
    return Grades(float(matches(weak, right)), float(matches(strong, right)), Standing.GOLD)


def _tokens(messages: Sequence[Mapping[str, str]]) -> int:
    return TOKENS_PER_TEMPLATE + sum(TOKENS_PER_MESSAGE + text_tokens(one["content"]) for one in messages)

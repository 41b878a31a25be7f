"""What paid models have cost, and whether there is money left: a small file that outlives the agent; it knows no provider.

Money is spent when an answer has ended. What it may cost at most is held back before it begins, and stands in the file by then: an
agent that was killed books what it held as spent when it starts again. A budget may be overrun by as much as an estimate was too
low. The file is written whole and moved into place: a crash loses nothing, a power cut perhaps the last few seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from agents.backends import Bill
from common import codec
from common.clock import Clock
from common.errors import BadRequest, BudgetSpent, ConfigError
from common.logs import get_logger

log = get_logger("purse")

Usd = Annotated[float, Ge(0)]

LEAST_PLAIN_USD = 1.0
DUST_USD = 1e-9
"""Sums of floats differ by less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Dollars, of the day (UTC) and in all; and what is held back for what runs."""

    day: str = ""
    day_usd: Usd = 0.0
    total_usd: Usd = 0.0
    held_usd: Usd = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits in dollars; None is no limit."""

    day_usd: float | None = None
    total_usd: float | None = None


class Purse:
    """The account of one agent. Made by `open_purse`."""

    def __init__(self, path: Path, budget: Budget, spent: Spent, clock: Clock) -> None:
        self._path = path
        self.budget = budget
        self._account = spent
        self._clock = clock
        self._broken: str | None = None

    @property
    def spent(self) -> Spent:
        """What was spent today, and in all, and what is held back."""
        today = self._now().date().isoformat()
        return self._account if self._account.day == today else replace(self._account, day=today, day_usd=0.0)

    def empty(self) -> BudgetSpent | None:
        """Say that the money is spent, and what to do; None while there is some."""
        if self._broken is not None:
            self._keep(self.spent)  # there may be room again
        return self._refusal(0.0, held=0.0)

    def refusal(self, estimate_usd: float = 0.0) -> BudgetSpent | None:
        """The same, for an answer that may cost so much, with all that is held back taken for spent."""
        return self._refusal(estimate_usd, held=self._account.held_usd)

    @contextmanager
    def hold(self, estimate_usd: float) -> Iterator[Bill]:
        """Hold back an estimate while an answer runs, at once and in the file; what its bill says is spent, however it ended.

        Raises `BudgetSpent` when there is not so much left, or when it can't be written down though there is a budget.
        """
        bill = _Held(self, estimate_usd)
        refusal = bill.again()
        if refusal is not None:
            raise refusal
        try:
            yield bill
        finally:
            bill.settle()

    def move(self, *, held_usd: float = 0.0, spent_usd: float = 0.0) -> None:
        """Change what is held back, and what was spent, by so much."""
        if not held_usd and not spent_usd:
            return
        before = self.spent
        held = before.held_usd + held_usd
        self._keep(
            replace(
                before,
                day_usd=before.day_usd + spent_usd,
                total_usd=before.total_usd + spent_usd,
                held_usd=held if held > DUST_USD else 0.0,
            )
        )

    def _refusal(self, estimate: float, *, held: float) -> BudgetSpent | None:
        """1. Nobody could tell after a restart what was spent. 2. In all. 3. Today."""
        spent, budget = self.spent, self.budget
        if (unwritten := self.unwritten()) is not None:  # 1
            return unwritten
        if budget.total_usd is not None and (words := _short(spent.total_usd, budget.total_usd, estimate, held)):  # 2
            return BudgetSpent(f"the budget for paid models {words}raise DROVER_CLOUD_BUDGET_USD")
        if budget.day_usd is not None and (words := _short(spent.day_usd, budget.day_usd, estimate, held)):  # 3
            # What is held back may be free again much sooner.
            alone = _short(spent.day_usd, budget.day_usd, estimate, 0.0)
            return BudgetSpent(
                f"today's budget for paid models {words}wait for 00:00 UTC, or raise DROVER_CLOUD_BUDGET_DAY_USD",
                retry_after_s=self._until_tomorrow_s() if alone else None,
            )
        return None

    @property
    def limited(self) -> bool:
        """True when there is a budget."""
        return self.budget.day_usd is not None or self.budget.total_usd is not None

    def unwritten(self) -> BudgetSpent | None:
        """Say that there is a budget, and that the account can't be written."""
        if self._broken is None or not self.limited:
            return None
        return BudgetSpent(f"what paid models cost can't be written to {self._path} ({self._broken}): make room there")

    def _keep(self, account: Spent) -> None:
        self._account = account
        try:
            _write(self._path, account)
        except OSError as error:
            if self._broken is None:
                log.warning("purse.unwritten", path=str(self._path), error=error.strerror)
            self._broken = error.strerror or type(error).__name__
        else:
            self._broken = None

    def _until_tomorrow_s(self) -> float:
        now = self._now()
        tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return (tomorrow - now).total_seconds()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.unix_s(), UTC)


class _Held(Bill):
    """The bill of one answer, and what is still held back for it."""

    def __init__(self, purse: Purse, estimate_usd: float) -> None:
        super().__init__()
        self._purse = purse
        self._estimate_usd = estimate_usd
        self._left_usd = 0.0

    def owe(self, usd: float, *, estimated: bool) -> None:
        """Spend it at once, out of what is held back."""
        super().owe(usd, estimated=estimated)
        drawn = min(usd, self._left_usd)
        self._left_usd -= drawn
        self._purse.move(held_usd=-drawn, spent_usd=usd)

    def again(self) -> BudgetSpent | None:
        lacking = self._estimate_usd - self._left_usd
        refusal = self._purse.refusal(lacking)
        if refusal is not None:
            return refusal
        self._purse.move(held_usd=lacking)
        if (refusal := self._purse.unwritten()) is not None:
            self._purse.move(held_usd=-lacking)
            return refusal
        self._left_usd = self._estimate_usd
        return None

    def settle(self) -> None:
        """Give back what is held."""
        self._purse.move(held_usd=-self._left_usd)
        self._left_usd = 0.0


def open_purse(path: Path, budget: Budget, clock: Clock) -> Purse:
    """Read the account, or begin one; what an agent before still held when it died is booked as spent. Raises `ConfigError` when
    the file can't be read or written: money that was spent must not be forgotten."""
    try:
        spent = codec.build(Spent, codec.decode(path.read_bytes())) if path.exists() else Spent()
        path.parent.mkdir(parents=True, exist_ok=True)
        spent = _booked(spent)
        _write(path, spent)
    except OSError as error:
        raise ConfigError(
            f"{path} keeps what paid models have cost, and can't be used ({error.strerror}): mend that, or set DROVER_STATE_DIR"
        ) from error
    except BadRequest as error:
        raise ConfigError(
            f"{path} keeps what paid models have cost, and can't be read ({error.message}): mend it, or delete it to begin at 0"
        ) from error
    return Purse(path, budget, spent, clock)


def _booked(found: Spent) -> Spent:
    """Count what was held as spent, on the day on which it was written: whether it was, only the provider knows."""
    if not found.held_usd:
        return found
    log.warning("purse.leftover_booked", usd=round(found.held_usd, 6))
    return replace(
        found,
        day_usd=found.day_usd + found.held_usd,
        total_usd=found.total_usd + found.held_usd,
        held_usd=0.0,
    )


def _short(spent: float, budget: float, estimate: float, held: float) -> str:
    """Say how a budget falls short of an answer that may cost so much; nothing when it does not."""
    left = budget - spent - held
    running = f", and {_usd(held)} USD are held back for what runs" if held else ""
    if left <= DUST_USD:
        return f"is spent ({_usd(spent)} of {_usd(budget)} USD{running}): "
    if estimate > left + DUST_USD:
        return (
            f"does not hold this answer, which may cost up to {_usd(estimate)} USD: {_usd(left)} are left ({_usd(spent)} of "
            f"{_usd(budget)} USD are spent{running}): allow it fewer tokens (max_tokens), say in DROVER_CLOUD_MODELS how long "
            "answers may be (as in 128k/16k), or "
        )
    return ""


def _usd(amount: float) -> str:
    """Write dollars with two digits behind the point, and small amounts with two digits that tell something."""
    if amount <= 0.0 or amount >= LEAST_PLAIN_USD:
        return f"{amount:.2f}"
    return f"{amount:.{min(9, 1 - math.floor(math.log10(amount)))}f}"


def _write(path: Path, spent: Spent) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(codec.encode(codec.plain(spent)))
    beside.replace(path)

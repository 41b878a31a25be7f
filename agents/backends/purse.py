"""What paid models have cost, and whether there is money left: a small file that outlives the agent; it knows no provider.

Money is spent when an answer has ended, so what runs is held back meanwhile, by estimate. A budget may be overrun by as much as
those estimates are wrong. The file is written whole and moved into place: a crash loses nothing, a power cut perhaps the last
few seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from common import codec
from common.clock import Clock
from common.errors import BadRequest, BudgetSpent, ConfigError
from common.logs import get_logger

log = get_logger("purse")

Usd = Annotated[float, Ge(0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Dollars, of the day (UTC) and in all."""

    day: str = ""
    day_usd: Usd = 0.0
    total_usd: Usd = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits in dollars; None is no limit."""

    day_usd: float | None = None
    total_usd: float | None = None


class Bill:
    """What one answer costs, as far as is known so far."""

    def __init__(self) -> None:
        self.usd = 0.0


class Purse:
    """The account of one agent. Made by `open_purse`."""

    def __init__(self, path: Path, budget: Budget, spent: Spent, clock: Clock) -> None:
        self._path = path
        self._budget = budget
        self._spent = spent
        self._clock = clock
        self._held = 0.0
        self._broken: str | None = None

    @property
    def spent(self) -> Spent:
        """What was spent today, and in all."""
        today = self._now().date().isoformat()
        return self._spent if self._spent.day == today else replace(self._spent, day=today, day_usd=0.0)

    def empty(self) -> BudgetSpent | None:
        """Say that the money is spent, and what to do; None while there is some."""
        return self._refusal(held=0.0)

    def refusal(self) -> BudgetSpent | None:
        """The same, with what the answers that run are likely to cost taken for spent."""
        return self._refusal(held=self._held)

    @contextmanager
    def hold(self, estimate_usd: float) -> Iterator[Bill]:
        """Hold back an estimate while an answer runs; what its bill says at the end is spent, however it ended."""
        bill = Bill()
        self._held += estimate_usd
        try:
            yield bill
        finally:
            self._held -= estimate_usd
            if bill.usd:
                self._pay(bill.usd)

    def _refusal(self, *, held: float) -> BudgetSpent | None:
        """1. Nobody could tell after a restart what was spent. 2. In all. 3. Today."""
        spent, budget = self.spent, self._budget
        running = f", and {held:.2f} USD are held back for what runs" if held else ""
        limited = budget.day_usd is not None or budget.total_usd is not None
        if self._broken and limited:  # 1
            return BudgetSpent(
                f"what paid models cost can't be written to {self._path} ({self._broken}): make room there"
            )
        if budget.total_usd is not None and spent.total_usd + held >= budget.total_usd:  # 2
            return BudgetSpent(
                f"the budget for paid models is spent ({spent.total_usd:.2f} of {budget.total_usd:.2f} USD{running}): "
                "raise DROVER_CLOUD_BUDGET_USD"
            )
        if budget.day_usd is not None and spent.day_usd + held >= budget.day_usd:  # 3
            return BudgetSpent(
                f"today's budget for paid models is spent ({spent.day_usd:.2f} of {budget.day_usd:.2f} USD{running}): "
                "wait for 00:00 UTC, or raise DROVER_CLOUD_BUDGET_DAY_USD",
                retry_after_s=self._until_tomorrow_s(),
            )
        return None

    def _pay(self, usd: float) -> None:
        before = self.spent
        self._spent = replace(before, day_usd=before.day_usd + usd, total_usd=before.total_usd + usd)
        try:
            _write(self._path, self._spent)
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


def open_purse(path: Path, budget: Budget, clock: Clock) -> Purse:
    """Read the account, or begin one. Raises `ConfigError` when the file can't be read or written: money that was spent must not
    be forgotten."""
    try:
        spent = codec.build(Spent, codec.decode(path.read_bytes())) if path.exists() else Spent()
        path.parent.mkdir(parents=True, exist_ok=True)
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


def _write(path: Path, spent: Spent) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(codec.encode(codec.plain(spent)))
    beside.replace(path)

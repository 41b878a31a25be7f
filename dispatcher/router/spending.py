"""What each tenant has had of the strong models: a budget for every tenant of one trained judge; it decides nothing.

Each holds the owner's share by itself, so that all together do, and no tenant's hard questions or pins take from another's.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from dispatcher.routing.budget import Budget
from dispatcher.routing.multi import MultiRouter
from dispatcher.routing.trained import TrainedRouter

MOST_TENANTS = 256
"""Budgets that are kept, some 16 KB each; whoever has not asked for longest begins anew."""


class Spending:
    """The budgets of all tenants. Scores of one judge say nothing of another's, so they all begin anew with another one."""

    def __init__(self) -> None:
        self._judge: TrainedRouter | MultiRouter | None = None
        self._prior: tuple[float, ...] = ()
        self._budgets: OrderedDict[str, Budget] = OrderedDict()

    def of(self, tenant: str, judge: TrainedRouter | MultiRouter, share: float) -> Budget:
        """Give a tenant's budget for a wished share of strong calls."""
        if self._judge is not judge:
            self._judge, self._prior = judge, tuple(map(float, judge.quantiles))
            self._budgets.clear()
        known = self._budgets.get(tenant)
        return Budget(share=share, prior=self._prior) if known is None else replace(known, share=share)

    def keep(self, tenant: str, budget: Budget) -> None:
        """Keep a tenant's budget after a decision, or when it is settled."""
        self._budgets[tenant] = budget
        self._budgets.move_to_end(tenant)
        if len(self._budgets) > MOST_TENANTS:
            self._budgets.popitem(last=False)

    def settle(self, tenant: str, budget: Budget, *, booked: bool | None, ran: bool | None) -> None:
        """Set a tenant's budget right by the tier that ran: None where none did, or none was booked."""
        if booked is None and ran is not None:
            self.keep(tenant, budget.after(None, strong=ran))
        elif booked is not None and booked is not ran:
            self.keep(tenant, budget.settled(booked=booked, ran=ran))

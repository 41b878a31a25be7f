"""What a job may use at most, before it runs: set aside of its key's budgets, and kept to by the job itself; plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from common.keys import Grant, Reservation, Unit
from common.messages import ChatRequest, reading
from common.prompts import prompt_tokens
from common.virtual import resolved
from dispatcher.bridge.presence import may_answer
from dispatcher.fleet import Fleet

MOST_ANSWER_TOKENS = 4096
"""What an answer may have whose request sets no limit, where its key has a budget: without a bound nothing could be set aside."""

LEAST_ANSWER_TOKENS = 64
"""What such an answer has at least: where a budget has less than the above left, it is bounded by that, and a sentence or two is
more to its reader than a refusal. Not under an id that its client has chosen: the bound is a part of what is asked, and who comes
again must ask the same."""

USUAL_S = 600.0
"""What a job has by the dispatcher's default."""

MARGIN_S = 120.0
"""For the record's way to the ledger."""

MICRO = 1e6


@dataclass(frozen=True, slots=True)
class Worth:
    """The request with its bounds, and what they come to; `paid` tells that part of it is money."""

    request: ChatRequest
    reservation: Reservation

    @property
    def paid(self) -> bool:
        return self.reservation.micro_usd > 0

    def unpaid(self) -> Worth:
        """Give the same without money: only what costs none may answer."""
        return Worth(replace(self.request, max_cost_usd=0.0), replace(self.reservation, micro_usd=0))

    def within(self, tokens: int | None, micro_usd: int | None = None) -> ChatRequest:
        """Give the request so that it keeps to what was set aside, where that is less than it wanted."""
        request = self.request
        if micro_usd is not None and request.max_cost_usd is not None and micro_usd < self.reservation.micro_usd:
            request = replace(request, max_cost_usd=min(request.max_cost_usd, micro_usd / MICRO))
        fewer = 0 if tokens is None else self.reservation.tokens - tokens
        limit = request.options.max_tokens
        if fewer <= 0 or limit is None:
            return request
        return replace(request, options=replace(request.options, max_tokens=max(1, limit - fewer)))


def worth(chat: ChatRequest, grant: Grant, fleet: Fleet) -> Worth:
    """Bound a request, which says what its key is for, by the budgets of that: the length of the answer, and where money is counted
    its price."""
    bounded = chat
    unbounded = bool(grant.budgets) and chat.options.max_tokens is None and not chat.inputs
    if unbounded:
        bounded = replace(chat, options=replace(chat.options, max_tokens=MOST_ANSWER_TOKENS))
    prompt = prompt_tokens(reading(bounded, bounded.kind), bounded.tools)
    answer = bounded.options.max_tokens or 0
    usd = _dearest_usd(bounded, fleet, prompt, answer)
    if any(one.unit is Unit.MONEY for one in grant.budgets):
        bounded = replace(bounded, max_cost_usd=usd)
    reservation = Reservation(
        key=grant.key,
        tenant=grant.tenant,
        job=str(chat.job),
        tokens=prompt + answer,
        micro_usd=math.ceil(usd * MICRO),
        least_tokens=prompt + LEAST_ANSWER_TOKENS if unbounded and chat.resends == 0 else None,
        expires_s=(chat.timeout_s or USUAL_S) + chat.keep_s + MARGIN_S,
    )
    return Worth(bounded, reservation)


def _dearest_usd(chat: ChatRequest, fleet: Fleet, prompt_tokens: int, answer_tokens: int) -> float:
    """Give the most that the answer can cost with any model that may give it, and no more than the request allows."""
    if resolved(chat).local:
        return 0.0
    dearest = max(
        (
            prompt_tokens * (one.input_usd_per_mtok or 0.0) + answer_tokens * (one.output_usd_per_mtok or 0.0)
            for one in may_answer(chat, fleet)
        ),
        default=0.0,
    )
    return min(dearest / MICRO, math.inf if chat.max_cost_usd is None else chat.max_cost_usd)


def has_free(chat: ChatRequest, fleet: Fleet) -> bool:
    """Tell whether any model may answer that costs no money."""
    return any(not one.input_usd_per_mtok and not one.output_usd_per_mtok for one in may_answer(chat, fleet))

"""What a request asks for in its headers, beside its body: read, checked, and described for `/openapi.json`; no socket here."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.request import parse_http_list

from common.errors import BadRequest
from common.messages import CacheWish, ChatRequest, Priority, require_key
from common.subjects import as_token, is_token
from dispatcher.bridge.headers import (
    CACHE_HEADER,
    CONTROL_HEADER,
    CONVERSATION_HEADER,
    COST_HEADER,
    JOB_HEADER,
    KEY_HEADER,
    PRIORITY_HEADER,
    PROGRESS_HEADER,
    STRATEGY_HEADER,
    TASK_HEADER,
    TIMEOUT_HEADER,
)
from dispatcher.bridge.openai.request import MOST_COST_USD, MOST_STRATEGY, strategy_name

MOST_TIMEOUT_S = 86_400.0
IDEMPOTENCY_HEADER = "idempotency-key"

V = TypeVar("V")


def conversation(headers: Mapping[str, str], in_body: str | None) -> str | None:
    """Give the conversation that a chat belongs to, by header or body; None where it belongs to none. Raises `BadRequest`."""
    name = _agreed(CONVERSATION_HEADER, headers.get(CONVERSATION_HEADER), "conversation_id", in_body)
    if name is not None and not is_token(name):
        raise BadRequest(
            f"conversation_id {name[:64]!r} can be none: send new, or the id that a conversation was given",
            param="conversation_id",
        )
    return name


def wished(chat: ChatRequest, headers: Mapping[str, str]) -> ChatRequest:
    """Add what the headers ask for. Raises `BadRequest`, also where header and body say different things."""
    wishes = {
        "timeout_s": _agreed(TIMEOUT_HEADER, timeout_s(headers), "timeout_s", chat.timeout_s),
        "strategy": _agreed(STRATEGY_HEADER, strategy(headers), "strategy", chat.strategy),
        "max_cost_usd": _agreed(COST_HEADER, max_cost_usd(headers), "max_cost_usd", chat.max_cost_usd),
        "provider_key": provider_key(headers) or chat.provider_key,
        "cache": _stricter(_agreed(CACHE_HEADER, cache(headers), "cache", chat.cache), cache_control(headers)),
    }
    new: dict[str, Any] = {name: wish for name, wish in wishes.items() if wish != getattr(chat, name)}
    return replace(chat, **new) if new else chat  # most clients ask for none of it


def require_known(headers: Mapping[str, str]) -> None:
    """Refuse a header that looks like one of ours, and is none: who misspells a limit would think that it holds. Raises
    `BadRequest`."""
    for name in headers:
        lower = name.lower()
        if lower.startswith(_OURS) and lower not in _KNOWN:
            near = difflib.get_close_matches(lower, sorted(_KNOWN), n=1, cutoff=0.0)[0]
            raise BadRequest(
                f"there is no header {name[:64]!r}: write {near}, or leave it out (/docs lists all)", param=name[:64]
            )


_OURS = "x-drover-"
_KNOWN = frozenset(
    {
        *(CACHE_HEADER, CONVERSATION_HEADER, COST_HEADER, JOB_HEADER, KEY_HEADER, PRIORITY_HEADER, PROGRESS_HEADER),
        *(STRATEGY_HEADER, TASK_HEADER, TIMEOUT_HEADER),
    }
)


def _stricter(*wishes: CacheWish | None) -> CacheWish | None:
    """Give the one that allows the least. No wish leaves it to the fleet's owner."""
    return min((one for one in wishes if one is not None), key=list(CacheWish).index, default=None)


def _agreed(header: str, in_header: V | None, field: str, in_body: V | None) -> V | None:
    """Give what one of the two says, or both alike: who wants two things gets neither."""
    if in_header is not None and in_body is not None and in_header != in_body:
        raise BadRequest(f"{header} says {in_header}, and the body's {field} {in_body}: send one of them", param=field)
    return in_body if in_header is None else in_header


def job_id(headers: Mapping[str, str]) -> str | None:
    """The job's id as its caller chose it, so that sending twice runs once.

    A name that can't stand in a subject keeps its readable part, and a digest keeps two such names apart.
    """
    given = headers.get(JOB_HEADER) or headers.get(IDEMPOTENCY_HEADER)
    if not given:
        return None
    token = as_token(given)
    if token == given:
        return token
    return f"{token[:40]}-{hashlib.sha256(given.encode()).hexdigest()[:16]}"


def timeout_s(headers: Mapping[str, str]) -> float | None:
    """The total time in seconds that a header allows, if one does. Raises `BadRequest` for what is none."""
    given = headers.get(TIMEOUT_HEADER)
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MOST_TIMEOUT_S:
        raise BadRequest(
            f"{TIMEOUT_HEADER} is {given[:40]!r}: send seconds above 0, at most {MOST_TIMEOUT_S:.0f}",
            param=TIMEOUT_HEADER,
        )
    return seconds


def progress(headers: Mapping[str, str], *, stream: bool) -> bool:
    """Whether a header asks for every step. Raises `BadRequest` for what is no answer to that, or where there is no stream."""
    given = headers.get(PROGRESS_HEADER, "0").strip()
    if given not in {"0", "1"}:
        raise BadRequest(f"{PROGRESS_HEADER} is {given[:40]!r}: send 1, or leave it out", param=PROGRESS_HEADER)
    if given == "1" and not stream:
        raise BadRequest(
            f'{PROGRESS_HEADER} is told in a stream, and this is none: send "stream": true as well, or leave the header out',
            param=PROGRESS_HEADER,
        )
    return given == "1"


def priority(headers: Mapping[str, str]) -> Priority | None:
    """The priority that a header asks for, if one does. Raises `BadRequest` for one that there is not.

    What a program does in the background waits for what people wait for, unless it says otherwise: a chat page names such a task
    in a header of its own, and leaves that empty for what its user asks.
    """
    given = headers.get(PRIORITY_HEADER)
    if given is None:
        return Priority.BATCH if headers.get(TASK_HEADER, "").strip() else None
    try:
        return Priority(given.strip().lower())
    except ValueError:
        raise BadRequest(
            f"{PRIORITY_HEADER} is {given[:40]!r}: send one of {', '.join(Priority)}", param=PRIORITY_HEADER
        ) from None


def strategy(headers: Mapping[str, str]) -> str | None:
    """How the device is to be chosen, as a header says; the dispatcher knows which strategies there are. Raises `BadRequest`."""
    given = headers.get(STRATEGY_HEADER)
    if given is not None and len(given) > MOST_STRATEGY:
        raise BadRequest(
            f"{STRATEGY_HEADER} has {len(given)} characters: at most {MOST_STRATEGY}", param=STRATEGY_HEADER
        )
    return None if given is None else strategy_name(given)


def max_cost_usd(headers: Mapping[str, str]) -> float | None:
    """What the answer may cost, as a header says. Raises `BadRequest`."""
    given = headers.get(COST_HEADER)
    if given is None:
        return None
    try:
        limit_usd = float(given)
    except ValueError:
        limit_usd = -1.0
    if not 0.0 <= limit_usd <= MOST_COST_USD:
        raise BadRequest(f"{COST_HEADER} is {given[:40]!r}: send US dollars, such as 0.002", param=COST_HEADER)
    return limit_usd


def provider_key(headers: Mapping[str, str]) -> str | None:
    """The key that a paid model is to be asked with, as a header says. Raises `BadRequest`, which does not quote it."""
    given = headers.get(KEY_HEADER)
    try:
        return None if given is None else require_key(given.strip())
    except ValueError as error:
        raise BadRequest(f"{KEY_HEADER}: {error}", param=KEY_HEADER) from None


def cache(headers: Mapping[str, str]) -> CacheWish | None:
    """Which answers that were given before will do, as a header says. Raises `BadRequest` for a word that there is not."""
    given = headers.get(CACHE_HEADER)
    if given is None:
        return None
    try:
        return CacheWish(given.strip().lower())
    except ValueError:
        raise BadRequest(
            f"{CACHE_HEADER} is {given[:40]!r}: send one of {', '.join(CacheWish)}", param=CACHE_HEADER
        ) from None


def cache_control(headers: Mapping[str, str]) -> CacheWish | None:
    """What HTTP's own header forbids; it never allows anything, since browsers and proxies add it without being asked, and what
    they add may cost a hit and no more.

    1. `no-store`: no answer from the cache, and this one is not kept. 2. `no-cache` and `max-age=0`: this one is. The others say
    nothing here.
    """
    if CONTROL_HEADER not in headers:
        return None
    given = [value for name, value in headers.items() if name.lower() == CONTROL_HEADER]
    directives = {_directive(part) for value in given for part in parse_http_list(value)}
    if "no-store" in directives:  # 1
        return CacheWish.OFF
    return CacheWish.REFRESH if directives & {"no-cache", "max-age=0"} else None  # 2


def _directive(part: str) -> str:
    """Give a directive in one spelling; what `no-cache` names besides is for answers, and says nothing of a request."""
    name, _, value = (side.strip().lower() for side in part.partition("="))
    if name != "max-age":
        return name
    seconds = value.strip('"')
    return "max-age=0" if seconds and not seconds.strip("0") else name


def _parameter(name: str, what: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": what, "schema": schema}


ROUTE_PARAMETERS = (
    _parameter(
        "X-Drover-Strategy",
        "how the device is chosen, such as `hybrid`, `token:500` or `energy:eco`; the body's `strategy` means the same",
        type="string",
        maxLength=MOST_STRATEGY,
    ),
    _parameter(
        "X-Drover-Max-Cost-USD",
        "keeps the job from models that may cost more; the body's `max_cost_usd` means the same",
        type="number",
        minimum=0,
        maximum=MOST_COST_USD,
    ),
    _parameter(
        "X-Drover-Provider-Key",
        "the key that paid models are asked with, in place of the fleet's own: whoever sends it pays",
        type="string",
        format="password",
    ),
    _parameter(
        "X-Drover-Cache",
        "which answers that were given before will do; the body's `cache` means the same",
        type="string",
        enum=[str(one) for one in CacheWish],
    ),
    _parameter(
        "Cache-Control",
        "`no-store`: no answer from the cache, and this one is not kept; `no-cache` or `max-age=0`: no answer from the cache, and "
        "this one is kept. It wins over what `cache` allows; other directives are ignored",
        type="string",
    ),
)
"""What also counts where a chat is explained, and not run."""

CONVERSATION_PARAMETER = _parameter(
    "X-Drover-Conversation",
    "the conversation that a chat belongs to, or `new`; the body's `conversation_id` means the same",
    type="string",
    maxLength=64,
)

CHAT_PARAMETERS = (
    _parameter(
        "X-Drover-Priority",
        "while jobs wait for devices; it wins over `service_tier`",
        type="string",
        enum=[str(one) for one in Priority],
    ),
    _parameter(
        "X-Drover-Task",
        "what the program does in the background with this chat, such as a title: it then waits for chats that people wait for. "
        "Open WebUI fills it in where a connection has the header `X-Drover-Task: {{TASK}}`",
        type="string",
    ),
    _parameter("X-Drover-Timeout", "seconds in all", type="number", exclusiveMinimum=0, maximum=MOST_TIMEOUT_S),
    _parameter(
        "X-Drover-Progress", "1: a stream tells each step, also the place in the queue", type="string", enum=["0", "1"]
    ),
    _parameter("X-Drover-Job", "the job's id: the same id again is the same job, and runs once", type="string"),
    _parameter("Idempotency-Key", "another name of X-Drover-Job", type="string"),
    *ROUTE_PARAMETERS,
)
"""What is read from the headers of a chat."""

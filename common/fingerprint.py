"""What makes two requests the same: a short name of what was asked; it knows neither lane nor who asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common import codec
from common.errors import BadRequest
from common.messages import ChatRequest, Message, Priority, conversation


def fingerprint(request: ChatRequest) -> str:
    """Name what was asked: two requests of one name have the same answer. How it is to be delivered, and until when, is no part.

    What it may be answered by is: else who knows a job's id would be given what a model or device said that is closed to him.
    """
    said = _said(request)
    asked = {**{name: value for name, value in codec.plain(request).items() if name not in _LEFT_OUT}, **_AS_IF}
    if said is not request.messages:
        asked["messages"] = [codec.plain(one) for one in said]
    return codec.digest({**asked, **allowed(asked)})


def allowed(asked: dict[str, Any]) -> dict[str, list[str]]:
    """Take a request's allow-lists out of it, and give those that say anything: neither order nor repeats count, and one without
    any has the name that it had before there were lists."""
    lists = {name: sorted(set(asked.pop(name, ()))) for name in ("allow_models", "allow_devices")}
    return {name: patterns for name, patterns in lists.items() if patterns}


def _said(request: ChatRequest) -> tuple[Message, ...]:
    return conversation(request) if request.inputs is None else ()  # its inputs say all


def fingerprint_of(payload: bytes) -> str | None:
    """Name what is asked in a message; None when it is no request."""
    try:
        return fingerprint(codec.build(ChatRequest, codec.decode_request(payload)))
    except (BadRequest, TypeError):  # MessagePack may hold what has no form in JSON
        return None


# What is said of delivery. That without a default is left out, and the rest stands as if nothing was said: names are kept by
# servers, and must be those that they have always been.
_LEFT_OUT = frozenset(
    {
        "prompt",
        "job",
        "timeout_s",
        "deadline_ms",
        "resends",
        "strategy",
        "max_cost_usd",
        "provider_key",
        "cache",
    }
)
_AS_IF: Mapping[str, Any] = {
    "stream": False,
    "hold": False,
    "keep_s": 0.0,
    "resume": "",
    "priority": Priority.NORMAL,
    "local": False,
}

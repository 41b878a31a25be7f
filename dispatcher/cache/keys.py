"""The names under which answers are kept: a hash of all that an answer depends on, and nothing else. Pure.

Whatever a request says that is not left out here on purpose is part of its name: a field that is added later can cost hits, and
never gives an answer to another question.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Any

from common import codec
from common.messages import Message, Role
from dispatcher.cache.values import Place
from dispatcher.outcomes import Job

VERSION = 1
"""Of the names; another one forgets all that was kept."""

DIGEST_CHARS = 64


def place(job: Job, *, strategy: str, epoch: str) -> Place:
    """Name where a job's answer is kept. `strategy` is how the device is chosen, `epoch` the owner's own word.

    Raises `TypeError` for a request that has no form in JSON.
    """
    messages = _messages(job.messages)
    whole: dict[str, Any] = {
        "v": VERSION,
        "epoch": epoch,
        "tenant": job.tenant,
        "user": job.request.user,
        "kind": job.kind,
        "policy": _policy(job, strategy),
        "options": codec.plain(job.request.options),
        "tools": list(job.request.tools),
        "format": job.request.format,
        "messages": messages,
    }
    exact = codec.digest({**whole, "is": "request"}, DIGEST_CHARS)
    if job.messages[-1].role is not Role.USER:
        return Place(tenant=job.tenant, exact=exact, scope="", question="")
    blanked = [*messages[:-1], {**messages[-1], "content": None}]
    scope = codec.digest({**whole, "messages": blanked, "is": "scope"}, DIGEST_CHARS)
    return Place(tenant=job.tenant, exact=exact, scope=scope, question=job.messages[-1].content)


def _policy(job: Job, strategy: str) -> dict[str, Any]:
    """Give what decides which model answers, and where."""
    request = job.request
    return {
        "model": job.model,
        "device": job.device,
        "strategy": strategy,
        "max_cost_usd": request.max_cost_usd,
        "brings_key": request.provider_key is not None,
    }


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Give the conversation as it is compared. Ids of calls are drawn by lot: their order says the same."""
    calls: dict[str, int] = {}
    return [_message(message, calls) for message in messages]


def _message(message: Message, calls: dict[str, int]) -> dict[str, Any]:
    said: dict[str, Any] = {"role": str(message.role), "content": plain_text(message.content)}
    if message.images:
        said["images"] = [_content_hash(image) for image in message.images]
    if message.tool_calls:
        said["tool_calls"] = [
            {"name": call.name, "arguments": call.arguments, "id": _number(calls, call.id)}
            for call in message.tool_calls
        ]
    if message.tool_name is not None:
        said["tool_name"] = message.tool_name
    if message.tool_call_id is not None:
        said["tool_call_id"] = _number(calls, message.tool_call_id)
    return said


def plain_text(text: str) -> str:
    """Give a text without what nobody sees: how its letters and line ends are written, and white space around it."""
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip()


def _content_hash(image: str) -> str:
    """Name an attachment by what it holds, however its base64 is written."""
    try:
        data = base64.b64decode("".join(image.split()), validate=True)
    except (binascii.Error, ValueError):
        data = image.encode()
    return hashlib.sha256(data).hexdigest()


def _number(calls: dict[str, int], name: str | None) -> int | None:
    return None if name is None else calls.setdefault(name, len(calls))

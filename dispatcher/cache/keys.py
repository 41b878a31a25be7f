"""The names under which answers are kept: a hash of all that an answer depends on, and nothing else. Pure.

Whatever a request says that is not left out here on purpose is part of its name: a field that is added later can cost hits, and
never gives an answer to another question.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import unicodedata
from dataclasses import replace
from typing import Any

from common import codec
from common.fingerprint import allowed
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
    calls: dict[str, int] = {}
    messages = [_said(message, calls) for message in job.messages]
    last = messages.pop()
    before = codec.digest({"head": _head(job, strategy, epoch), "messages": messages}, DIGEST_CHARS)
    exact = codec.digest({"before": before, "last": last}, DIGEST_CHARS)
    if job.messages[-1].role is not Role.USER:
        return Place(tenant=job.tenant, exact=exact, scope="", question="")
    scope = codec.digest({"before": before, "last": {**last, "content": None}}, DIGEST_CHARS)
    return Place(tenant=job.tenant, exact=exact, scope=scope, question=job.messages[-1].content)


_ASIDE = (
    "prompt", "messages", "model", "device", "strategy", "provider_key",  # said in other words below
    "stream", "hold", "job", "timeout_s", "deadline_ms", "keep_s", "resends", "resume", "priority", "cache",
)  # fmt: skip
"""What is no part of a name as it stands: all else of a request is, also fields that are yet to come."""


def _head(job: Job, strategy: str, epoch: str) -> dict[str, Any]:
    """Give all that an answer depends on but the conversation."""
    request = job.request
    asked = codec.plain(replace(request, prompt=None, messages=(), provider_key=None))
    for name in _ASIDE:
        asked.pop(name, None)
    asked |= allowed(asked)
    policy = {"model": job.model, "device": job.device, "strategy": strategy, "key": request.provider_key is not None}
    return {"v": VERSION, "epoch": epoch, "tenant": job.tenant, "kind": job.kind, "policy": policy, "asked": asked}


def _said(message: Message, calls: dict[str, int]) -> dict[str, Any]:
    """Give a message as it is compared. Ids of calls are drawn by lot: their order says the same."""
    said = codec.plain(message)
    said["content"] = plain_text(message.content)
    said["images"] = [_content_hash(image) for image in message.images]
    for call in said.get("tool_calls", ()):
        call["id"] = _number(calls, call.get("id"))
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

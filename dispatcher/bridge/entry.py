"""What a request says of its job beside its body, read once for all APIs: the id, the class of the queue, the conversation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ulid import ULID

from common.errors import BadRequest
from common.messages import ChatRequest, Priority
from dispatcher.bridge.burden import require_plain
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.headers import CONVERSATION_HEADER
from dispatcher.bridge.wishes import conversation, job_id, priority, require_known, wished


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request on its way in. `job` is the id that it runs under; `chosen` tells that its sender has chosen one, so that who
    comes again means the same job. `talk` names the conversation that it belongs to, or is `new`."""

    caller: Caller
    headers: Mapping[str, str]
    job: str
    chosen: bool
    priority: Priority | None
    talk: str | None = None

    def wished(self, chat: ChatRequest) -> ChatRequest:
        """Add what the headers ask for. Raises `BadRequest`, also where header and body say different things, and `PayloadTooLarge`
        for more text than is taken."""
        require_plain(chat)
        return wished(chat, self.headers)


def entry(caller: Caller, headers: Mapping[str, str], *, job: str | None = None) -> Entry:
    """Read the headers of what belongs to no conversation; `job` is the id that its body chose. Raises `BadRequest`."""
    if CONVERSATION_HEADER in headers:
        raise BadRequest(
            f"{CONVERSATION_HEADER} means nothing here: a chat belongs to a conversation, by /v1/chat/completions, /v1/responses, "
            "/v1/messages, /api/chat or /api/v1/chat",
            param=CONVERSATION_HEADER,
        )
    return _entry(caller, headers, job)


def chat_entry(
    caller: Caller, headers: Mapping[str, str], *, job: str | None = None, conversation_id: str | None = None
) -> Entry:
    """Read the headers of a chat; `job` and `conversation_id` are from its body. Raises `BadRequest`."""
    return replace(_entry(caller, headers, job), talk=conversation(headers, conversation_id))


def _entry(caller: Caller, headers: Mapping[str, str], job: str | None) -> Entry:
    require_known(headers)
    chosen = job_id(headers) or job
    return Entry(
        caller=caller,
        headers=headers,
        job=caller.job(chosen or str(ULID())),
        chosen=chosen is not None,
        priority=priority(headers),
    )

"""What the routes of every API are made of, put together once; it knows no path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from common.bus import Bus
from common.client import Drover
from common.clock import Clock
from common.conversation_client import Conversations
from common.messages import ChatRequest
from common.subjects import Subjects
from dispatcher.bridge.answer import ChatAnswer, Manner, Means, Source
from dispatcher.bridge.asking import Asking
from dispatcher.bridge.backlog import Untaken
from dispatcher.bridge.callers import Caller
from dispatcher.bridge.embedding import embedded
from dispatcher.bridge.entry import Entry
from dispatcher.bridge.files.desk import Attached
from dispatcher.bridge.gate import Gate
from dispatcher.bridge.headers import CONVERSATION_HEADER
from dispatcher.bridge.limits import Terms
from dispatcher.bridge.live.hub import Hub
from dispatcher.bridge.presence import Presence, allowed
from dispatcher.bridge.remembering import Remembering
from dispatcher.bridge.speech import Dialect
from dispatcher.bridge.sse import Curfew
from dispatcher.bridge.threads import thread_of
from dispatcher.bridge.wishes import progress as steps
from dispatcher.experiments.folder import Folder
from dispatcher.fleet import Fleet

_OF_EMBEDDINGS = (
    "job",
    "device",
    "dimensions",
    "truncate",
    "timeout_s",
    "keep_s",
    "resends",
    "priority",
    "strategy",
    "max_cost_usd",
    "provider_key",
    "cache",
    "user",
)
"""What of a job holds for each of those that its texts become: neither the texts, nor what only an answer can have."""


@dataclass(slots=True, kw_only=True)
class Bridge:
    """What the routes need. `terms` are what is let in, `hold_s` is how long the headers of a stream wait for its first text,
    `retry_grace_s` how long a job whose client chose its id runs on for one that lost its connection."""

    bus: Bus
    subjects: Subjects
    drover: Drover
    gate: Gate
    asking: Asking
    conversations: Conversations
    remembering: Remembering
    presence: Presence
    untaken: Untaken
    experiments: Folder
    clock: Clock
    curfew: Curfew
    live: Hub
    terms: Terms
    hold_s: float
    retry_grace_s: float
    started_unix_s: int

    def fleet(self, caller: Caller) -> Fleet:
        """Give the part of the fleet that a caller may use, and so may see."""
        return allowed(self.presence.fleet(), caller.grant)

    def seen(self, caller: Caller) -> Fleet:
        """The part of the fleet that a caller is told of."""
        return self.presence.fleet() if caller.sees_all else self.fleet(caller)

    def answer(
        self,
        chat: ChatRequest,
        caller: Caller,
        dialect: Dialect,
        *,
        stream: bool,
        progress: bool = False,
        conversation: str | None = None,
        attached: Sequence[Attached] = (),
        files_of: str | None = None,
    ) -> ChatAnswer:
        """Answer a chat, which has a job's id, as `dialect` writes it. `progress` tells each step as soon as it is known;
        `conversation` names the one that the chat belongs to, or is `new`; `attached` are the files that came with it, `files_of`
        is the turn of that conversation whose files it has, too."""
        headers: dict[str, str] = {}
        if conversation is None:
            source = self.asking.frames(chat, caller, attached)
        else:
            thread = thread_of(conversation, chat, caller)
            headers[CONVERSATION_HEADER] = thread.id
            source = self.remembering.answered(chat, caller, thread, attached, files_of)
        manner = Manner(stream=stream, progress=progress, hold_s=self.hold_s, headers=headers)
        return ChatAnswer(_named(chat), source, dialect, manner, self._means(caller))

    def told(self, chat: ChatRequest, caller: Caller, source: Source, dialect: Dialect) -> ChatAnswer:
        """Answer a chat in one piece, with frames that were asked for otherwise."""
        return ChatAnswer(_named(chat), source, dialect, Manner(stream=False), self._means(caller))

    def embeddings(self, job: ChatRequest, texts: Sequence[str], caller: Caller, dialect: Dialect) -> ChatAnswer:
        """Answer with the embeddings of `texts`; `job`, which has an id, says all else. Raises `BadRequest`."""
        fields = {name: value for name in _OF_EMBEDDINGS if (value := getattr(job, name)) is not None}
        parts = self.drover.embed_requests(texts, model=job.model, **fields)
        jobs = [replace(one, job=caller.job(str(one.job))) for one in parts]
        source = embedded(self.asking, jobs, caller)
        return ChatAnswer(job, source, dialect, Manner(stream=False), self._means(caller))

    def _means(self, caller: Caller) -> Means:
        return Means(clock=self.clock, curfew=self.curfew, recalls=partial(self.gate.recalls.bind, caller))

    def run(
        self,
        asked: Entry,
        chat: ChatRequest,
        dialect: Dialect,
        *,
        stream: bool,
        progress: bool | None = None,
        attached: Sequence[Attached] = (),
        files_of: str | None = None,
    ) -> ChatAnswer:
        """Answer a chat with what its headers ask for besides; `progress` None leaves to them whether each step is told. Raises
        `BadRequest`."""
        telling = steps(asked.headers, stream=stream) if progress is None else progress
        sent = self.sent(asked, chat)
        return self.answer(
            sent,
            asked.caller,
            dialect,
            stream=stream,
            progress=telling,
            conversation=asked.talk,
            attached=attached,
            files_of=files_of,
        )

    def sent(self, asked: Entry, chat: ChatRequest) -> ChatRequest:
        """Give a job as its headers want it, and say how long it is kept for one who comes again. Only who chose the id can: for
        others nobody needs to look whether it is known. Raises `BadRequest`."""
        wanted = asked.wished(chat)
        return replace(wanted, keep_s=self.retry_grace_s) if asked.chosen else replace(wanted, resends=0)


def _named(chat: ChatRequest) -> ChatRequest:
    """Give what an answer tells of its chat, the id and the model: what was said, images too, is the source's, and gone when that
    has sent it."""
    return replace(chat, prompt=None, messages=())

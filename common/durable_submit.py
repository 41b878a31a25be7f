"""Putting a durable job into the queue, once for each id; it knows neither who waits for it nor who answers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ulid import ULID

from common import codec, tracing
from common.bus.streams import Kept, Stored, Streams
from common.clock import loop_s
from common.codec import Encoding
from common.durable import Names, Note, Stage, job_id_of, message_id, read_note
from common.errors import (
    BadRequest,
    BusDisconnected,
    BusTimeout,
    DuplicateJob,
    FleetError,
    QueueFull,
    RequestError,
    StreamsUnavailable,
)
from common.fingerprint import fingerprint_of
from common.handover import Handover
from common.messages import ChatRequest, Priority, conversation
from common.subjects import Subjects, require_token

SUBMIT_S = 15.0
"""A submission is repeated so long while the server is away; it takes a restarted one about a second to be back."""

FULL_RETRY_S = 5.0
"""A guess: a full queue has as many jobs before this one as it has room for."""

PAUSE_S = 0.25

NEVER_STORED = (RequestError, QueueFull, StreamsUnavailable)
"""Whatever else goes wrong, a message may have arrived."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that the queue has; `known` tells that it had it already, so that nothing was added, and `state` how far it is."""

    job: str
    seq: int
    known: bool
    state: Stage = Stage.QUEUED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sending:
    """A job on its way into the queue. `given` tells that its producer chose the id, and may have used it before."""

    owner: str
    job: str
    subject: str
    payload: bytes
    given: bool
    handover: Handover
    headers: Mapping[str, str] | None = None


def require_no_key(request: ChatRequest) -> None:
    """Raise `BadRequest` for a request with a secret: the queue, and the letters of the dead, lie on a disk."""
    if request.provider_key is not None:
        raise BadRequest(
            "a durable job can't bring a provider_key, since it lies on a disk: send it as a chat, or give the agent the key",
            param="provider_key",
        )


class Submission:
    """Puts jobs into the queue of one fleet."""

    def __init__(self, streams: Streams, names: Names, subjects: Subjects, *, newest_only: bool = False) -> None:
        """See `DurableJobs`."""
        self._newest_only = newest_only
        self._streams = streams
        self._names = names
        self._subjects = subjects

    async def submit(
        self, request: ChatRequest, *, owner: str, priority: Priority | None, handover: Handover | None = None
    ) -> Submitted:
        """Put a job into the queue, unless it is there, or was and its result is kept. See `DurableJobs.submit`."""
        conversation(request)
        require_no_key(request)
        job = require_token("job", request.job or str(ULID()))
        sending = _Sending(
            owner=owner,
            job=job,
            subject=self._subjects.jobs(owner, priority or request.priority),
            payload=codec.encode(codec.plain(replace(request, job=job)), Encoding.JSON),
            given=request.job is not None,
            handover=handover or Handover(),
            headers=tracing.outgoing(),
        )
        give_up_s = loop_s() + SUBMIT_S
        while True:
            before = sending.handover.begun
            try:
                done = await self._once(sending)
            except DuplicateJob:
                sending.handover.begun = before
                raise
            except QueueFull as full:
                raise QueueFull(
                    "the durable queue is full (DROVER_DURABLE_QUEUE_LIMIT, DROVER_DURABLE_QUEUE_LIMIT_BYTES): try again later",
                    retry_after_s=FULL_RETRY_S,
                ) from full
            except (BusDisconnected, BusTimeout):
                # It may have arrived: the id makes the second one harmless.
                if loop_s() > give_up_s:
                    raise
                await asyncio.sleep(PAUSE_S)
            else:
                if done.known:
                    sending.handover.begun = before  # a message too many begins nothing
                return done

    async def _once(self, sending: _Sending) -> Submitted:
        """Store a job, unless it is there.

        An id under which a message is stored once counts for the whole stream, and anybody may have used it: 1. its own, 2. one
        that is the same again for the same job, 3. one that nobody has used.
        """
        first = message_id(sending.owner, sending.job)
        stored, told = await self._published(sending, first)  # 1
        same = hashlib.sha256(sending.payload).hexdigest()[:32]
        for msg_id in (f"{first}-{same}", f"{first}-{ULID()}"):  # 2, 3
            if not stored.duplicate:
                break
            state = await self._standing(sending, stored.seq)
            if state is not None:
                return Submitted(sending.job, stored.seq, known=True, state=state)
            stored = await self._store(sending, msg_id)
        return self._new(sending, stored, told)

    async def _published(self, sending: _Sending, msg_id: str) -> tuple[Stored, Note | None]:
        """Store it, and look at the same time what was told of a job whose id its producer chose: the server knows an id for
        minutes only, and a result is kept for longer. A message too many does no harm, whoever takes it finds the result."""
        if not sending.given:
            return await self._store(sending, msg_id), None
        async with asyncio.TaskGroup() as tasks:
            storing = tasks.create_task(self._tried(sending, msg_id))
            looking = tasks.create_task(self._seen(sending))
        stored, told = storing.result(), looking.result()
        if isinstance(stored, FleetError):
            raise stored
        if isinstance(told, FleetError):
            raise told
        return stored, told

    async def _tried(self, sending: _Sending, msg_id: str) -> Stored | FleetError:
        """Store it; an error is given, since raised in the group it would come wrapped."""
        try:
            return await self._store(sending, msg_id)
        except FleetError as error:
            return error

    async def _store(self, sending: _Sending, msg_id: str) -> Stored:
        """Store a message. From then on the job has been handed over, unless the stream refuses the message, or has it already.
        What an earlier try may have begun no later one takes back."""
        before, sending.handover.begun = sending.handover.begun, True
        try:
            stored = await self._streams.publish(
                sending.subject, sending.payload, msg_id=msg_id, headers=sending.headers
            )
        except NEVER_STORED:
            sending.handover.begun = before
            raise
        if stored.duplicate:
            sending.handover.begun = before
        return stored

    async def _seen(self, sending: _Sending) -> Note | FleetError | None:
        try:
            return await self._told(sending)
        except FleetError as error:
            return error

    def _new(self, sending: _Sending, stored: Stored, told: Note | None) -> Submitted:
        """Say what became of a message that was stored. Raises `DuplicateJob`."""
        if told is None:
            return Submitted(sending.job, stored.seq, known=False)
        _require_same(sending, told.fingerprint)
        return Submitted(sending.job, stored.seq, known=True, state=told.state)

    async def _standing(self, sending: _Sending, seq: int) -> Stage | None:
        """Say how far the job is that was stored as message `seq`; None when that is, or was, another one.

        One that was, and left the queue, has been told of. Raises `DuplicateJob` when the job is another request.
        """
        kept = None
        if (
            not self._newest_only
        ):  # else it is stored again, unless something was told of it: a message too many does no harm
            kept = await self._streams.next(self._names.jobs, self._subjects.jobs(sending.owner, "*"), seq)
        lies = kept is not None and kept.seq == seq
        if kept is not None and lies:
            if job_id_of(kept) != sending.job:
                return None
            _require_same(sending, fingerprint_of(kept.data) or "")
        told = await self._told(sending)
        if told is None:
            return Stage.QUEUED if lies else None
        _require_same(sending, told.fingerprint)
        return told.state

    async def _told(self, sending: _Sending) -> Note | None:
        """Give the newest note of a job; what a stranger has put there is none."""
        subject = self._subjects.result(sending.owner, sending.job)
        kept: Kept | None = await self._streams.last(self._names.results, subject)
        try:
            return None if kept is None else read_note(kept)
        except BadRequest:
            return None


def _require_same(sending: _Sending, known: str | None) -> None:
    """Raise `DuplicateJob` when the job of this id is another request; of one from an older dispatcher, None, nobody knows."""
    if known is not None and known != fingerprint_of(sending.payload):
        raise DuplicateJob(
            f"job {sending.job} is another request: the same id means the same request, for as long as its result is kept; "
            "send this one under an id of its own",
            job=sending.job,
        )

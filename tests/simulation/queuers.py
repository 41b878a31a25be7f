"""The producers of durable jobs: they submit, submit again, cancel, and send what is no job, on a client of ours or without."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, replace

from common import codec
from common.bus.jetstream import JetStream
from common.durable_client import DurableJobs
from common.errors import FleetError
from common.messages import CacheWish, ChatRequest, Priority
from common.subjects import Subjects
from tests.simulation.network import QuickBroker, Wire
from tests.simulation.producers import MODELS, NAMES, TENANTS
from tests.simulation.queue_ledger import QueueLedger
from tests.simulation.schedule import Action

TIMEOUTS_S = (None, None, None, 9.0, 9.0, 2.0)
STRANGE = (b"\x93\x01garbage", b'{"job": 7}', b'{"prompt": "hi", "timeout_s": -1}')
FEW = 4
"""Earlier jobs that may be meant: the newest."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A durable job, as it may come again."""

    tenant: str
    priority: Priority
    request: ChatRequest

    @property
    def job(self) -> str:
        return self.request.job or ""


class Queuers:
    """All of them, on one connection."""

    def __init__(self, broker: QuickBroker, subjects: Subjects, queue: QueueLedger, group: asyncio.TaskGroup) -> None:
        self.wire = Wire(broker)
        self.busy: set[asyncio.Task[None]] = set()
        self._streams = JetStream(self.wire)
        self._jobs = DurableJobs(self.wire, self._streams, tenant=TENANTS[0], subjects=subjects)
        self._subjects = subjects
        self._queue = queue
        self._group = group
        self._sent: list[Queued] = []

    async def do_queue(self, action: Action) -> None:
        """Submit a job. Bits of `who`: tenant, model, pin. Bits of `how`: class, time."""
        request = ChatRequest(
            prompt="hi",
            cache=CacheWish.OFF,
            job=f"q{len(self._sent) + 1}",
            model=MODELS[action.who % len(MODELS)],
            device=NAMES[action.who // 64 % 3] if action.who % 64 >= 60 else None,
            timeout_s=TIMEOUTS_S[action.how // 4 % len(TIMEOUTS_S)],
        )
        queued = Queued(TENANTS[action.who // 16 % 2], list(Priority)[action.how % len(Priority)], request)
        self._sent.append(queued)
        self._queue.ledger.happened(action.kind)
        self._spawn(self._submit(queued))

    async def do_queue_again(self, action: Action) -> None:
        """Submit an earlier one once more, as who is not sure that it arrived; or another one under its id."""
        if self._sent:
            self._queue.ledger.happened(action.kind)
            queued = self._earlier(action)
            other = replace(queued, request=replace(queued.request, prompt="other"))
            self._spawn(self._submit(other if action.how % 8 == 7 else queued))

    async def do_queue_raw(self, action: Action) -> None:
        """Put a message into the queue as other clients do, under no id: an earlier job, or what is none."""
        self._queue.ledger.happened(action.kind)
        if self._sent and action.how % 3:
            queued = self._earlier(action)
            payload = codec.encode(codec.plain(queued.request))
            subject = self._subjects.jobs(queued.tenant, queued.priority)
        else:
            payload = STRANGE[action.who % len(STRANGE)]
            subject = self._subjects.jobs(TENANTS[0], Priority.NORMAL)
        self._spawn(self._publish(subject, payload))

    async def do_queue_cancel(self, action: Action) -> None:
        """Cancel one."""
        if self._sent:
            self._queue.ledger.happened(action.kind)
            self._spawn(self._cancel(self._earlier(action)))

    async def _submit(self, queued: Queued) -> None:
        submitted = await self._jobs.submit(queued.request, priority=queued.priority, tenant=queued.tenant)
        self._queue.accepted.add((queued.tenant, submitted.job))
        self._queue.ledger.counts["queue known"] += submitted.known

    async def _publish(self, subject: str, payload: bytes) -> None:
        await self._streams.publish(subject, payload)

    async def _cancel(self, queued: Queued) -> None:
        if await self._jobs.cancel(queued.job, tenant=queued.tenant):
            self._queue.ledger.note("queuer", "has cancelled", queued.job)
            self._queue.cancelled.add((queued.tenant, queued.job))

    def _earlier(self, action: Action) -> Queued:
        return self._sent[-1 - action.who % min(FEW, len(self._sent))]

    def _spawn(self, work: Awaitable[None]) -> None:
        task = self._group.create_task(self._told(work))
        self.busy.add(task)
        task.add_done_callback(self.busy.discard)

    async def _told(self, work: Awaitable[None]) -> None:
        """Do it; a refusal is an answer like others."""
        try:
            await work
        except FleetError as error:
            self._queue.ledger.counts[f"queuer {error.code}"] += 1

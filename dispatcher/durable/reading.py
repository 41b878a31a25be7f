"""From a message of the queue to a job for the pipeline, the same at each delivery; it knows no stream."""

from __future__ import annotations

from dataclasses import dataclass

from common import codec
from common.bus.streams import Kept
from common.clock import Clock, seconds_text
from common.codec import Encoding
from common.durable import job_id
from common.durable_submit import require_no_key
from common.errors import DeadlineExceeded
from common.messages import CHAT, ChatRequest, Priority, conversation
from common.subjects import Subjects
from common.virtual import resolved
from dispatcher.intake import wanted_model
from dispatcher.outcomes import Job
from dispatcher.traces import traced


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose job a message is, and in which class."""

    tenant: str
    priority: Priority


@dataclass(frozen=True, slots=True)
class Reading:
    """Reads jobs. `default_life_s` holds for those that name neither deadline nor time-out."""

    clock: Clock
    subjects: Subjects
    default_life_s: float

    def origin(self, kept: Kept) -> Origin:
        """Say whose it is, from its subject alone."""
        _, tenant, priority = self.subjects.tokens(kept.subject)
        return Origin(tenant, Priority(priority))

    def job(self, kept: Kept) -> Job:
        """Decode and validate. Raises `BadRequest` that names what is wrong, `DeadlineExceeded` when its time is over."""
        request = resolved(codec.build(ChatRequest, codec.decode_request(kept.data)))
        require_no_key(request)
        now_s, now_unix_s = self.clock.monotonic(), self.clock.unix_s()
        left_s = self.ends_unix_s(kept, request) - now_unix_s
        if left_s <= 0:
            raise DeadlineExceeded(
                f"the job's deadline passed {seconds_text(-left_s)} ago, before a dispatcher took it: allow more time (timeout_s)"
            )
        origin, (model, device) = self.origin(kept), wanted_model(request)
        job = Job(
            id=job_id(kept, request.job),
            tenant=origin.tenant,
            kind=CHAT,
            request=request,
            messages=conversation(request),
            model=model,
            device=device,
            reply="",
            encoding=Encoding.JSON,
            received_s=now_s,
            received_unix_s=now_unix_s,
            deadline_s=now_s + left_s,
            deadline_unix_s=now_unix_s + left_s,
            priority=origin.priority,
        )
        return traced(job, kept.headers)

    def ends_unix_s(self, kept: Kept, request: ChatRequest) -> float:
        """Give the job's own deadline: a time-out counts from its submission."""
        ends_s = kept.stored_unix_s + (request.timeout_s or self.default_life_s)
        return ends_s if request.deadline_ms is None else min(ends_s, request.deadline_ms / 1000)

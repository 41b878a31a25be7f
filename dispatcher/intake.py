"""Intake: bytes from a stranger become a `Job`, or a typed error; it knows neither the fleet nor the bus."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ulid import ULID

from common import codec
from common.bus import Delivery
from common.clock import Clock, seconds_text
from common.errors import BadRequest, DeadlineExceeded
from common.fingerprint import fingerprint
from common.messages import AUTO, CHAT, EMBED, ChatRequest, reading, split_target
from common.subjects import Subjects, require_token
from common.trials import TrialWeights, read_weights
from common.virtual import resolved
from dispatcher.fleet import canonical
from dispatcher.outcomes import Job


@dataclass(frozen=True, slots=True)
class Intake:
    """Reads requests. `default_timeout_s` holds for those that name neither deadline nor time-out."""

    clock: Clock
    subjects: Subjects
    default_timeout_s: float

    def read(self, delivery: Delivery) -> Job:
        """Decode and validate. Raises `BadRequest` that names what is wrong, `DeadlineExceeded` for a deadline in the past."""
        to, tenant = self.subjects.tokens(delivery.subject)
        request = resolved(codec.build(ChatRequest, codec.decode_request(delivery.data)))
        kind = to if to in {CHAT, EMBED} else request.kind  # who only asks where it would go says so nowhere else
        if not delivery.reply:
            raise BadRequest("nobody waits for the answer: send it as a request (`nats req`), with a reply subject")
        now_s, now_unix_s = self.clock.monotonic(), self.clock.unix_s()
        left_s = time_left_s(request, now_unix_s=now_unix_s, default_s=self.default_timeout_s)
        model, device = wanted_model(request)
        return Job(
            id=require_token("job", request.job) if request.job else str(ULID()),
            tenant=tenant,
            kind=kind,
            request=request,
            messages=reading(request, kind),
            model=model,
            device=device,
            reply=delivery.reply,
            encoding=codec.sniff(delivery.data),
            received_s=now_s,
            received_unix_s=now_unix_s,
            deadline_s=now_s + left_s,
            deadline_unix_s=now_unix_s + left_s,
            given=request.job is not None,
            fingerprint=fingerprint(request) if request.job else "",
            priority=request.priority,
        )


def tried(delivery: Delivery) -> tuple[Delivery, TrialWeights | None]:
    """Take the weights that a dry run tries out of its request, which is then that of a job. Raises `BadRequest`."""
    wire = codec.decode_request(delivery.data)
    if (weights := wire.pop("weights", None)) is None:
        return delivery, None
    return replace(delivery, data=codec.encode_request(wire)), read_weights(weights)


def time_left_s(request: ChatRequest, *, now_unix_s: float, default_s: float) -> float:
    """Give the seconds until the request's deadline. Raises `DeadlineExceeded` when it has passed."""
    left_s = request.timeout_s or default_s
    if request.deadline_ms is not None:
        left_s = min(left_s, request.deadline_ms / 1000 - now_unix_s)
    if left_s <= 0:
        raise DeadlineExceeded(
            f"the deadline passed {seconds_text(-left_s)} ago: send a later one, or check the sender's clock"
        )
    return left_s


def wanted_model(request: ChatRequest) -> tuple[str, str | None]:
    """Split `model@device` and give the model's full name; `@device` leaves the model open, and the field `device` pins as well.
    Raises `BadRequest` where the two name different devices."""
    name, pinned = split_target(request.model)
    device = pinned or request.device
    if pinned and request.device and pinned != request.device:
        raise BadRequest(
            f"the model asks for the device {pinned!r:.80}, and the field device for {request.device!r}: name one of them",
            param="device",
        )
    if device is not None:
        require_token("device", device)
    return (AUTO if name in {AUTO, ""} else canonical(name)), device
